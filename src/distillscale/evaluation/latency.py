"""How fast a model decides: one example at a time, and in batches."""

import time
from collections.abc import Sequence
from statistics import median

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distillscale.evaluation.in_domain import Reasoning, decide
from distillscale.evaluation.measurement import Measurement

_SECONDS_FOR_SINGLES = 0.5


def measure_latency(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    label_ids: Sequence[Sequence[int]],
    *,
    reasoning: Reasoning | None = None,
    singles: int = 5,
    batch_size: int = 32,
) -> list[Measurement]:
    """`ms_per_example` (batches of one) and `examples_per_second` (one batch of `batch_size`).

    Both time the whole decision over the closed set as `decide` makes it, a reasoning model's
    generation included. `ms_per_example` is the median over the first prompts after one that warms
    up: `singles` of them, or as many as half a second allows. These are measurements of this
    machine under its present load, not properties of the model.

    Args:
        prompts: token ids of at least one prompt; those beyond the first batch are not used.
    """

    def seconds(chosen: Sequence[Sequence[int]], size: int) -> float:
        started = time.perf_counter()
        decide(model, tokenizer, chosen, label_ids, reasoning=reasoning, batch_size=size)
        return time.perf_counter() - started

    seconds(prompts[:1], 1)
    alone: list[float] = []
    for prompt in prompts[:singles]:
        if sum(alone) < _SECONDS_FOR_SINGLES:
            alone.append(seconds([prompt], 1))
    batch = prompts[:batch_size]
    together = seconds(batch, batch_size)
    return [
        Measurement("ms_per_example", 1000 * median(alone), None, len(alone)),
        Measurement("examples_per_second", len(batch) / together, None, len(batch)),
    ]
