"""The mean of paired differences, where every run was measured on the same test examples.

Runs and test examples are crossed, so both sample: another seed would give another difference, and
another test set would move the differences of all seeds together. Their variances add. What the
two estimates have in common (a run's own luck with the examples) is in both, and is taken off once:
the two-way layout of Owen 2007, "The pigeonhole bootstrap" (arXiv 0712.1111), in moments instead of
resamples, so that three runs get Student's t and not the too narrow percentiles of three values.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from distillscale.laws.arrays import Array

RUNS_AND_TEST = "runs and test examples"
RUNS_ONLY = "runs only"
TEST_ONLY = "test examples only: one run each"
NOTHING = "nothing: one run each and no replicates"


@dataclass(frozen=True)
class Mean:
    """A mean difference, its interval and test.

    `low`, `high` and `p` are None where nothing is known of the variation; `p` (two-sided, of no
    difference) also where only the sampling of test examples is. `degrees` are Satterthwaite's, of
    the runs' part. `covers` says which variation the interval covers.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    degrees: float | None
    units: int
    covers: str


def crossed_mean(
    differences: Array,
    replicates: Sequence[Array],
    strata: Sequence[Hashable],
    level: float,
) -> Mean:
    """The mean over strata of the mean difference of each, with a t interval.

    Args:
        differences: one a unit (a pair of runs, or several that share a run, averaged), [n].
        replicates: the same on common bootstrap resamples of the test examples, [resamples] a
            unit; where some unit has none, the interval covers runs only.
        strata: what each unit was made with, apart from the seed. Strata are fixed and count
            equally; units of one stratum are repetitions. A stratum of one unit has the other
            strata's mean variance.
        level: of the interval.
    """
    names = list(dict.fromkeys(strata))
    member = np.array([[stratum == name for stratum in strata] for name in names])
    counts = member.sum(axis=1)
    weights = (member / counts[:, None]).sum(axis=0) / len(names)
    value = float(weights @ differences)
    runs, degrees = _run_variance(differences, member, counts)
    test = _test_variance(replicates, weights)
    if runs is None and test is None:
        return Mean(value, None, None, None, None, len(differences), NOTHING)
    if runs is None:
        assert test is not None
        half = float(norm.isf((1 - level) / 2) * np.sqrt(test[0]))
        return Mean(value, value - half, value + half, None, None, len(differences), TEST_ONLY)
    total = runs + (test[0] - min(*test, runs) if test else 0.0)
    # Satterthwaite: only the runs' part of the variance is estimated from few values.
    degrees = degrees * (total / runs) ** 2 if runs > 0 else np.inf
    error = float(np.sqrt(total))
    half = float(t.isf((1 - level) / 2, degrees)) * error
    covers = RUNS_AND_TEST if test else RUNS_ONLY
    p = _p_value(value, error, degrees)
    return Mean(value, value - half, value + half, p, float(degrees), len(differences), covers)


def _run_variance(differences: Array, member: Array, counts: Array) -> tuple[float | None, float]:
    """Variance of the mean from run to run, and its degrees of freedom; None without repetition."""
    repeated = counts > 1
    if not repeated.any():
        return None, 0.0
    variances = np.array([
        differences[own].var(ddof=1) if many else np.nan
        for own, many in zip(member, repeated, strict=True)
    ])  # fmt: skip
    parts = np.where(repeated, variances, np.nanmean(variances)) / counts / len(counts) ** 2
    known = parts[repeated]
    squares = float((known**2 / (counts[repeated] - 1)).sum())
    degrees = float(known.sum() ** 2 / squares) if squares > 0 else np.inf
    return float(parts.sum()), degrees


def _test_variance(replicates: Sequence[Array], weights: Array) -> tuple[float, float] | None:
    """Variance of the mean from the sampling of test examples, and what of it the runs show too.

    With A the variance that all units share and B each unit's own, the weighted mean has
    A + B sum(w^2), and the weighted sum of the units' variances (A + B) sum(w^2).
    """
    resamples = min((len(row) for row in replicates), default=0)
    if resamples < 2:
        return None
    stacked = np.stack([row[:resamples] for row in replicates])
    mean = float((weights @ stacked).var(ddof=1))
    separate = float(weights**2 @ stacked.var(axis=1, ddof=1))
    concentration = float(weights @ weights)
    if concentration >= 1:
        return mean, 0.0
    own = (separate - mean * concentration) / (1 - concentration)
    return mean, max(own, 0.0)


def _p_value(value: float, error: float, degrees: float) -> float | None:
    if error == 0:  # equal differences in all units: no difference, or one that cannot be tested
        return 1.0 if value == 0 else None
    return float(2 * t.sf(abs(value) / error, degrees))
