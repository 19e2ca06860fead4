"""Fit one law to the points of one metric, by the likelihood that fits it (`likelihoods`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.bootstrap import LEVEL, draw, interval
from distillscale.laws.certificate import Certificate, certify
from distillscale.laws.delta import DeltaFit, delta_sensitivity
from distillscale.laws.form import Form
from distillscale.laws.forms import FORMS
from distillscale.laws.identify import bounds, statement_of, too_few, unidentified
from distillscale.laws.likelihoods import Likelihood, likelihood_of
from distillscale.laws.metrics import metric, value_of
from distillscale.laws.points import Points, read_points, without_repetitions
from distillscale.laws.problem import (
    Delta,
    Measured,
    Prior,
    noise_of,
    own_parameters,
    problem_of,
    redrawn,
    with_noise_limits,
)
from distillscale.laws.profile import Profile, profiles, scaled
from distillscale.laws.solve import Batch, solve
from distillscale.laws.uncertainty.noise import Noise
from distillscale.laws.uncertainty.of_fit import spread_of_fit

Interval = tuple[float, float]
Status = Literal["ok", "few points", "no trend", "not fitted"]

# A curve that explains less of the variance than this shows no trend (an assumption).
SMALLEST_R2 = 0.1
STARTS_A_DRAW = 1  # beside the estimate
SHOWN_DELTAS = (0.3, 3.0)


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
class DeltaRow:
    """The parameters under another delta of Huber's; None: least squares.

    `beyond` counts the points whose residual is larger than delta."""

    delta: float | None
    estimate: dict[str, float]
    beyond: int


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
        likelihood: how far a prediction may miss (see `likelihoods`).
        noise: what was fitted of the noise: `extra_sd`, by which runs differ beyond their test
            sampling, or `overdispersion` of counts.
        prior: mean and standard deviation of the stated priors.
        deltas: the estimate under other deltas of Huber's loss; empty for counts.
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
    likelihood: Likelihood = "log"
    noise: dict[str, float] = field(default_factory=dict)
    prior: dict[str, tuple[float, float]] = field(default_factory=dict)
    deltas: tuple[DeltaRow, ...] = ()

    def statement(self, name: str) -> str:
        """What may be said of a parameter: a value with its interval, a bound, or nothing.

        Raises:
            InputError: the law was not fitted, or has no such parameter.
        """
        if name not in self.estimate:
            has = ", ".join(self.estimate) or "none, it was not fitted"
            raise InputError(
                f"the {self.form} law of {self.metric}: no parameter `{name}` ({has})."
            )
        return statement_of(
            name, self.estimate[name], self.intervals[name], self.bounds.get(name, ""),
            self.unidentified.get(name, ""), self.prior.get(name),
        )  # fmt: skip

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
    likelihood: Likelihood | Literal["by metric"] = "by metric",
    prior: Prior | None = None,
    pooled: Noise | None = None,
) -> LawFit:
    """Fit a law to rows of the results table.

    Args:
        rows: rows of one metric that differ in x (and seed) only.
        law: key in `FORMS`.
        x: the column to read x from.
        group: what the rows share, kept with the result.
        level: of the percentile intervals.
        seed: of the bootstrap over runs.
        delta: Huber's, on the residuals' scale; `adaptive`: from the residuals (see
            `adaptive_delta`); None: `HUBER_DELTA`.
        likelihood: how far a prediction may miss (see `likelihoods`).
        prior: mean and standard deviation of a normal prior on a floor or an exponent, as
            `{"e_inf": (0.04, 0.01)}` from the label noise, or the teacher's NLL.
        pooled: how much runs vary, estimated over a study's laws (`uncertainty.tables`); None:
            this law's residuals alone tell.

    Raises:
        InputError: unknown law, rows of several metrics, a collapse law without chance level, or a
            likelihood or prior that has no meaning here.
    """
    form = form_of(law)
    names = rows["metric"].unique()
    if len(names) != 1:
        raise InputError(f"a law is fitted to rows of one metric, not of {len(names)}.")
    once = without_repetitions(rows, [x])
    points = read_points(once, form, x)
    points = replace(points, dropped=points.dropped + len(rows) - len(once))
    fixed = known_values(form, rows)
    if likelihood == "by metric":
        counted = bool((points.examples > 0).all())
        likelihood = likelihood_of(points.metric, form, counted=counted)
    if points.distinct < 2:
        return _not_fitted(law, points, x, dict(group or {}), level, likelihood)
    return _fit(
        form, points, fixed, x, dict(group or {}), level, seed, delta, likelihood, prior, pooled
    )


def form_of(law: str) -> Form:
    """The form of a law of one input.

    Raises:
        InputError: there is no such law, or it has several inputs.
    """
    if law not in FORMS:
        raise InputError(f"law `{law}`: no such law; there are {', '.join(FORMS)}.")
    if len(FORMS[law].inputs) > 1:
        inputs = " and ".join(FORMS[law].inputs)
        raise InputError(f"law `{law}` depends on {inputs}; `fit_rows` fits it.")
    return FORMS[law]


def known_values(form: Form, rows: pd.DataFrame) -> dict[str, float]:
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
    law: str,
    points: Points,
    x: str,
    group: dict[str, str | float],
    level: float,
    likelihood: Likelihood,
) -> LawFit:
    found = "no usable point" if len(points) == 0 else f"{points.distinct} usable {x}"
    reason = f"{found}, a curve needs two"
    diagnostics = Diagnostics(None, None, len(points), len(set(points.seeds)), points.dropped)
    return LawFit(
        law, points.metric, x, group, "not fitted", {}, {}, {}, reason, diagnostics, None, level,
        (), {}, None, likelihood,
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
    likelihood: Likelihood,
    prior: Prior | None,
    pooled: Noise | None,
) -> LawFit:
    """Solve at x / reference, where the parameters are of order one, then rescale."""
    reference = form.reference(points.x)
    measured = measured_points(form, points, reference, likelihood)
    batch, noise = problem_of(form, measured, fixed, delta=delta, prior=prior)
    best, certificate = certify(batch)
    resampled, covers, allowed = _draws(form, points, batch, best, level, seed, pooled)
    own = own_parameters(batch, best)
    parameters = form.rescale(np.vstack([own, resampled]), reference)
    limits = form.limits(batch.x, batch.y[0], fixed)
    found = _profiles(batch, best, limits, level, reference, allowed)
    few = too_few(form, points.distinct)
    return LawFit(
        form=form.name,
        metric=points.metric,
        x=x,
        group=group,
        status=_status(form, points, parameters[0]),
        estimate=_named(form, parameters[0]),
        intervals=_widened(_intervals(form, parameters[1:], level), found),
        unidentified={parameter.name: few for parameter in form.free}
        if few
        else unidentified(form, limits, _intervals(form, resampled, level), found),
        covers=covers if len(resampled) else f"{covers}; those shown are by profile likelihood",
        diagnostics=_diagnostics(form, points, parameters[0]),
        x_range=(float(points.x.min()), float(points.x.max())),
        level=level,
        draws=tuple(tuple(row) for row in parameters[1:].tolist()),
        bounds={} if few else bounds(form, found),
        certificate=certificate,
        likelihood=likelihood,
        noise=noise_of(batch, best, noise),
        prior=dict(prior or {}),
        deltas=_deltas(form, batch, best, reference),
    )


def measured_points(
    form: Form, points: Points, reference: Array, likelihood: Likelihood
) -> Measured:
    """The points of a law's rows at x / reference, with what their likelihood needs."""
    return Measured(
        x=points.x / reference,
        y=points.on_scale(form, points.value),
        weights=np.ones(len(points)),
        likelihood=likelihood,
        errors=points.sampling_errors() if metric(points.metric).bounded else None,
        trials=points.examples,
    )


def _draws(
    form: Form,
    points: Points,
    batch: Batch,
    best: Array,
    level: float,
    seed: int,
    pooled: Noise | None,
) -> tuple[Array, str, Mapping[str, float] | None]:
    """Draws of the parameters at x / reference, what they cover, and the profiles' allowances.

    From variance components where the points tell them; where there are too few, from resampled
    test examples (and seeds) alone.
    """
    spread = spread_of_fit(
        form, points, batch, best, form.reference(points.x), level=level, noise=pooled, seed=seed
    )
    if spread is not None:
        return own_parameters(batch, spread.draws), spread.covers, spread.allowed
    draws = draw(points.value, points.replicates, points.seeds, seed=seed)
    many = redrawn(batch, points.on_scale(form, draws.values), draws.weights, seed)
    resampled = solve(many, refined=STARTS_A_DRAW, also=best)[0]
    return own_parameters(batch, resampled), draws.covers, None


def _profiles(
    batch: Batch,
    best: Array,
    limits: Array,
    level: float,
    reference: Array,
    allowed: Mapping[str, float] | None,
) -> dict[str, Profile]:
    """The profiles at x, of the problem at x / reference."""
    found = profiles(batch, best, with_noise_limits(batch, limits), level, allowed)
    return {n: scaled(profile, batch.form, best, n, reference) for n, profile in found.items()}


def _deltas(form: Form, batch: Batch, best: Array, reference: Array) -> tuple[DeltaRow, ...]:
    """The estimate under a smaller and a larger delta, and by least squares."""
    if batch.likelihood:
        return ()
    fits: list[DeltaFit] = delta_sensitivity(batch, SHOWN_DELTAS, also=best)
    return tuple(
        DeltaRow(
            None if np.isinf(fit.delta) else fit.delta,
            _named(form, form.rescale(fit.parameters, reference)),
            fit.beyond,
        )
        for fit in fits
    )


def _widened(
    intervals: dict[str, Interval | None], found: Mapping[str, Profile]
) -> dict[str, Interval | None]:
    """Intervals, by profile where there are no draws, or none moves a parameter."""
    return {
        name: (found[name].low, found[name].high)
        if name in found and (ends is None or ends[1] - ends[0] <= 1e-6 * abs(ends[1]))
        else ends
        for name, ends in intervals.items()
    }


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
