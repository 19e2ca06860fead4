"""Where one score of one format collapses.

The collapse point r* is the share of the teacher's parameters at which half of what a score has
above chance is lost (see `collapse_law`). Where it lies outside the measured ratios it is not a
number but a bound.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.bootstrap import FEWEST_SEEDS, draw
from distillscale.laws.chance import chance_of
from distillscale.laws.collapse.located import Draws, Located, Side, located
from distillscale.laws.forms import COLLAPSE
from distillscale.laws.points import Points, read_points
from distillscale.laws.solve import Batch, solve

HALF = 0.5
FEWEST_RATIOS = 4
# An intact model has something to lose if it beats chance by so many standard errors.
ABOVE_CHANCE = 2.0

Group = Mapping[str, str | float]


@dataclass(frozen=True)
class CollapsePoint:
    """Where one score of one format collapses.

    Attributes:
        group: task, configuration, thinking and the rest of the chain's setting.
        metric: the score.
        chance: what guessing reaches.
        ratio: ln r*, as far as the data locate it.
        kept: which share of what lies above chance is left at the smallest measured ratio, by the
            curve: known even where the collapse lies beyond it.
        ratios: the smallest and the largest measured ratio.
        seeds: of the runs.
        covers: which variation intervals cover, in words.
    """

    group: Group
    metric: str
    chance: float
    ratio: Located
    kept: Located
    ratios: tuple[float, float]
    seeds: frozenset[int]
    covers: str


def locate_collapse(
    rows: pd.DataFrame, *, group: Group | None = None, lost: float = HALF, seed: int = 0
) -> CollapsePoint:
    """Locate the collapse point of one score.

    Args:
        rows: rows of one metric along one chain, of all its seeds, with a chance level.
        group: what the rows share, kept with the result.
        lost: as in `collapse_gaps`.
        seed: of the resampling; equal seeds give equal resamples of runs, so that points of the
            same runs are paired.

    Raises:
        InputError: rows of several metrics, no chance level, or fewer than four ratios.
    """
    if rows["metric"].nunique() != 1:
        raise InputError(
            f"a collapse point is that of one metric, not of {rows['metric'].nunique()}."
        )
    name = str(rows["metric"].iloc[0])
    chance = chance_of(name, rows)
    if chance is None:
        raise InputError(f"metric `{name}`: a collapse point needs a chance level.")
    points = read_points(rows, COLLAPSE, "prune_ratio")
    if points.distinct < FEWEST_RATIOS:
        raise InputError(
            f"metric `{name}`: a collapse point needs {FEWEST_RATIOS} prune ratios, not "
            f"{points.distinct}."
        )
    fitted = _fitted(points, chance, seed)
    ends = (float(points.x.min()), float(points.x.max()))
    where, kept = fitted.of(lambda p: _place(p, lost)), fitted.of(lambda p: _kept(p, ends[0]))
    reason = _reason(points, chance)
    return CollapsePoint(
        group=dict(group or {}),
        metric=name,
        chance=chance,
        ratio=located(None, None, reason) if reason else _within(where, ends),
        kept=located(None, None, reason) if reason else located(kept, kept),
        ratios=ends,
        seeds=frozenset(points.seeds),
        covers=fitted.covers,
    )


@dataclass(frozen=True)
class _Fitted:
    """The collapse law's parameters: estimate [p], draws and test-only draws [b, p]."""

    estimate: Array
    draws: Array
    tests: Array
    runs: int
    covers: str

    def of(self, quantity: Callable[[Array], Array]) -> Side:
        """A function of the parameters [..., p] -> [...] with its draws."""
        draws = Draws(quantity(self.draws), quantity(self.tests), self.runs)
        return float(quantity(self.estimate)), draws


def _fitted(points: Points, chance: float, seed: int) -> _Fitted:
    draws = draw(points.value, points.replicates, points.seeds, seed=seed)
    limits = COLLAPSE.bounds(points.x, points.value, {"chance": chance})
    weights = np.vstack([np.ones(len(points)), draws.weights, np.ones_like(draws.weights)])
    y = np.vstack([points.value, draws.values, draws.values])
    low, high = (np.tile(limits[:, side], (len(y), 1)) for side in (0, 1))
    batch = Batch(COLLAPSE, points.x, y, weights, low, high)
    best = solve(batch.rows(np.array([0])))[0][0]
    found = solve(batch.rows(np.arange(1, len(y))), refined=2, also=best)[0]
    count, runs = len(draws.values), len(set(points.seeds))
    runs = runs if runs >= FEWEST_SEEDS else 0
    return _Fitted(best, found[:count], found[count:], runs, draws.covers)


def _place(parameters: Array, lost: float) -> Array:
    """ln of the ratio at which `lost` of what lies above chance is gone."""
    return np.log(parameters[..., 1]) + np.log((1 - lost) / lost) / parameters[..., 2]


def _kept(parameters: Array, ratio: float) -> Array:
    """The share of what lies above chance that is left at a ratio."""
    return expit(parameters[..., 2] * np.log(ratio / parameters[..., 1]))


def _within(where: Side, ends: tuple[float, float]) -> Located:
    """The collapse point as far as it lies in the measured range.

    Where the curve, or its interval, leaves the measured ratios, it is extrapolated: then all that
    is known is on which side the point lies, or that it lies no farther in than the interval.
    """
    low, high = np.log(ends[0]), np.log(ends[1])
    whole = located(where, where)
    below = min(where[0], where[0] if whole.low is None else whole.low) < low
    above = max(where[0], where[0] if whole.high is None else whole.high) > high
    known = (float(np.clip(where[0], low, high)), where[1].clip(low, high))
    if below and above:
        return located(None, None, "its interval is wider than the measured ratios")
    if below or above:
        return located(known if above else None, known if below else None)
    return whole


def _reason(points: Points, chance: float) -> str:
    """Why there is nothing to collapse; empty if there is."""
    intact = points.x >= points.x.max() * 0.99
    rows = [row for row, at in zip(points.replicates, intact, strict=True) if at and len(row)]
    spread = float(np.mean([np.std(row) for row in rows])) if rows else 0.0
    if points.value[intact].mean() - chance > ABOVE_CHANCE * spread:
        return ""
    return "the intact model scores no better than chance"
