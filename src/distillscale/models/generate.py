"""Batched generation with a key/value cache."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from distillscale.models.batches import length_sorted_batches, pad


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    batch_size: int = 128,
    progress: Callable[[float], None] = lambda _: None,
) -> list[tuple[int, ...]]:
    """Continue each prompt until end-of-sequence or the token budget.

    Decoding settings that a checkpoint brings in its `generation_config.json` (repetition penalty,
    top-p and the like) are not used: what is drawn is the model's own distribution.

    Args:
        prompts: token ids, one sequence a prompt.
        max_new_tokens: the budget for each completion.
        temperature: 0 takes the most likely token; above 0 samples, reproducibly from `seed` at
            one batch size.
        progress: told the share of prompts that are done, from 0 to 1.

    Returns:
        The completion of each prompt, in the order given, ending with the end-of-sequence token
        where the model produced one.
    """
    decoding: dict[str, Any] = {"do_sample": False}
    if temperature > 0:
        decoding = {"do_sample": True, "temperature": temperature, "top_k": 0}
    completions: list[tuple[int, ...]] = [()] * len(prompts)
    done = 0
    with torch.random.fork_rng(), _no_decoding_defaults(model):
        torch.manual_seed(seed)
        for rows in length_sorted_batches([len(prompt) for prompt in prompts], batch_size):
            ids, mask = pad([prompts[row] for row in rows], tokenizer.pad_token_id, side="left")
            output = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                max_new_tokens=max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
                **decoding,
            )
            for row, tokens in zip(rows, output[:, ids.shape[1] :].tolist(), strict=True):
                completions[row] = _until_end(tokens, tokenizer.eos_token_id)
            done += len(rows)
            progress(done / len(prompts))
    return completions


@contextmanager
def _no_decoding_defaults(model: PreTrainedModel) -> Iterator[None]:
    """Hide the checkpoint's generation config, which would fill every setting left open."""
    kept, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = kept


def _until_end(tokens: list[int], eos_id: int) -> tuple[int, ...]:
    if eos_id in tokens:
        return tuple(tokens[: tokens.index(eos_id) + 1])
    return tuple(tokens)
