"""How fast a model decides: one example at a time, and in batches of 32; and the memory it takes.

These are measurements of this machine under its present load, not properties of the model.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distillscale.evaluation.in_domain import Reasoning, decide
from distillscale.evaluation.measurement import Measurement
from distillscale.evaluation.memory import peak_memory

BATCH_SIZE = 32
_SECONDS = 0.4
"""Time for examples alone, and for batches, after which nothing new is begun."""
_BATCHES = 3

Work = Callable[[Sequence[Any]], object]
"""The whole decision on some examples, as one batch."""


def measure_latency(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    label_ids: Sequence[Sequence[int]],
    *,
    reasoning: Reasoning | None = None,
    label_only_prompts: Sequence[Sequence[int]] = (),
    singles: int = 5,
) -> list[Measurement]:
    """Times of the whole decision over the closed set as `decide` makes it, and its peak memory.

    The times of `time_decisions` and the second one as a rate, `examples_per_second`, are those of
    a model as it is used: a reasoning model's generation is included. Of a model that reasons,
    `ms_per_example_label_only` and `ms_per_example_label_only_batch_32` time the labels' scores
    right after a prompt. `peak_memory_bytes` is that of the batch.

    Args:
        prompts: token ids of at least one prompt.
        label_only_prompts: those that ask for the label alone, where the model reasons.
        singles: examples timed one at a time, at most.
    """

    def work(chosen: Sequence[Sequence[int]], reasoning: Reasoning | None) -> None:
        size = len(chosen)
        decide(model, tokenizer, chosen, label_ids, reasoning=reasoning, batch_size=size)

    used, batch = partial(work, reasoning=reasoning), prompts[:BATCH_SIZE]
    used(prompts[:1])  # warms up
    first, memory = peak_memory(model, lambda: _seconds(used, batch))
    measured = time_decisions(used, prompts, singles=singles, batches=[first])
    together = measured[-1].value
    assert together is not None
    measured += [
        Measurement("examples_per_second", 1000 / together, None, len(batch)),
        Measurement("peak_memory_bytes", memory and float(memory), None, len(batch)),
    ]
    if reasoning is not None and label_only_prompts:
        label_only = partial(work, reasoning=None)
        label_only(label_only_prompts[:1])
        measured += time_decisions(label_only, label_only_prompts, suffix="_label_only")
    return measured


def time_decisions(
    work: Work,
    examples: Sequence[Any],
    *,
    singles: int = 5,
    batches: Sequence[float] = (),
    suffix: str = "",
) -> list[Measurement]:
    """`ms_per_example` (batches of one) and `ms_per_example_batch_32`, medians.

    The first over the first `singles` examples, the second over up to three times the first 32 (or
    as many as there are: `examples` of the measurement tells); 0.4 seconds each, after which no
    further one is begun.

    Args:
        work: decides on a batch; it is warm.
        batches: seconds of batches that were timed before, counted among the three.
        suffix: of the names, before the batch's.
    """
    alone: list[float] = []
    for example in examples[:singles]:
        if sum(alone) < _SECONDS:
            alone.append(_seconds(work, [example]))
    batch, together = examples[:BATCH_SIZE], list(batches)
    while len(together) < _BATCHES and sum(together) < _SECONDS:
        together.append(_seconds(work, batch))
    name, size = f"ms_per_example{suffix}", len(batch)
    return [
        Measurement(name, 1000 * median(alone), None, len(alone)),
        Measurement(f"{name}_batch_32", 1000 * median(together) / size, None, size),
    ]


def _seconds(work: Work, examples: Sequence[Any]) -> float:
    started = time.perf_counter()
    work(examples)
    return time.perf_counter() - started
