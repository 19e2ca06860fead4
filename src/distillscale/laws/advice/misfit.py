"""How far the truth lies from a law's curve between its points: what runs do not explain.

A law misses a place (one x) that it has not seen by more than its runs scatter, where its form is
not quite the truth's. So each inner place is left out in turn and predicted by the rest. The mean
of n runs is missed by (1 + places) times v = m^2 + s^2 / n: m^2 the misfit, one deviation a place
that all runs there share, s^2 the variance of a run, `places` what the deviations of the other
places add (see `LawPoints.place_leverage`). Misses rather than residuals, because a smooth misfit
hides from the points that bend the curve. Laws of one kind are pooled (an assumption).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from distillscale.laws.advice.law_points import LawPoints
from distillscale.laws.advice.spread import FEWEST_DEGREES, Spread
from distillscale.laws.arrays import Array


@dataclass(frozen=True)
class PlaceMisses:
    """By how much a law misses the runs' means at inner places that it has not seen.

    `misses`, `places` and `runs` are [k]: on the metric's scale; what the other places add; how
    many runs there are. `degrees`: of freedom that k dependent misses are counted as.
    """

    misses: Array
    places: Array
    runs: Array
    degrees: int


def place_misses(law: LawPoints, kept: Array | None = None) -> PlaceMisses:
    """Leave out each inner place of a law in turn.

    Args:
        law: with all its points.
        kept: those that may be known, 1 or 0 each, [n]; None: all.
    """
    known = np.ones(len(law.points)) if kept is None else kept
    at = law.at_places
    at = at[:, known @ at > 0]
    free = len(law.form.free)
    if at.shape[1] <= free:
        return PlaceMisses(np.zeros(0), np.zeros(0), np.zeros(0), 0)
    x, trained = law.points.x, np.array(law.points.stages) > 0
    where = x @ at / at.sum(axis=0)
    inner = (where > where.min()) & (where < where.max()) & (~trained @ at == 0)
    left_out = at[:, inner].T
    rest = known * (1 - left_out)
    found = np.zeros((2, len(left_out)))
    for k, (own, keep, parameters) in enumerate(zip(left_out, rest, law.fits(rest), strict=True)):
        mine = own * known > 0
        pulls = law.pulls(parameters, x[mine][:1], keep)
        found[:, k] = law.residuals(parameters)[mine].mean(), law.place_leverage(pulls)[0]
    runs = left_out @ known
    return PlaceMisses(found[0], found[1], runs, min(len(left_out), at.shape[1] - free))


def with_misfit(runs: Spread, misses: Sequence[PlaceMisses]) -> Spread:
    """The spread of runs with the misfit of the laws that predict; alone where there is none.

    Args:
        runs: of one run.
        misses: of the laws of one kind (see `LawPoints`).
    """
    degrees = sum(one.degrees for one in misses)
    if degrees < FEWEST_DEGREES:
        return runs
    of_means = float(np.concatenate([one.misses**2 / (1 + one.places) for one in misses]).mean())
    share = float(np.concatenate([1 / one.runs for one in misses]).mean())
    misfit = of_means - share * runs.variance
    if misfit <= 0:
        return runs
    return replace(
        runs,
        misfit=misfit,
        misfit_degrees=degrees * (misfit / of_means) ** 2,
    )
