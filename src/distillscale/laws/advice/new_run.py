"""What a new run would give: its interval, and the probability that it meets the demands.

On the metric's scale (see `scale`) the difference between a new run and its prediction has the
variance  s^2 (1 + leverage) + m^2 (1 + places) + V_test + V_beyond:

- s^2: of one run (see `spread`); 1 for the new run itself, leverage for those behind the
  prediction (1/n for the mean of n runs; for a law see `LawPoints.leverage`);
- m^2: of the truth around the law that predicts (see `misfit`), 0 for a measured place; once
  for the new place, `places` for those behind the prediction (see `LawPoints.place_leverage`);
- V_test: how the prediction varies over the common resamples of the test examples, so that the
  interval speaks of all examples like these;
- V_beyond: outside the fitted range nothing vouches for the form; a standard deviation of half the
  change that the law predicts since its last point is added (an assumption).

s^2 and m^2 are estimated, so quantiles are Student's, with the degrees of freedom of Welch and
Satterthwaite. Several demands are met together with the probability of a normal copula: its
correlations are those of the runs' residuals and of the paired resamples of the test examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtr
from scipy.stats import multivariate_normal, norm
from scipy.stats import t as student

from distillscale.laws.advice.between import UsableLaw
from distillscale.laws.advice.candidates import Candidate, Estimate
from distillscale.laws.advice.constraints import Constraint
from distillscale.laws.advice.law_points import LawPoints
from distillscale.laws.advice.misfit import place_misses, with_misfit
from distillscale.laws.advice.scale import Scale
from distillscale.laws.advice.spread import Spread, law_spread, run_spread
from distillscale.laws.arrays import Array
from distillscale.laws.bootstrap import LEVEL

FEWEST_TOGETHER = 8  # runs with residuals of two metrics; fewer tell no correlation
TEST_ONLY = "test sampling only: nothing tells how runs differ"


@dataclass(frozen=True)
class Forecast:
    """A metric of a new run: expected value, interval at `level` (None if unknown), its content.

    `deviation` is the standard deviation on the metric's scale, `degrees` its degrees of freedom.
    """

    value: float
    low: float | None
    high: float | None
    deviation: float
    degrees: float
    covers: str
    level: float = LEVEL


@dataclass(frozen=True)
class NewRuns:
    """What is known of how runs and test examples scatter each metric.

    `spreads` are by metric and the kind of law that predicts it (empty: measured); `together`
    says of two of them how their runs err together, from -1 to 1.
    """

    scales: Mapping[str, Scale]
    spreads: Mapping[tuple[str, str], Spread | None]
    together: Mapping[tuple[tuple[str, str], tuple[str, str]], float]
    level: float = LEVEL

    def forecast(self, candidate: Candidate, name: str) -> Forecast:
        """A metric of a new run of a candidate."""
        estimate = candidate.metrics[name]
        deviation, degrees = self._spread_of(name, estimate)
        covers = _covers(estimate, self.spreads.get((name, estimate.law)))
        if deviation == 0 and not _known(estimate, self.spreads.get((name, estimate.law))):
            return Forecast(estimate.value, None, None, 0.0, inf, covers, self.level)
        scale = self.scales[name]
        half = _quantile((1 + self.level) / 2, degrees) * deviation
        middle = scale.there(estimate.value)
        low, high = float(scale.back(middle - half)), float(scale.back(middle + half))
        if deviation == 0:
            low = high = estimate.value
        return Forecast(estimate.value, low, high, deviation, degrees, covers, self.level)

    def probability(self, candidate: Candidate, constraint: Constraint) -> float | None:
        """That a new run meets a demand; 0 where the metric was not measured.

        None where nothing tells how runs differ: test sampling alone would sound too sure.
        """
        name = constraint.name
        if constraint.is_size:
            return float(constraint.met(candidate.value(name)))
        if name not in candidate.metrics:
            return 0.0
        estimate = candidate.metrics[name]
        if not _known(estimate, self.spreads.get((name, estimate.law))):
            return None
        deviation, degrees = self._spread_of(name, estimate)
        if deviation == 0:
            return float(constraint.met(estimate.value))
        there = self.scales[name].there
        above = float(there(estimate.value) - there(constraint.threshold))
        margin = (above if constraint.bound == "min" else -above) / deviation
        return float(stdtr(degrees, margin) if isfinite(degrees) else ndtr(margin))

    def _spread_of(self, name: str, estimate: Estimate) -> tuple[float, float]:
        """Standard deviation on the metric's scale, and its degrees of freedom."""
        spread = self.spreads.get((name, estimate.law))
        known = _of_test(estimate) + estimate.beyond
        if spread is None:
            return known**0.5, inf
        total, degrees = spread.total(estimate.runs, estimate.places, known)
        return total**0.5, degrees

    def joint(self, candidate: Candidate, constraints: Sequence[Constraint]) -> float | None:
        """That a new run meets all demands; None if that is unknown of one."""
        single = [self.probability(candidate, constraint) for constraint in constraints]
        known = [p for p in single if p is not None]
        if len(known) < len(single):
            return None
        open_ones = [
            (c, p) for c, p in zip(constraints, known, strict=True) if not c.is_size and 0 < p < 1
        ]
        if min(known, default=1.0) == 0 or len(open_ones) < 2:
            return min(known, default=1.0)
        bounds = norm.ppf([p for _, p in open_ones])
        correlation = self._correlations(candidate, [c for c, _ in open_ones])
        # Above two dimensions SciPy integrates by random points: seeded, so that answers repeat.
        normal = multivariate_normal(cov=correlation, allow_singular=True, seed=0)
        return float(np.clip(normal.cdf(bounds), 0, min(known)))

    def _correlations(self, candidate: Candidate, constraints: Sequence[Constraint]) -> np.ndarray:
        """Of the margins by which a new run meets each demand."""
        sign = np.array([1.0 if c.bound == "min" else -1.0 for c in constraints])
        names = [constraint.name for constraint in constraints]
        found = np.eye(len(names))
        for i, one in enumerate(names):
            for j, two in enumerate(names[:i]):
                found[i, j] = found[j, i] = self._correlation(candidate, one, two)
        return _positive(found * np.outer(sign, sign))

    def _correlation(self, candidate: Candidate, one: str, two: str) -> float:
        if one == two:
            return 1.0
        first, second = candidate.metrics[one], candidate.metrics[two]
        deviations = self._spread_of(one, first)[0] * self._spread_of(two, second)[0]
        together = self.together.get(((one, first.law), (two, second.law)), 0.0)
        shared = together * (self._of_runs(one, first) * self._of_runs(two, second)) ** 0.5
        draws = min(len(first.sampling), len(second.sampling))
        if draws > 1:
            shared += float(np.cov(first.sampling[:draws], second.sampling[:draws])[0, 1])
        return float(np.clip(shared / deviations, -1, 1)) if deviations > 0 else 0.0

    def _of_runs(self, name: str, estimate: Estimate) -> float:
        spread = self.spreads.get((name, estimate.law))
        return 0.0 if spread is None else spread.variance * estimate.runs


def new_runs(
    table: pd.DataFrame, scales: Mapping[str, Scale], laws: Sequence[UsableLaw]
) -> NewRuns:
    """Pool how runs of a task differ.

    Args:
        table: the task's rows, with the columns of `SETTING`.
        scales: of the metrics that matter.
        laws: those that describe the table.
    """
    spreads: dict[tuple[str, str], Spread | None] = {}
    for name, scale in scales.items():
        own = [(law.points, law.parameters) for law in laws if law.fit.metric == name]
        runs = run_spread(table[table["metric"] == name], scale, own)
        spreads[name, ""] = runs
        for kind in {law.kind for law, _ in own}:
            spreads[name, kind] = (
                law_spread(kind, own) if runs is None else _around(runs, kind, own)
            )
    known = [(key, spread) for key, spread in spreads.items() if spread is not None]
    together = {
        (one, two): _run_correlation(first, second) for one, first in known for two, second in known
    }
    return NewRuns(scales, spreads, together)


def _around(runs: Spread, kind: str, laws: Sequence[tuple[LawPoints, Array]]) -> Spread:
    return with_misfit(runs, [place_misses(law) for law, _ in laws if law.kind == kind])


def _run_correlation(first: Spread, second: Spread) -> float:
    """How two metrics of a run err together, by the residuals of runs that have both."""
    both = sorted(first.residuals.keys() & second.residuals.keys())
    if len(both) < FEWEST_TOGETHER:
        return 0.0
    left = np.array([first.residuals[run] for run in both])
    right = np.array([second.residuals[run] for run in both])
    size = float((left**2).sum() * (right**2).sum())
    return float((left * right).sum() / size**0.5) if size > 0 else 0.0


def _known(estimate: Estimate, spread: Spread | None) -> bool:
    """Whether all that scatters a new run is known; the teacher is no run."""
    return estimate.runs == 0 or spread is not None


def half_width(
    spread: Spread, leverage: float, level: float, *, places: float = 0.0, further: float = 0.0
) -> float:
    """Half the width of an interval for a new run on the metric's scale.

    Args:
        spread: of one run.
        leverage: of the runs behind the prediction.
        level: of the interval.
        places: how many times the law's misfit counts; 0 without a law.
        further: variance beside those.
    """
    total, degrees = spread.total(1 + leverage, places, further)
    return _quantile((1 + level) / 2, degrees) * total**0.5


def _of_test(estimate: Estimate) -> float:
    """The variance that the sampling of test examples adds."""
    return float(estimate.sampling.var(ddof=1)) if len(estimate.sampling) > 1 else 0.0


def _quantile(share: float, degrees: float) -> float:
    return float(student.ppf(share, degrees) if np.isfinite(degrees) else norm.ppf(share))


def _covers(estimate: Estimate, spread: Spread | None) -> str:
    test = len(estimate.sampling) > 1
    if estimate.runs == 0:
        return f"the teacher, which is no run: {'test sampling' if test else 'nothing scatters it'}"
    if spread is None:
        return TEST_ONLY if test else "nothing tells how runs differ"
    parts = [f"run-to-run variation ({spread.origin})"]
    parts += [f"the misfit of the {estimate.law} laws"] if spread.misfit else []
    parts += ["test sampling"] if test else []
    parts += ["an allowance for the law's form beyond its range"] if estimate.beyond else []
    return ", ".join(parts)


def _positive(correlation: np.ndarray) -> np.ndarray:
    """The matrix without negative eigenvalues, which pairs estimated apart can have."""
    values, vectors = np.linalg.eigh(correlation)
    fixed = vectors @ np.diag(values.clip(1e-9)) @ vectors.T
    size = np.sqrt(np.diag(fixed))
    return np.asarray(fixed / np.outer(size, size))
