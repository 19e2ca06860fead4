"""Tokens a second: reading prompts (prefill), and writing token after token (decode)."""

import time
from collections.abc import Sequence
from statistics import median

import torch
from torch import Tensor
from transformers import PreTrainedModel

from distillscale.evaluation.cached_scores import has_cache
from distillscale.evaluation.measurement import Measurement
from distillscale.models.batches import pad

_SECONDS = 0.15
"""Time for each of the two, after which nothing new is begun."""
_PREFILLS, _STEPS = 3, 32


@torch.inference_mode()
def measure_throughput(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]]
) -> list[Measurement]:
    """`prefill_tokens_per_second` and `decode_tokens_per_second` of one batch of these prompts.

    Prefill: the prompts' tokens over the time of one forward pass that fills the key/value cache
    and projects each last position (median of up to three). Decode: new tokens over the time of
    up to 32 such steps that each add one token to every sequence, greedily. Padding is work that
    counts as no token. A model without such a cache has no value for decode.

    Args:
        prompts: token ids of the batch, at least one prompt.
    """
    batch = _Batch(model, prompts)
    cached = has_cache(model)
    seconds: list[float] = []
    while len(seconds) < _PREFILLS and sum(seconds) < _SECONDS:
        started = time.perf_counter()
        batch.prefill(use_cache=cached)
        seconds.append(time.perf_counter() - started)
    tokens = sum(map(len, prompts))
    rates: dict[str, float | None] = {"prefill": tokens / median(seconds), "decode": None}
    if cached:
        batch.step()  # the first one is slower
        rates["decode"] = len(prompts) / _mean_seconds(batch, _steps_left(model, prompts))
    return [
        Measurement(f"{kind}_tokens_per_second", rate, None, len(prompts))
        for kind, rate in rates.items()
    ]


class _Batch:
    """A batch of sequences that grows: its cache, its mask, and the tokens to read next."""

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> None:
        ids, mask = pad(prompts, pad_id=0, side="left")
        self._model = model
        self._prompts, self._prompt_mask = ids.to(model.device), mask.to(model.device)

    def prefill(self, *, use_cache: bool) -> None:
        """Read the prompts, from the start."""
        self._mask, self._cache = self._prompt_mask, None
        self._read(self._prompts, use_cache=use_cache)

    def step(self) -> None:
        """Read the token that each sequence was continued with."""
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        self._read(self._next, use_cache=True)

    def _read(self, ids: Tensor, *, use_cache: bool) -> None:
        output = self._model.get_decoder()(
            input_ids=ids,
            attention_mask=self._mask,
            past_key_values=self._cache,
            use_cache=use_cache,
        )
        self._cache = output.past_key_values if use_cache else None
        logits = self._model.get_output_embeddings()(output.last_hidden_state[:, -1])
        self._next = logits.argmax(dim=-1, keepdim=True)
        self._next.tolist()  # waits for a GPU


def _mean_seconds(batch: _Batch, most: int) -> float:
    started, steps = time.perf_counter(), 0
    while True:
        batch.step()
        steps += 1
        passed = time.perf_counter() - started
        if steps >= most or passed > _SECONDS:
            return passed / steps


def _steps_left(model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> int:
    """Steps that fit the model's context behind the first one; one at least."""
    limit = getattr(model.config, "max_position_embeddings", None)
    room = _STEPS if limit is None else limit - max(map(len, prompts)) - 1
    return max(1, min(_STEPS, room))
