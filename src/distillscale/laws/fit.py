"""Fit one law to the points of one metric.

Power laws are fitted by a Huber loss on log residuals of the error (relative misfit: errors span a
decade), the collapse law on the score itself (see `Points.on_scale`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.bootstrap import LEVEL, draw, interval
from distillscale.laws.certificate import Certificate, certify
from distillscale.laws.delta import adaptive_delta
from distillscale.laws.form import Form
from distillscale.laws.forms import FORMS
from distillscale.laws.identify import bounds, too_few, unidentified
from distillscale.laws.metrics import value_of
from distillscale.laws.points import Points, read_points
from distillscale.laws.profile import Profile, profiles, scaled
from distillscale.laws.solve import Batch, solve

Interval = tuple[float, float]
Delta = float | Literal["adaptive"] | None
Status = Literal["ok", "few points", "no trend", "not fitted"]

# A curve that explains less of the variance than this shows no trend (an assumption).
SMALLEST_R2 = 0.1


@dataclass(frozen=True)
class Diagnostics:
    """How well a law fits.

    `rmse` and `r2` are on the metric's own scale; `r2` is None where the metric does not vary.
    `dropped` counts measurements that could not be used (missing, or without a logarithm).
    """

    rmse: float | None
    r2: float | None
    points: int
    seeds: int
    dropped: int


@dataclass(frozen=True)
class Prediction:
    """A law's answer: the metric's value, its interval if there is one, and whether it may be used.

    `inside` is False beyond the fitted range, where nothing vouches for the value.
    """

    value: float
    low: float | None
    high: float | None
    inside: bool


@dataclass(frozen=True)
class LawFit:
    """A law with its fitted parameters and everything needed to judge them.

    Attributes:
        form: key in `FORMS`.
        metric: the metric that it describes.
        x: the column that x is read from.
        group: what the points share: task, configuration, thinking, schedule, ...
        status: `ok`; `few points`: fewer different x than parameters + 1, so that nothing is
            identified; `no trend`: the metric does not change with x; `not fitted`: fewer than
            two different x.
        estimate: a value for each parameter; empty when not fitted.
        intervals: percentile intervals of the parameters at `level`; None without a bootstrap.
        unidentified: parameters that the data do not determine, with the reason.
        covers: which variation the intervals cover, in words.
        x_range: smallest and largest fitted x; None when not fitted.
        draws: the parameters fitted to each bootstrap draw, [draws][p].
        bounds: parameters of which the data give one side only, as `e_inf <= 0.12`: the estimate
            is then no finding, the bound is (by profile likelihood at `level`).
        certificate: the evidence that the estimate is the best fit; None when not fitted.
    """

    form: str
    metric: str
    x: str
    group: dict[str, str | float]
    status: Status
    estimate: dict[str, float]
    intervals: dict[str, Interval | None]
    unidentified: dict[str, str]
    covers: str
    diagnostics: Diagnostics
    x_range: Interval | None
    level: float
    draws: tuple[tuple[float, ...], ...]
    bounds: dict[str, str]
    certificate: Certificate | None

    def identified(self, parameter: str) -> bool:
        """Whether the data determine a parameter."""
        return parameter in self.estimate and parameter not in self.unidentified

    def predict(self, x: float) -> Prediction:
        """The metric at x, with its interval at `level`.

        Raises:
            InputError: the law was not fitted, or x is not positive.
        """
        if self.x_range is None:
            raise InputError(f"the {self.form} law of {self.metric} was not fitted: {self.covers}.")
        if not x > 0:
            raise InputError(f"{self.x}={x}: a law is asked at a positive {self.x}.")
        form = FORMS[self.form]
        parameters = np.array([list(self.estimate.values()), *self.draws])
        predicted = form.curve(parameters, np.array([float(x)]))[:, 0]
        values = _to_value(form, self.metric, predicted)
        low, high = interval(values[1:], self.level) or (None, None)
        slack = 1e-9 * self.x_range[1]
        inside = self.x_range[0] - slack <= x <= self.x_range[1] + slack
        return Prediction(float(values[0]), low, high, inside)


def fit_law(
    rows: pd.DataFrame,
    law: str,
    x: str,
    *,
    group: Mapping[str, str | float] | None = None,
    level: float = LEVEL,
    seed: int = 0,
    delta: Delta = None,
) -> LawFit:
    """Fit a law to rows of the results table.

    Args:
        rows: rows of one metric that differ in x (and seed) only.
        law: key in `FORMS`.
        x: the column to read x from.
        group: what the rows share, kept with the result.
        level: of the percentile intervals.
        seed: of the bootstrap over runs.
        delta: Huber's, on the form's scale; `adaptive`: from the residuals (see `adaptive_delta`);
            None: `HUBER_DELTA`.

    Raises:
        InputError: unknown law, rows of several metrics, or a collapse law without chance level.
    """
    form = _form(law)
    names = rows["metric"].unique()
    if len(names) != 1:
        raise InputError(f"a law is fitted to rows of one metric, not of {len(names)}.")
    points = read_points(rows, form, x)
    fixed = _fixed(form, rows)
    if points.distinct < 2:
        return _not_fitted(law, points, x, dict(group or {}), level)
    return _fit(form, points, fixed, x, dict(group or {}), level, seed, delta)


def _form(law: str) -> Form:
    if law not in FORMS:
        raise InputError(f"law `{law}`: no such law; there are {', '.join(FORMS)}.")
    if len(FORMS[law].inputs) > 1:
        inputs = " and ".join(FORMS[law].inputs)
        raise InputError(f"law `{law}` depends on {inputs}; `fit_rows` fits it.")
    return FORMS[law]


def _fixed(form: Form, rows: pd.DataFrame) -> dict[str, float]:
    """Values of the parameters that are not fitted, from the columns of their names."""
    fixed = {}
    for name in (parameter.name for parameter in form.parameters if parameter.fixed):
        stated = rows[name].dropna()
        if stated.empty:
            raise InputError(
                f"metric `{rows['metric'].iloc[0]}`: its {form.name} law needs a value in column "
                f"`{name}`."
            )
        fixed[name] = float(stated.median())
    return fixed


def _not_fitted(
    law: str, points: Points, x: str, group: dict[str, str | float], level: float
) -> LawFit:
    found = "no usable point" if len(points) == 0 else f"{points.distinct} usable {x}"
    reason = f"{found}, a curve needs two"
    diagnostics = Diagnostics(None, None, len(points), len(set(points.seeds)), points.dropped)
    return LawFit(
        law, points.metric, x, group, "not fitted", {}, {}, {}, reason, diagnostics, None, level,
        (), {}, None,
    )  # fmt: skip


def _fit(
    form: Form,
    points: Points,
    fixed: Mapping[str, float],
    x: str,
    group: dict[str, str | float],
    level: float,
    seed: int,
    delta: Delta,
) -> LawFit:
    """Solve at x / reference, where the parameters are of order one, then rescale."""
    reference = form.reference(points.x)
    draws = draw(points.value, points.replicates, points.seeds, seed=seed)
    batch = _batch(form, points, np.vstack([points.value, draws.values]), draws.weights, fixed)
    first = np.array([0])
    if delta is not None:
        batch = batch.with_delta(
            adaptive_delta(batch.rows(first)) if delta == "adaptive" else delta
        )
    best, certificate = certify(batch.rows(first))
    resampled = solve(batch.rows(np.arange(1, len(batch.y))), also=best)[0]
    parameters = form.rescale(np.vstack([best, resampled]), reference)
    limits = form.limits(batch.x, batch.y[0], fixed)
    found = _profiles(batch.rows(first), best, limits, level, reference)
    few = too_few(form, points.distinct)
    return LawFit(
        form=form.name,
        metric=points.metric,
        x=x,
        group=group,
        status=_status(form, points, parameters[0]),
        estimate=_named(form, parameters[0]),
        intervals=_intervals(form, parameters[1:], level),
        unidentified={parameter.name: few for parameter in form.free}
        if few
        else unidentified(form, limits, _intervals(form, resampled, level), found),
        covers=draws.covers,
        diagnostics=_diagnostics(form, points, parameters[0]),
        x_range=(float(points.x.min()), float(points.x.max())),
        level=level,
        draws=tuple(tuple(row) for row in parameters[1:].tolist()),
        bounds={} if few else bounds(form, found),
        certificate=certificate,
    )


def _profiles(
    batch: Batch, best: Array, limits: Array, level: float, reference: Array
) -> dict[str, Profile]:
    """The profiles at x, of the problem at x / reference."""
    found = profiles(batch, best, limits, level)
    return {n: scaled(profile, batch.form, best, n, reference) for n, profile in found.items()}


def _batch(
    form: Form, points: Points, values: Array, weights: Array, fixed: Mapping[str, float]
) -> Batch:
    """The estimate's problem (row 0) and those of the draws, at x / reference."""
    x = points.x / form.reference(points.x)
    y = points.on_scale(form, values)
    limits = np.broadcast_to(form.bounds(x, y[0], fixed), (len(values), len(form.parameters), 2))
    everything = np.vstack([np.ones(len(points)), weights])
    return Batch(form, x, y, everything, limits[..., 0], limits[..., 1])


def _intervals(form: Form, draws: Array, level: float) -> dict[str, Interval | None]:
    return {
        parameter.name: None if parameter.fixed else interval(draws[:, j], level)
        for j, parameter in enumerate(form.parameters)
    }


def _named(form: Form, parameters: Array) -> dict[str, float]:
    return dict(zip(form.names, parameters.tolist(), strict=True))


def _status(form: Form, points: Points, parameters: Array) -> Status:
    if too_few(form, points.distinct):
        return "few points"
    explained = _diagnostics(form, points, parameters).r2
    return "no trend" if explained is None or explained < SMALLEST_R2 else "ok"


def _to_value(form: Form, name: str, predicted: Array) -> Array:
    return predicted if form.scale == "score" else value_of(name, predicted)


def _diagnostics(form: Form, points: Points, parameters: Array) -> Diagnostics:
    predicted = _to_value(form, points.metric, form.curve(parameters, points.x))
    squares = float(((points.value - predicted) ** 2).sum())
    spread = float(((points.value - points.value.mean()) ** 2).sum())
    return Diagnostics(
        rmse=float(np.sqrt(squares / len(points))),
        r2=1 - squares / spread if spread > 1e-12 else None,
        points=len(points),
        seeds=len(set(points.seeds)),
        dropped=points.dropped,
    )
