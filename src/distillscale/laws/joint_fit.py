"""A law of several inputs, or of several groups, fitted to rows of a results table and kept.

`LawFit` is a law of one input; this is its sibling for size and data together, for pruning and
data, and for groups that share some parameters, so that exponents can be compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.bootstrap import LEVEL, draw, interval
from distillscale.laws.certificate import Certificate
from distillscale.laws.form import Form
from distillscale.laws.forms import FORMS
from distillscale.laws.grouped import LEVEL_INPUT, grouped
from distillscale.laws.identify import statement_of
from distillscale.laws.law_fit import Interval
from distillscale.laws.likelihoods import Likelihood, likelihood_of
from distillscale.laws.metrics import metric, value_of
from distillscale.laws.points import Points, read_points, without_repetitions
from distillscale.laws.points_fit import PointsFit, fit_points
from distillscale.laws.problem import Delta, Prior, own_parameters, redrawn
from distillscale.laws.solve import solve

STARTS_A_DRAW = 1  # beside the estimate


@dataclass(frozen=True)
class JointPredictions:
    """What a law of several inputs predicts at n places, with intervals; NaN without draws."""

    value: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class JointFit:
    """A law of several inputs or groups, and everything needed to judge it.

    Attributes:
        form: key in `FORMS`, of the law of one group.
        levels: names of the groups; empty without groups.
        separate: parameters that each group has apart, named `beta[logit-cot]`.
        metric: the metric that it describes.
        columns: where the form's inputs were read, without the group.
        group: what all points share.
        estimate: a value for each parameter.
        intervals: of each parameter at `level`: by profile likelihood where it has a meaning of its
            own, else by percentiles of the draws.
        unidentified: parameters that the data do not determine, with the reason.
        bounds: parameters of which one side only is known, as `E <= 0.12`.
        ranges: smallest and largest value of each column.
        points: how many measurements; `seeds`: of how many seeds; `dropped`: unusable ones.
        covers: which variation the draws cover, in words.
        level: of the intervals.
        draws: the parameters fitted to each bootstrap draw, [draws][p].
        certificate: the evidence that the estimate is the best fit.
        likelihood: how far a prediction may miss.
        noise: as in `LawFit`.
        prior: as in `LawFit`.
    """

    form: str
    levels: tuple[str, ...]
    separate: tuple[str, ...]
    metric: str
    columns: tuple[str, ...]
    group: dict[str, str | float]
    estimate: dict[str, float]
    intervals: dict[str, Interval | None]
    unidentified: dict[str, str]
    bounds: dict[str, str]
    ranges: dict[str, Interval]
    points: int
    seeds: int
    dropped: int
    covers: str
    level: float
    draws: tuple[tuple[float, ...], ...]
    certificate: Certificate
    likelihood: Likelihood
    noise: dict[str, float] = field(default_factory=dict)
    prior: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def law(self) -> Form:
        """The form that was fitted, with its groups."""
        form = FORMS[self.form]
        return grouped(form, self.levels, self.separate) if self.levels else form

    def statement(self, name: str) -> str:
        """What may be said of a parameter: a value with its interval, a bound, or nothing.

        Raises:
            InputError: no such parameter.
        """
        self._check(name)
        return statement_of(
            name, self.estimate[name], self.intervals[name], self.bounds.get(name, ""),
            self.unidentified.get(name, ""), self.prior.get(name),
        )  # fmt: skip

    def difference(self, left: str, right: str) -> tuple[float, Interval | None]:
        """One parameter minus another, as exponents of two formats, with its interval by draws.

        Raises:
            InputError: no such parameter.
        """
        for name in (left, right):
            self._check(name)
        places = [list(self.estimate).index(name) for name in (left, right)]
        drawn = np.array(self.draws).reshape(len(self.draws), len(self.estimate))[:, places]
        found = interval(drawn[:, 0] - drawn[:, 1], self.level)
        return self.estimate[left] - self.estimate[right], found

    def predict(self, x: Mapping[str, float], level: str | None = None) -> float:
        """The metric at a place.

        Args:
            x: a positive value of each column.
            level: of which group, where there are groups.

        Raises:
            InputError: a column is missing or not positive, or there is no such group.
        """
        missing = [column for column in self.columns if not x.get(column, 0) > 0]
        if missing:
            raise InputError(f"the {self.form} law: it is asked at a positive {missing[0]}.")
        place = np.array([[float(x[column])] for column in self.columns])
        return float(self._predicted(place, level)[0, 0])

    def predict_many(self, x: ArrayLike, level: str | None = None) -> JointPredictions:
        """The metric at many places, with its interval by the draws at the fit's level.

        Args:
            x: positive inputs in the order of `columns`, [k, n].
            level: of which group, where there are groups.

        Raises:
            InputError: as `predict`.
        """
        places = np.atleast_2d(np.asarray(x, float))
        if len(places) != len(self.columns) or not (places > 0).all():
            wanted = ", ".join(self.columns)
            raise InputError(f"the {self.form} law: it is asked at positive {wanted}.")
        values = self._predicted(places, level)
        if len(values) == 1:
            missing = np.full(places.shape[1], np.nan)
            return JointPredictions(values[0], missing, missing)
        ends = (1 - self.level) / 2, (1 + self.level) / 2
        return JointPredictions(values[0], *np.quantile(values[1:], ends, axis=0))

    def _predicted(self, places: Array, level: str | None) -> Array:
        """The metric at places [k, n], by the estimate and by each draw, [1 + draws, n]."""
        if self.levels:
            if level not in self.levels:
                known = ", ".join(self.levels)
                raise InputError(f"the {self.form} law: no group `{level}`; there are {known}.")
            number = np.full((1, places.shape[1]), self.levels.index(level) + 1.0)
            places = np.vstack([places, number])
        parameters = np.array([[*self.estimate.values()], *self.draws])
        predicted = self.law.curve(parameters, places if len(places) > 1 else places[0])
        return predicted if self.law.scale == "score" else value_of(self.metric, predicted)

    def _check(self, name: str) -> None:
        if name not in self.estimate:
            has = ", ".join(self.estimate)
            raise InputError(f"the {self.form} law of {self.metric} has {has}, not `{name}`.")


def fit_joint_law(
    rows: pd.DataFrame,
    law: str,
    columns: Sequence[str],
    *,
    by: str | None = None,
    separate: Sequence[str] = (),
    group: Mapping[str, str | float] | None = None,
    level: float = LEVEL,
    seed: int = 0,
    delta: Delta = None,
    likelihood: Likelihood | Literal["by metric"] = "by metric",
    prior: Prior | None = None,
) -> JointFit:
    """Fit a law of several inputs or groups to rows of the results table.

    Args:
        rows: rows of one metric.
        law: key in `FORMS`.
        columns: where each of the form's inputs is, in their order.
        by: the column that tells the groups; None: no groups.
        separate: parameters that each group has apart; the others are shared.
        group: what the rows share, kept with the result.
        level: of the intervals.
        seed: of the bootstrap over runs.
        delta: as in `fit_law`.
        likelihood: as in `fit_law`.
        prior: as in `fit_law`.

    Raises:
        InputError: rows of several metrics, columns that do not fit the form, points that cannot
            determine it, or a likelihood or prior without a meaning here.
    """
    if law not in FORMS:
        raise InputError(f"law `{law}`: no such law; there are {', '.join(FORMS)}.")
    if rows["metric"].nunique() != 1:
        count = rows["metric"].nunique()
        raise InputError(f"a law is fitted to rows of one metric, not of {count}.")
    form = FORMS[law]
    if len(columns) != len(form.inputs):
        wanted = ", ".join(form.inputs)
        raise InputError(f"law `{law}` takes {wanted}: give as many columns, not {len(columns)}.")
    levels = tuple(sorted(rows[by].unique())) if by else ()
    x, points = joint_points(rows, form, columns, by, levels)
    whole = grouped(form, levels, separate) if levels else form
    if likelihood == "by metric":
        counted = bool((points.examples > 0).all())
        likelihood = likelihood_of(points.metric, form, counted=counted)
    fixed = {
        p.name: float(rows[p.name].dropna().median()) for p in form.parameters if p.fixed
    }  # fmt: skip
    fit = fit_points(
        whole, x, points.on_scale(form, points.value), fixed=fixed, delta=delta, level=level,
        likelihood=likelihood, trials=points.examples, prior=prior,
        errors=points.sampling_errors() if metric(points.metric).bounded else None,
    )  # fmt: skip
    covers, drawn = _drawn(fit, form, points, seed)
    return JointFit(
        form=law,
        levels=levels,
        separate=tuple(separate),
        metric=points.metric,
        columns=tuple(columns),
        group=dict(group or {}),
        estimate=fit.estimate,
        intervals=_intervals(fit, drawn),
        unidentified=fit.unidentified,
        bounds=fit.bounds,
        ranges={c: _range(row) for c, row in zip(columns, np.atleast_2d(x), strict=False)},
        points=len(points),
        seeds=len(set(points.seeds)),
        dropped=len(rows) - len(points),
        covers=covers,
        level=level,
        draws=tuple(tuple(row) for row in drawn.tolist()),
        certificate=fit.certificate,
        likelihood=fit.likelihood,
        noise=dict(fit.noise),
        prior=dict(fit.prior),
    )


def joint_points(
    rows: pd.DataFrame,
    form: Form,
    columns: Sequence[str],
    by: str | None = None,
    levels: Sequence[str] = (),
) -> tuple[Array, Points]:
    """The usable points of rows: their inputs, [n] or [k, n], and what was measured there.

    Args:
        rows: rows of one metric.
        form: the law of one group.
        columns: where its inputs are.
        by: the column that tells the groups.
        levels: their names; the group's number, from 1, is the last input.
    """
    usable = without_repetitions(rows, columns)
    usable = usable[(usable[list(columns)] > 0).all(axis=1)]
    if usable.empty:
        raise InputError(f"law `{form.name}`: no row has a positive {' and '.join(columns)}.")
    if by:
        numbers = usable[by].map({name: place + 1.0 for place, name in enumerate(levels)})
        usable = usable.assign(**{LEVEL_INPUT: numbers})
        columns = [*columns, LEVEL_INPUT]
    points = [read_points(usable, form, column) for column in columns]
    x = np.stack([one.x for one in points]) if len(points) > 1 else points[0].x
    return x, points[0]


def _drawn(fit: PointsFit, form: Form, points: Points, seed: int) -> tuple[str, Array]:
    """What the draws cover, and the parameters fitted to each, [draws, p]."""
    draws = draw(points.value, points.replicates, points.seeds, seed=seed)
    batch = redrawn(fit.problem, points.on_scale(form, draws.values), draws.weights, seed)
    found, _ = solve(batch, refined=STARTS_A_DRAW, also=fit.solved_with_noise)
    return draws.covers, fit.form.rescale(own_parameters(batch, found), fit.reference)


def _intervals(fit: PointsFit, drawn: Array) -> dict[str, Interval | None]:
    found: dict[str, Interval | None] = {}
    for place, parameter in enumerate(fit.form.parameters):
        profile = fit.profiles.get(parameter.name)
        if parameter.fixed:
            found[parameter.name] = None
        elif profile:
            found[parameter.name] = (profile.low, profile.high)
        else:
            found[parameter.name] = interval(drawn[:, place], fit.level)
    return found


def _range(values: Any) -> Interval:
    return float(values.min()), float(values.max())
