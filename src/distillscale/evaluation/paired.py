"""Is one model better than another on the same examples? Paired tests."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from distillscale.evaluation.metrics import Floats, Indices, macro_f1, resampled, weighted_f1

PAIRED_REPLICATES = 2000

F1 = Callable[[Indices, Indices, Floats], Floats]


@dataclass(frozen=True)
class McNemar:
    """The exact test of equal accuracies.

    `only_first` and `only_second` count the examples that one of the models alone decided rightly;
    `p` is two-sided: under equal accuracies each such example falls to either with probability 1/2.
    """

    only_first: int
    only_second: int
    p: float


@dataclass(frozen=True)
class Difference:
    """A metric of the first model less that of the second.

    `low` and `high` bound the middle 90 % of the differences on common resamples of the examples.
    `p` is two-sided: twice the smaller share of the differences that lie on either side of zero,
    with the observed one counted among them, so it is never zero.
    """

    metric: str
    value: float
    low: float
    high: float
    p: float


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """McNemar's exact test on which examples each of two models decided rightly."""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    apart = only_first + only_second
    p = binomtest(only_first, apart).pvalue if apart else 1.0
    return McNemar(only_first, only_second, float(p))


def f1_differences(
    gold: Indices,
    first: Indices,
    second: Indices,
    *,
    replicates: int = PAIRED_REPLICATES,
    seed: int = 0,
) -> tuple[Difference, ...]:
    """Differences in macro and weighted F1 of two models' decisions, by the paired bootstrap."""

    def differences(f1: F1) -> Callable[[Floats], Floats]:
        return lambda weights: f1(gold, first, weights) - f1(gold, second, weights)

    return tuple(
        paired_bootstrap(name, len(gold), differences(f1), replicates=replicates, seed=seed)
        for name, f1 in (("macro_f1", macro_f1), ("weighted_f1", weighted_f1))
    )


def paired_bootstrap(
    metric: str,
    examples: int,
    difference: Callable[[Floats], Floats],
    *,
    replicates: int = PAIRED_REPLICATES,
    seed: int = 0,
) -> Difference:
    """Value, interval and p of a difference.

    Args:
        difference: takes weights [rows, examples] and returns the difference of each row.
    """
    value = float(difference(np.ones((1, examples)))[0])
    drawn = resampled(examples, difference, replicates=replicates, seed=seed)
    low, high = np.quantile(drawn, (0.05, 0.95))
    tails = 1 + np.array([(drawn <= 0).sum(), (drawn >= 0).sum()])
    p = min(1.0, 2 * float(tails.min()) / (1 + replicates))
    return Difference(metric, value, float(low), float(high), p)
