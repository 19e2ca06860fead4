"""Log-likelihoods of a closed set of continuations: the decision rule of every metric here.

One forward pass scores all choices of a prompt: they stand behind it as a tree of tokens (common
beginnings once) under an attention mask that lets each node see the prompt and its own ancestors,
with positions that count from the prompt's end. Only the slots that predict a choice's token are
projected to the vocabulary. Measured on the lab's model (8 layers of width 128, one thread, 400
prompts of 25 tokens, 35 choices of 2 to 3 tokens): 2.0 s, against 3.3 s with a key/value cache that
is expanded over the choices and 87 s with one sequence a choice.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from distillscale.errors import InputError
from distillscale.evaluation.token_tree import TokenTree, token_tree
from distillscale.models.batches import length_sorted_batches, pad
from distillscale.models.forward import project

Floats = NDArray[np.float64]
Tokens = Sequence[int]

# Families whose attention takes a ready 4D mask, whose positions are given by `position_ids`, and
# whose logits are the bare projection of the body's output; the tests check every one of them.
TREE_FAMILIES = frozenset(
    {"gemma", "gpt2", "gpt_neox", "llama", "mistral", "olmo2", "phi3", "qwen2", "qwen3", "smollm3"}
)


def closed_set_scores(
    model: PreTrainedModel,
    prompts: Sequence[Tokens],
    choices: Sequence[Sequence[Tokens]],
    *,
    batch_size: int = 32,
) -> list[Floats]:
    """Summed log-likelihood of each choice after its prompt, in nats.

    Any causal LM works; families outside `TREE_FAMILIES`, and models with a sliding window or an
    attention kernel without masks, are scored with one sequence a choice.

    Args:
        model: in evaluation mode.
        prompts: token ids, one non-empty sequence a prompt.
        choices: for each prompt the token ids of its choices; repeat the same object where all
            prompts share a set.
        batch_size: prompts in a batch (choices, for models scored one sequence a choice); scores
            do not depend on it.

    Returns:
        For each prompt an array of shape [choices].

    Raises:
        InputError: a prompt or a choice is empty, or together they exceed the model's context.
    """
    _check_lengths(model, prompts, choices)
    if not scores_trees(model):
        return [
            _score_one_by_one(model, prompt, own, batch_size)
            for prompt, own in zip(prompts, choices, strict=True)
        ]
    tree_of = cache(token_tree)
    trees = [tree_of(tuple(map(tuple, own))) for own in choices]
    lengths = [len(prompt) + len(tree.tokens) for prompt, tree in zip(prompts, trees, strict=True)]
    scores: list[Floats] = [np.zeros(0)] * len(prompts)
    for rows in length_sorted_batches(lengths, batch_size):
        batch = _score_batch(model, [prompts[row] for row in rows], [trees[row] for row in rows])
        for row, result in zip(rows, batch, strict=True):
            scores[row] = result
    return scores


def scores_trees(model: PreTrainedModel) -> bool:
    """Whether a model can score all choices of a prompt in one pass."""
    config = model.config
    return (
        config.model_type in TREE_FAMILIES
        and config._attn_implementation in ("eager", "sdpa")
        and getattr(config, "sliding_window", None) is None
    )


@torch.inference_mode()
def _score_batch(
    model: PreTrainedModel, prompts: Sequence[Tokens], trees: Sequence[TokenTree]
) -> list[Floats]:
    """Scores of each prompt's choices, from one forward pass."""
    ids, positions, sees = _pack(prompts, trees)
    device = model.device
    mask = torch.zeros(sees.shape, dtype=model.dtype, device=device)
    mask.masked_fill_(~torch.from_numpy(sees).to(device), torch.finfo(model.dtype).min)
    output = model.get_decoder()(
        input_ids=torch.from_numpy(ids).to(device),
        attention_mask=mask[:, None],
        position_ids=torch.from_numpy(positions).to(device),
        use_cache=False,
    )
    slots = [
        hidden[len(prompt) - 1 : len(prompt) + len(tree.tokens)]
        for hidden, prompt, tree in zip(output.last_hidden_state, prompts, trees, strict=True)
    ]
    offsets = np.cumsum([0] + [len(own) for own in slots])
    rows = np.concatenate([tree.slots + o for tree, o in zip(trees, offsets, strict=False)])
    targets = np.concatenate([tree.targets for tree in trees])
    values = _log_probability(project(model, torch.cat(slots)), rows, targets)
    bounds = np.cumsum([len(tree.slots) for tree in trees])[:-1]
    return [
        np.bincount(tree.owners, weights=own, minlength=tree.choices).astype(np.float64)
        for tree, own in zip(trees, np.split(values, bounds), strict=True)
    ]


def _pack(
    prompts: Sequence[Tokens], trees: Sequence[TokenTree]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Token ids and positions [batch, length], and who sees whom [batch, length, length].

    Each row is prompt, tree, padding; padding sees itself, so that no softmax is empty.
    """
    length = max(len(p) + len(t.tokens) for p, t in zip(prompts, trees, strict=True))
    ids = np.zeros((len(prompts), length), dtype=np.int64)
    positions = np.zeros_like(ids)
    sees = np.tile(np.eye(length, dtype=np.bool_), (len(prompts), 1, 1))
    causal = np.tri(length, dtype=np.bool_)
    for row, (prompt, tree) in enumerate(zip(prompts, trees, strict=True)):
        start, end = len(prompt), len(prompt) + len(tree.tokens)
        ids[row, :start], ids[row, start:end] = prompt, tree.tokens
        positions[row, :start], positions[row, start:end] = np.arange(start), start + tree.depths
        sees[row, :start, :start] = causal[:start, :start]
        sees[row, start:end, :start] = True
        sees[row, start:end, start:end] = tree.sees
    return ids, positions, sees


@torch.inference_mode()
def _score_one_by_one(
    model: PreTrainedModel, prompt: Tokens, choices: Sequence[Tokens], batch_size: int
) -> Floats:
    """Scores of one prompt's choices, each in a sequence of its own (any causal LM)."""
    scores = np.zeros(len(choices))
    for rows in length_sorted_batches([len(choice) for choice in choices], batch_size):
        ids, mask = pad([[*prompt, *choices[row]] for row in rows], pad_id=0)
        output = model(
            input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False
        )
        for row, logits in zip(rows, output.logits, strict=True):
            steps = len(prompt) - 1 + np.arange(len(choices[row]))
            scores[row] = _log_probability(logits, steps, np.asarray(choices[row])).sum()
    return scores


def _log_probability(logits: Tensor, rows: NDArray[np.int64], tokens: NDArray[np.int64]) -> Floats:
    """log softmax(logits[row])[token] of each pair, for logits of shape [positions, vocabulary]."""
    logits = logits.float()
    normaliser = torch.logsumexp(logits, dim=-1)
    row, token = (torch.from_numpy(index).to(logits.device) for index in (rows, tokens))
    return (logits[row, token] - normaliser[row]).double().cpu().numpy()


def _check_lengths(
    model: PreTrainedModel, prompts: Sequence[Tokens], choices: Sequence[Sequence[Tokens]]
) -> None:
    limit = getattr(model.config, "max_position_embeddings", None)
    for number, (prompt, own) in enumerate(zip(prompts, choices, strict=True)):
        if not prompt:
            raise InputError(f"prompt {number} has no token; there is nothing to condition on.")
        if not own:
            raise InputError(f"prompt {number} has no choices; there is nothing to decide.")
        length = len(prompt) + max(map(len, own)) - 1
        if limit is not None and length > limit:
            raise InputError(
                f"prompt {number} with its longest choice takes {length} tokens; the model's "
                f"context has {limit}."
            )
