"""Do the intervals for a new run hold? Every measured cell is left out and predicted by the rest.

The ways in which advice predicts are tested apart:

- `repeat`: the same setting run with other seeds; the left-out cell is one more run of it;
- `between`: a law between its points; left out are the cell and all runs at the same place (the
  same dataset size, or the same size of model), so that the law has not seen it;
- `stage`: a law between the stages of a chain that ran once, one stage left out; how a second run
  would differ cannot be seen there, so it is left out of this interval (advice adds it);
- `beyond`: as `between` and `stage`, for the outermost places, which the law has to reach by
  extrapolation.

The left-out cells were measured on the same test examples as the others. So the intervals that are
tested leave out the sampling of test examples that all share; advice adds it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
import pandas as pd

from distillscale.laws.advice.law_points import LawPoints, beyond_variance, law_points
from distillscale.laws.advice.misfit import PlaceMisses, place_misses, with_misfit
from distillscale.laws.advice.new_run import half_width
from distillscale.laws.advice.scale import Scale, scale_of
from distillscale.laws.advice.spread import (
    Spread,
    law_spread,
    repeats,
    single_spread,
    without_copies,
)
from distillscale.laws.arrays import Array
from distillscale.laws.bootstrap import LEVEL
from distillscale.laws.forms import FORMS
from distillscale.laws.plan import LawPlan, plan_laws
from distillscale.laws.points import read_points
from distillscale.laws.settings import SETTING, with_settings

Kind = Literal["repeat", "between", "stage", "beyond"]
KINDS: tuple[Kind, ...] = ("repeat", "between", "stage", "beyond")


@dataclass(frozen=True)
class Trial:
    """One measurement that was left out: by how much the prediction missed, and what it allowed.

    Both are on the metric's scale. `place`: of which setting or law, and where; its runs were
    predicted alike.
    """

    kind: Kind
    task: str
    metric: str
    cell: str
    place: str
    miss: float
    allowed: float

    @property
    def covered(self) -> bool:
        """Whether the interval held the measured value."""
        return self.miss <= self.allowed


@dataclass(frozen=True)
class Coverage:
    """How often intervals held.

    `error` is the standard error of `share`, the larger of two: with the measurements of one cell
    counted as dependent, or with those of one place, which a law misses together.
    """

    kind: str
    metric: str
    trials: int
    cells: int
    share: float
    error: float


def check_coverage(table: pd.DataFrame, *, level: float = LEVEL) -> list[Coverage]:
    """Leave out every cell of a results table, predict it, and count how often that held.

    First one row for each way of predicting over all metrics, then one for each metric.
    """
    trials = list(_trials(without_copies(with_settings(table)), level))
    rows = []
    for kind in KINDS:
        own = [trial for trial in trials if trial.kind == kind]
        if own:
            rows.append(_coverage(kind, "all", own))
            rows += [
                _coverage(kind, metric, [trial for trial in own if trial.metric == metric])
                for metric in sorted({trial.metric for trial in own})
            ]
    return rows


def _coverage(kind: str, metric: str, trials: Sequence[Trial]) -> Coverage:
    held = pd.Series([trial.covered for trial in trials], dtype=float)
    share = float(held.mean())
    cells, places = [trial.cell for trial in trials], [trial.place for trial in trials]
    error = max(_error(held, cells), _error(held, places))
    return Coverage(kind, metric, len(trials), len(set(cells)), share, error)


def _error(held: pd.Series, clusters: list[str]) -> float:
    """The standard error of a mean of clusters, with the small-sample factor G / (G - 1)."""
    sums = (held - held.mean()).groupby(clusters).sum()
    return sqrt(float((sums**2).sum()) * len(sums) / max(len(sums) - 1, 1)) / len(held)


def _trials(table: pd.DataFrame, level: float) -> Iterator[Trial]:
    for _, of_task in table.groupby("task"):
        plans = [plan for plan in plan_laws(of_task) if plan.x != "params_with_embeddings"]
        for name, rows in of_task.groupby("metric"):
            rows = rows[rows["value"].notna()]
            if len(rows) == 0:
                continue
            scale = scale_of(rows)
            laws = [law_points(p, scale) for p in plans if p.metric == name and _usable(p)]
            spreads = _Spreads(rows, scale)
            yield from _repeats(rows, spreads, level)
            yield from _by_laws(spreads, laws, level)


def _usable(plan: LawPlan) -> bool:
    """Whether a law has any points to be fitted to."""
    return read_points(plan.rows, FORMS[plan.law], plan.x).distinct >= 2


class _Spreads:
    """The spread of runs without one cell, by that cell; what repeated runs tell is kept."""

    def __init__(self, rows: pd.DataFrame, scale: Scale) -> None:
        self.scale = scale
        self._rows, self._cell = rows, rows["study"] + "/" + rows["cell"]
        self._repeats = repeats(rows, scale)
        self._cells = np.array([cell for cell, _ in self._repeats.runs], dtype=object)
        self._repeated: dict[str, Spread | None] = {}

    def without(self, cell: str) -> pd.DataFrame:
        """All rows but those of one cell."""
        return self._rows[self._cell != cell]

    def repeated(self, cell: str) -> Spread | None:
        """By runs of one setting with different seeds."""
        if cell not in self._repeated:
            self._repeated[cell] = self._repeats.spread(self._cells != cell)
        return self._repeated[cell]

    def of(self, cell: str, laws: Sequence[tuple[LawPoints, Array]]) -> Spread | None:
        """As `run_spread`."""
        return self.repeated(cell) or single_spread(self.without(cell), self.scale, laws)


def _repeats(rows: pd.DataFrame, spreads: _Spreads, level: float) -> Iterator[Trial]:
    """Each run of a repeated setting by the mean of the others."""
    place = [*SETTING, "stage"]
    runs = rows[rows["stage"] > 0]
    groups = runs.groupby(place)["value"]
    others = groups.transform("count") - 1
    mean = (groups.transform("sum") - runs["value"]) / others
    for position in np.flatnonzero(others > 0):
        row = runs.iloc[position]
        cell = f"{row['study']}/{row['cell']}"
        spread = spreads.repeated(cell)
        if spread is None:
            continue
        there = spreads.scale.there
        miss = abs(float(there(row["value"]) - there(mean.iloc[position])))
        allowed = half_width(spread, 1 / float(others.iloc[position]), level)
        where = "/".join(str(row[column]) for column in (*place, "metric"))
        yield Trial("repeat", str(row["task"]), str(row["metric"]), cell, where, miss, allowed)


def _by_laws(spreads: _Spreads, laws: Sequence[LawPoints], level: float) -> Iterator[Trial]:
    """Each point of each law by the law without it."""
    fitted = [(law, law.fits(np.ones((1, len(law.points))))[0]) for law in laws]
    misses = [place_misses(law) for law in laws]
    for number, (law, _) in enumerate(fitted):
        tested, kept = _left_out(law)
        if not tested:
            continue
        others = [place for place in range(len(fitted)) if place != number]
        alike = [misses[place] for place in others if laws[place].kind == law.kind]
        nested: dict[bytes, PlaceMisses] = {}
        for i, keep, parameters in zip(tested, kept, law.fits(kept), strict=True):
            known = [*(fitted[place] for place in others), (law.only(keep > 0), parameters)]
            if _of_its_chain(law, i, keep) or (runs := spreads.of(law.cells[i], known)) is None:
                spread = law_spread(law.kind, known)
            else:
                if keep.tobytes() not in nested:
                    nested[keep.tobytes()] = place_misses(law, keep)
                spread = with_misfit(runs, [*alike, nested[keep.tobytes()]])
            if spread is not None:
                yield _law_trial(law, parameters, i, keep, spread, level)


def _left_out(law: LawPoints) -> tuple[list[int], Array]:
    """The points that can be predicted by the rest, and for each what may be known, [m, n]."""
    places: Array = np.log(law.points.x).round(2)
    trained = [i for i, stage in enumerate(law.points.stages) if stage > 0]
    kept = [(i, _kept(law, places, i)) for i in trained]
    free = len(law.form.free)
    enough = [(i, keep) for i, keep in kept if len(np.unique(places[keep > 0])) >= free]
    return [i for i, _ in enough], np.array([keep for _, keep in enough])


def _kept(law: LawPoints, places: Array, point: int) -> Array:
    """What a prediction of this point may know: other places, in other runs if there are any."""
    elsewhere = places != places[point]
    other_runs = np.array(law.cells) != law.cells[point]
    teacher = np.array(law.points.stages) == 0
    strict = elsewhere & (other_runs | teacher)
    trained = strict & ~teacher
    return (strict if trained.any() else elsewhere).astype(float)


def _of_its_chain(law: LawPoints, point: int, keep: Array) -> bool:
    """Whether other stages of the same run are known (all cells share the teacher)."""
    trained = np.array(law.points.stages) > 0
    return bool((trained & (keep > 0) & (law.cells == law.cells[point])).any())


def _law_trial(
    law: LawPoints, parameters: Array, i: int, keep: Array, spread: Spread, level: float
) -> Trial:
    x, known = law.points.x[i : i + 1], law.points.x[keep > 0]
    predicted = law.value(parameters, x)[0]
    pulls = law.pulls(parameters, x, keep)
    own = _of_its_chain(law, i, keep)
    leverage = (pulls**2).sum() if own else law.leverage(pulls)[0]
    inside = known.min() <= x[0] <= known.max()
    further = 0.0 if inside else beyond_variance(law, parameters, x[0], (known.min(), known.max()))
    kind: Kind = "beyond" if not inside else "stage" if own else "between"
    miss = abs(float(law.scale.there(law.points.value[i]) - law.scale.there(predicted)))
    places = 1 + float(law.place_leverage(pulls)[0])
    allowed = half_width(spread, float(leverage), level, places=places, further=further)
    where = f"{law.name}/{np.log(x[0]):.2f}"
    return Trial(kind, law.task, law.metric, law.cells[i], where, miss, allowed)
