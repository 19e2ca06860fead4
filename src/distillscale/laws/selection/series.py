"""A series: the points of one metric along one input, ordered so that a law can be cut off.

Extrapolation is what a law is for, so a series is cut between two values of its input, never within
one: runs of the same dataset size or model size are held out together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.chance import chance_of
from distillscale.laws.form import Form
from distillscale.laws.forms import FORMS
from distillscale.laws.metrics import error_of, metric, value_of
from distillscale.laws.plan import LawPlan
from distillscale.laws.points import read_points

Direction = Literal["up", "down"]
Scale = Literal["log error", "score"]

# Which forms compete to describe a metric, by the law that is planned for it. A prune ratio is a
# size in units of the teacher's, so that the size law may be asked in it too.
CANDIDATES: dict[str, tuple[str, ...]] = {
    "data": ("data", "rectified", "broken"),
    "size": ("size", "broken", "collapse"),
    "collapse": ("collapse", "size", "broken"),
}
# Dataset sizes are extrapolated upwards, models to smaller ones.
DIRECTIONS: dict[str, Direction] = {"dataset_size": "up"}
SAME_LEVEL = 0.01  # of ln x: seeds of one prune ratio differ by so much
MOST_CUTS = 6
FEWEST_LEVELS = 3
SMALLEST_ERROR = 1e-9
LARGEST_LOG = 50.0  # no error is as large; beyond it exp would overflow


@dataclass(frozen=True)
class Series:
    """Points of one metric that differ in the inputs only, without repeated measurements.

    Attributes:
        law: the law that the series was planned for, a key of `CANDIDATES`.
        metric: what is measured.
        x: the name of the input along which the series is cut.
        inputs: all inputs, [k, n].
        along: the row of `inputs` along which the series is cut.
        direction: where the series is extrapolated: to larger or smaller x.
        value: the measured values, [n].
        replicates: for each point its values on resamples of the test examples; may be empty.
        seeds: the run behind each point.
        smallest: the smallest error that each point's test set can show, [n].
        forms: the forms that compete.
        scale: where predictions are judged: ln(error), or the score itself.
        fixed: values of the forms' known parameters.
        group: what the points share.
        duplicates: how many points were left out because they repeat another one exactly (a
            teacher that all seeds share was measured once).
    """

    law: str
    metric: str
    x: str
    inputs: Array = field(repr=False)
    along: int
    direction: Direction
    value: Array = field(repr=False)
    replicates: tuple[Array, ...] = field(repr=False)
    seeds: tuple[int, ...] = field(repr=False)
    smallest: Array = field(repr=False)
    forms: tuple[Form, ...] = field(repr=False)
    scale: Scale
    fixed: Mapping[str, float]
    group: Mapping[str, str | float]
    duplicates: int = 0

    def __len__(self) -> int:
        """The number of points."""
        return len(self.value)

    @property
    def places(self) -> Array:
        """The input along which the series is cut, [n]."""
        return np.asarray(self.inputs[self.along])

    @property
    def form_inputs(self) -> Array:
        """The inputs as forms take them: [n] for one, [k, n] for several."""
        return self.inputs[0] if len(self.inputs) == 1 else self.inputs

    @cached_property
    def levels(self) -> NDArray[np.int64]:
        """The level of each point, counted from 0 in the direction of extrapolation, [n]."""
        logs = np.log(self.places) * (1 if self.direction == "up" else -1)
        order = np.argsort(logs, kind="stable")
        ordered = logs[order]
        levels = np.empty(len(order), dtype=np.int64)
        levels[order] = np.cumsum(np.diff(ordered, prepend=ordered[:1]) > SAME_LEVEL)
        return levels

    @property
    def cuts(self) -> tuple[int, ...]:
        """The nested cut-offs: how many levels are fitted, all others being held out.

        From half of the levels on (from three, where there are more), at most six of them.
        """
        count = int(self.levels.max()) + 1 if len(self) else 0
        first = max(min(FEWEST_LEVELS, count - 1), -(-count // 2))
        chosen = np.linspace(first, count - 1, min(MOST_CUTS, max(count - first, 0))).round()
        return tuple(int(cut) for cut in np.unique(chosen) if cut >= 1)

    def target(self, form: Form) -> Array:
        """What a form is fitted to: errors (at least what the test set can show) or scores, [n]."""
        if form.scale == "score":
            return self.value
        return np.maximum(error_of(self.metric, self.value), self._smallest)

    def judged(self, values: Array, at: NDArray[Any]) -> Array:
        """Values of the metric [..., m] where they are judged: ln(error), or as they are.

        Args:
            values: measured or predicted.
            at: the points that they belong to, as an index of the series.
        """
        return values if self.scale == "score" else self.log_error(values, at)

    def of_judged(self, judged: Array) -> Array:
        """The inverse of `judged`."""
        return self.of_score(judged) if self.scale == "score" else self.of_log_error(judged)

    def log_error(self, values: Array, at: NDArray[Any]) -> Array:
        """ln(error) of values of the metric [..., m] at the points `at`."""
        return np.log(np.maximum(error_of(self.metric, values), self._smallest[at]))

    def of_log_error(self, logs: Array) -> Array:
        """The values of the metric that have these errors, within the metric's range."""
        return self.of_score(value_of(self.metric, np.exp(np.minimum(logs, LARGEST_LOG))))

    def of_score(self, values: Array) -> Array:
        """Predicted values, those of a bounded metric cut off at 0 and 1."""
        return np.clip(values, 0.0, 1.0) if metric(self.metric).bounded else values

    @property
    def _smallest(self) -> Array:
        return np.maximum(self.smallest, SMALLEST_ERROR)


def series_of(plan: LawPlan) -> Series:
    """The series of a planned law, with the forms that compete for it.

    Raises:
        InputError: the plan's law has no competitors listed.
    """
    if plan.law not in CANDIDATES:
        raise InputError(
            f"law `{plan.law}`: forms are compared for the laws {', '.join(CANDIDATES)}."
        )
    points = read_points(plan.rows, FORMS["data"], plan.x)
    chance = chance_of(plan.metric, plan.rows)
    names = [name for name in CANDIDATES[plan.law] if name != "collapse" or chance is not None]
    return _without_repetitions(
        Series(
            law=plan.law,
            metric=plan.metric,
            x=plan.x,
            inputs=points.x[None],
            along=0,
            direction=DIRECTIONS.get(plan.x, "down"),
            value=points.value,
            replicates=points.replicates,
            seeds=points.seeds,
            smallest=points.smallest,
            forms=tuple(FORMS[name] for name in names),
            scale="score" if plan.law == "collapse" else "log error",
            fixed={} if chance is None else {"chance": chance},
            group=plan.group,
        )
    )


def series_of_points(
    metric_name: str,
    inputs: ArrayLike,
    value: ArrayLike,
    forms: Sequence[str | Form],
    *,
    along: int = 0,
    direction: Direction = "up",
    seeds: ArrayLike | None = None,
    fixed: Mapping[str, float] | None = None,
) -> Series:
    """A series of plain arrays.

    Args:
        metric_name: a metric, such as `gold_nll` for losses.
        inputs: [n], or [k, n] in the order of the forms' inputs; positive.
        value: the metric's values, [n]; losses positive.
        forms: keys of `FORMS` or forms, all of the same inputs.
        along: the row of `inputs` along which the series is cut.
        direction: whether larger or smaller ones are held out.
        seeds: the run behind each point; None: every point is a run of its own.
        fixed: values of the forms' known parameters.

    Raises:
        InputError: shapes that do not fit, or values that are not positive and finite.
    """
    found = tuple(FORMS[form] if isinstance(form, str) else form for form in forms)
    x, y = np.atleast_2d(np.asarray(inputs, float)), np.asarray(value, float)
    wanted = {len(form.inputs) for form in found}
    if wanted != {len(x)} or x.shape[-1] != y.size or y.ndim != 1:
        raise InputError(
            f"series of `{metric_name}`: inputs have shape {x.shape} for {y.size} values and forms "
            f"of {sorted(wanted)} inputs; they must agree."
        )
    if not (np.isfinite(x).all() and (x > 0).all() and np.isfinite(y).all()):
        raise InputError(
            f"series of `{metric_name}`: inputs must be positive and values finite numbers."
        )
    runs = np.arange(y.size) if seeds is None else np.asarray(seeds, int)
    return Series(
        law="points",
        metric=metric_name,
        x=found[0].inputs[along],
        inputs=x,
        along=along,
        direction=direction,
        value=y,
        replicates=tuple(np.zeros(0) for _ in range(y.size)),
        seeds=tuple(runs.tolist()),
        smallest=np.zeros(y.size),
        forms=found,
        scale="score" if all(form.scale == "score" for form in found) else "log error",
        fixed=fixed or {},
        group={},
    )


def _without_repetitions(series: Series) -> Series:
    """The series with exactly repeated measurements counted once.

    Shares of right answers may agree by chance, so only those with equal replicates are the same.
    """
    seen: dict[object, int] = {}
    for j, row in enumerate(series.replicates):
        unsure = metric(series.metric).bounded and len(row) == 0
        key = (round(float(series.places[j]), 6), float(series.value[j]), row.tobytes())
        seen.setdefault(j if unsure else key, j)
    first = np.array(sorted(seen.values()), dtype=int)
    return replace(
        series,
        inputs=series.inputs[:, first],
        value=series.value[first],
        replicates=tuple(series.replicates[j] for j in first),
        seeds=tuple(series.seeds[j] for j in first),
        smallest=series.smallest[first],
        duplicates=len(series) - len(first),
    )
