"""Quantities that the data may give as a number, as a bound on one side, or not at all."""

from dataclasses import dataclass, field

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from distillscale.laws.arrays import Array

LEVEL = 0.95


@dataclass(frozen=True)
class Draws:
    """What a quantity came to in resamples that are paired with those of other quantities.

    Attributes:
        all: resampled runs and test examples, [draws].
        tests: resampled test examples only; the rest of the variance is that of the runs.
        runs: how many runs were resampled; 0 where they were too few for that.
    """

    all: Array
    tests: Array
    runs: int

    def __sub__(self, other: "Draws") -> "Draws":
        """The difference draw by draw, which is what pairing means."""
        count = min(len(self.all), len(other.all))
        runs = min(self.runs, other.runs)
        tests = self.tests[:count] - other.tests[:count]
        return Draws(self.all[:count] - other.all[:count], tests, runs)

    def clip(self, low: float, high: float) -> "Draws":
        """The draws, cut off at both sides."""
        return Draws(np.clip(self.all, low, high), np.clip(self.tests, low, high), self.runs)

    def quantile(self, probability: float, value: float) -> float:
        """A percentile, its distance from the value stretched by Student's t over the normal.

        Percentiles of few runs are too narrow: the degrees of freedom are the runs' for their part
        of the variance and unlimited for that of the test sampling (Satterthwaite 1946).
        """
        found = float(np.quantile(self.all, probability))
        return value + (found - value) * self._stretch(probability)

    def _stretch(self, probability: float) -> float:
        total, tests = float(np.var(self.all)), float(np.var(self.tests))
        of_runs = max(total - tests, 0.0)
        if self.runs < 2 or of_runs <= 0 or probability == 0.5:
            return 1.0
        freedom = (self.runs - 1) * (total / of_runs) ** 2
        return float(student.ppf(probability, freedom) / norm.ppf(probability))


Side = tuple[float, Draws]  # an estimate and its draws


@dataclass(frozen=True)
class Located:
    """What the data say of a quantity.

    Attributes:
        value: the estimate; None where only a bound is known, or nothing.
        low, high: the interval at `LEVEL` where there is a value; a bound alone is one-sided at
            `LEVEL`, the other side None. Without resamples all but the value are None.
        lower, upper: the quantity's estimate and draws, as far as it is known from below and from
            above; None on a side from which nothing is known.
        reason: why nothing is known; empty otherwise.
    """

    value: float | None
    low: float | None
    high: float | None
    lower: Side | None = field(repr=False)
    upper: Side | None = field(repr=False)
    reason: str = ""

    @property
    def kind(self) -> str:
        """`value`, `>` (a lower bound only), `<`, or `unknown`."""
        if self.lower and self.upper:
            return "value"
        return ">" if self.lower else "<" if self.upper else "unknown"


def located(lower: Side | None, upper: Side | None, reason: str = "") -> Located:
    """A quantity with its interval or bound; a value if it is known from both sides."""
    if lower and upper:
        value = lower[0]
        if len(lower[1].all) == 0:
            return Located(value, None, None, lower, upper)
        tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
        low, high = (lower[1].quantile(tail, value) for tail in tails)
        return Located(value, low, high, lower, upper)
    low_bound = _bound(lower, 1 - LEVEL) if lower else None
    high_bound = _bound(upper, LEVEL) if upper else None
    return Located(None, low_bound, high_bound, lower, upper, reason)


def minus(left: Located, right: Located, reason: str) -> Located:
    """The difference of two quantities, as far as what is known of them bounds it.

    Known from below if `left` is and `right` is known from above; and the other way round.

    Args:
        left: what is subtracted from.
        right: what is subtracted; its draws are paired with those of `left`.
        reason: why nothing is known, if that is so.
    """
    return located(
        _difference(left.lower, right.upper), _difference(left.upper, right.lower), reason
    )


def _difference(left: Side | None, right: Side | None) -> Side | None:
    return (left[0] - right[0], left[1] - right[1]) if left and right else None


def _bound(side: Side, probability: float) -> float:
    value, draws = side
    return draws.quantile(probability, value) if len(draws.all) else value
