"""Log-likelihoods of a closed set of continuations: the decision rule of every metric here.

The choices of a prompt are merged by their common beginnings into a tree of tokens, so a prompt is
read once and a shared beginning once. Two ways to read it, with equal scores:

* packed: one forward pass reads prompt and tree, under an attention mask that lets each node see
  the prompt and its own ancestors, with positions that count from the prompt's end. A beginning
  that all prompts of a batch share, such as an instruction that lists the classes, is read once
  for all of them, into a key/value cache. For families that the tests check (`TREE_FAMILIES`).
* over the cache (`cached_scores.py`): the prompt fills a key/value cache, which is repeated for
  each branch of the tree. For every other model that has such a cache: sliding windows, kernels
  without masks, other families.

Models without such a cache (recurrent ones) are scored with one sequence a choice.
`bench/scoring.py` measures the first two against lm-evaluation-harness.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from distillscale.errors import InputError
from distillscale.evaluation.cached_scores import cache_batches, has_cache, score_over_cache
from distillscale.evaluation.slot_scores import log_probability, scores_of_slots
from distillscale.evaluation.token_tree import TokenTree, token_tree
from distillscale.models.batches import length_sorted_batches, masked_batches, pad
from distillscale.models.forward import project

Floats = NDArray[np.float64]
Tokens = Sequence[int]

# Families whose attention takes a ready 4D mask, whose positions are given by `position_ids`, and
# whose logits are the bare projection of the body's output; the tests check every one of them.
TREE_FAMILIES = frozenset(
    {"gemma", "gpt2", "gpt_neox", "llama", "mistral", "olmo2", "phi3", "qwen2", "qwen3", "smollm3"}
)

_FEWEST_SHARED = 16
"""A common beginning of fewer tokens is not worth a pass of its own."""
_MOST_HELD = 2**15
"""Tokens of the repeated beginning whose keys and values are held at once, at most.

Of a model as large as Qwen3-8B that is 4.5 GiB in bfloat16.
"""


def closed_set_scores(
    model: PreTrainedModel,
    prompts: Sequence[Tokens],
    choices: Sequence[Sequence[Tokens]],
    *,
    batch_size: int = 32,
) -> list[Floats]:
    """Summed log-likelihood of each choice after its prompt, in nats.

    Any causal LM works; the module's docstring says which is read how.

    Args:
        model: in evaluation mode.
        prompts: token ids, one non-empty sequence a prompt.
        choices: for each prompt the token ids of its choices; repeat the same object where all
            prompts share a set.
        batch_size: prompts in a batch at most (choices, for models scored one sequence a choice);
            scores do not depend on it.

    Returns:
        For each prompt an array of shape [choices].

    Raises:
        InputError: a prompt or a choice is empty, or together they exceed the model's context.
    """
    _check_lengths(model, prompts, choices)
    packs = scores_trees(model)
    if not packs and not has_cache(model):
        return [
            _score_one_by_one(model, prompt, own, batch_size)
            for prompt, own in zip(prompts, choices, strict=True)
        ]
    tree_of = cache(token_tree)
    trees = [tree_of(tuple(map(tuple, own))) for own in choices]
    if packs:
        pairs = zip(prompts, trees, strict=True)
        lengths = [len(prompt) + len(tree.tokens) for prompt, tree in pairs]
        batches = masked_batches(lengths, batch_size)
    else:
        batches = cache_batches([len(prompt) for prompt in prompts], trees, batch_size)
    score = _score_packed if packs else score_over_cache
    scores: list[Floats] = [np.zeros(0)] * len(prompts)
    for rows in batches:
        batch = score(model, [prompts[row] for row in rows], [trees[row] for row in rows])
        for row, result in zip(rows, batch, strict=True):
            scores[row] = result
    return scores


def scores_trees(model: PreTrainedModel) -> bool:
    """Whether a model can read a prompt and the tree of its choices in one pass."""
    config = model.config
    return (
        config.model_type in TREE_FAMILIES
        and config._attn_implementation in ("eager", "sdpa")
        and getattr(config, "sliding_window", None) is None
    )


@torch.inference_mode()
def _score_packed(
    model: PreTrainedModel, prompts: Sequence[Tokens], trees: Sequence[TokenTree]
) -> list[Floats]:
    """Scores of each prompt's choices, from one pass over all that the prompts do not share."""
    body, device = model.get_decoder(), model.device
    shared = _shared_tokens(prompts)
    cache = None
    if shared:
        beginning = torch.tensor([list(prompts[0][:shared])], device=device)
        cache = body(input_ids=beginning, use_cache=True).past_key_values
        cache.batch_repeat_interleave(len(prompts))
        prompts = [prompt[shared:] for prompt in prompts]
    ids, positions, sees = _pack(prompts, trees, shared)
    mask = torch.zeros(sees.shape, dtype=model.dtype, device=device)
    mask.masked_fill_(~torch.from_numpy(sees).to(device), torch.finfo(model.dtype).min)
    output = body(
        input_ids=torch.from_numpy(ids).to(device),
        attention_mask=mask[:, None],
        position_ids=torch.from_numpy(positions).to(device),
        past_key_values=cache,
        use_cache=cache is not None,
    )
    slots = [
        hidden[len(prompt) - 1 : len(prompt) + len(tree.tokens)]
        for hidden, prompt, tree in zip(output.last_hidden_state, prompts, trees, strict=True)
    ]
    return scores_of_slots(project(model, torch.cat(slots)), trees)


def _shared_tokens(prompts: Sequence[Tokens]) -> int:
    """Tokens that all prompts begin with and that are worth reading apart; one of each is left."""
    first, last = min(map(tuple, prompts)), max(map(tuple, prompts))
    most = min(map(len, prompts)) - 1
    differ = (place for place in range(most) if first[place] != last[place])
    shared = next(differ, most)
    held = shared * len(prompts)
    return shared if len(prompts) > 1 and shared >= _FEWEST_SHARED and held <= _MOST_HELD else 0


def _pack(
    prompts: Sequence[Tokens], trees: Sequence[TokenTree], before: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Token ids and positions [batch, length], and who sees whom [batch, length, before + length].

    Each row is prompt, tree, padding; padding sees itself, so that no softmax is empty. All see
    the tokens that were read before.
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
    past = np.ones((len(prompts), length, before), dtype=np.bool_)
    return ids, positions + before, np.concatenate([past, sees], axis=2)


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
            scores[row] = log_probability(logits, steps, np.asarray(choices[row])).sum()
    return scores


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
