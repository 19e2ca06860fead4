"""What each metric means to a law: which direction is better, and what its error is.

Names outside the dictionary are taken for the accuracy of a benchmark, so that any benchmark of
the evaluation harness can be fitted without being listed here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from distillscale.errors import InputError
from distillscale.laws.arrays import Array


@dataclass(frozen=True)
class Metric:
    """How to read a metric: `bounded` ones lie in [0, 1]; `knowledge` ones are benchmarks."""

    better: Literal["higher", "lower"]
    bounded: bool
    knowledge: bool = False


SHARE_OF_RIGHT = Metric("higher", bounded=True)
SHARE_OF_WRONG = Metric("lower", bounded=True)
LOSS = Metric("lower", bounded=False)
RATE = Metric("higher", bounded=False)
BENCHMARK = Metric("higher", bounded=True, knowledge=True)

METRICS: dict[str, Metric] = {
    "macro_f1": SHARE_OF_RIGHT,
    "weighted_f1": SHARE_OF_RIGHT,
    "accuracy": SHARE_OF_RIGHT,
    "gold_probability": SHARE_OF_RIGHT,
    "reasoned_accuracy": SHARE_OF_RIGHT,
    "parse_failure_rate": SHARE_OF_WRONG,
    "ece": SHARE_OF_WRONG,
    "aurc": SHARE_OF_WRONG,
    "gold_nll": LOSS,
    "kl_answer": LOSS,
    "kl_reasoning": LOSS,
    "kl_truncation_error_answer": LOSS,
    "kl_truncation_error_reasoning": LOSS,
    "train_loss": LOSS,
    "gradient_norm_spread": LOSS,
    "ms_per_example": LOSS,
    "ms_per_example_batch_32": LOSS,
    "ms_per_example_label_only": LOSS,
    "ms_per_example_label_only_batch_32": LOSS,
    "cost_per_million": LOSS,
    "flops_per_example": LOSS,
    "peak_memory_bytes": LOSS,
    "file_bytes": LOSS,
    "examples_per_second": RATE,
    "prefill_tokens_per_second": RATE,
    "decode_tokens_per_second": RATE,
}


def metric(name: str) -> Metric:
    """The description of a metric; an unlisted name is a benchmark's accuracy (an assumption)."""
    return METRICS.get(name, BENCHMARK)


def knowledge_metrics(table: pd.DataFrame) -> list[str]:
    """The general-knowledge metrics of a results table: benchmarks whose chance level is stated."""
    stated = table.loc[table["chance"].notna(), "metric"].unique()
    return sorted(name for name in stated if metric(name).knowledge)


def error_of(name: str, value: Array) -> Array:
    """The error of a metric: 1 - value where higher is better, the value itself for losses.

    Raises:
        InputError: the metric has no error scale (a rate without an upper bound).
    """
    kind = metric(name)
    if kind.better == "lower":
        return value
    if not kind.bounded:
        known = ", ".join(_with_error(METRICS))
        raise InputError(f"metric `{name}` has no error scale; a power law fits one of: {known}.")
    return 1 - value


def value_of(name: str, error: Array) -> Array:
    """The metric's value for an error: the inverse of `error_of`."""
    return error_of(name, error)


def _with_error(names: Iterable[str]) -> list[str]:
    return [name for name in names if metric(name).bounded or metric(name).better == "lower"]
