"""Fit one law to the points of one metric, by the likelihood that fits it (`likelihoods`)."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.bootstrap import LEVEL, draw, interval
from distillscale.laws.certificate import certify
from distillscale.laws.delta import DeltaFit, delta_sensitivity
from distillscale.laws.form import Form
from distillscale.laws.forms import FORMS
from distillscale.laws.identify import bounds, too_few, unidentified
from distillscale.laws.law_fit import (
    DeltaRow,
    Diagnostics,
    Interval,
    LawFit,
    Status,
    to_value,
)
from distillscale.laws.likelihoods import Likelihood, likelihood_of
from distillscale.laws.metrics import metric
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
from distillscale.laws.uncertainty.intervals import Choice
from distillscale.laws.uncertainty.noise import Noise
from distillscale.laws.uncertainty.of_fit import Spread, spread_of_fit

# A curve that explains less of the variance than this shows no trend (an assumption).
SMALLEST_R2 = 0.1
STARTS_A_DRAW = 1  # beside the estimate
SHOWN_DELTAS = (0.3, 3.0)
FIRST_ORDER_STEP = 1e-6  # of numerical derivatives of a rescaling


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
    choice: Choice | None = None,
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
        choice: of the methods of intervals (`laws coverage` makes one); None: `CHOSEN`.

    Raises:
        InputError: unknown law, rows of several metrics, a collapse law without chance level, a
            likelihood or prior that has no meaning here, or a chosen method that needs more runs.
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
        form, points, fixed, x, dict(group or {}), level, seed, delta, likelihood, prior, pooled,
        choice,
    )  # fmt: skip


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
    choice: Choice | None,
) -> LawFit:
    """Solve at x / reference, where the parameters are of order one, then rescale."""
    reference = form.reference(points.x)
    measured = measured_points(form, points, reference, likelihood)
    batch, noise = problem_of(form, measured, fixed, delta=delta, prior=prior)
    best, certificate = certify(batch)
    spread = spread_of_fit(
        form, points, batch, best, reference, level=level, noise=pooled, choice=choice, seed=seed
    ) or _resampled(form, points, batch, best, seed)
    own, drawn = own_parameters(batch, best), own_parameters(batch, spread.draws)
    parameters = form.rescale(own, reference)
    moved = _moved(form, own, drawn, reference) if spread.first_order else None
    draws = form.rescale(drawn, reference) if moved is None else moved
    limits = form.limits(batch.x, batch.y[0], fixed)
    found = _profiles(batch, best, limits, level, reference, spread.allowed)
    few = too_few(form, points.distinct)
    return LawFit(
        form=form.name,
        metric=points.metric,
        x=x,
        group=group,
        status=_status(form, points, parameters),
        estimate=_named(form, parameters),
        intervals=_by_profile(
            _intervals(form, draws, level) | dict(spread.intervals), spread.profiled, found
        ),
        unidentified={parameter.name: few for parameter in form.free}
        if few
        else unidentified(form, limits, _intervals(form, drawn.clip(*limits.T), level), found),
        covers=spread.covers,
        diagnostics=_diagnostics(form, points, parameters),
        x_range=(float(points.x.min()), float(points.x.max())),
        level=level,
        draws=tuple(tuple(row) for row in draws.tolist()),
        first_order=spread.first_order,
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


def _resampled(form: Form, points: Points, batch: Batch, best: Array, seed: int) -> Spread:
    """Where too few points tell how runs vary: from resampled test examples (and seeds) alone."""
    draws = draw(points.value, points.replicates, points.seeds, seed=seed)
    many = redrawn(batch, points.on_scale(form, draws.values), draws.weights, seed)
    resampled = solve(many, refined=STARTS_A_DRAW, also=best)[0]
    profiled = "" if len(resampled) else "; those shown are by profile likelihood"
    return Spread(resampled, draws.covers + profiled)


def _moved(form: Form, own: Array, drawn: Array, reference: Array) -> Array:
    """First-order moves of the parameters at x / reference as moves of those at x, [draws, p]."""
    step = FIRST_ORDER_STEP * (drawn - own)
    up, down = form.rescale(own + step, reference), form.rescale(own - step, reference)
    return np.asarray(form.rescale(own, reference) + (up - down) / (2 * FIRST_ORDER_STEP))


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


def _by_profile(
    intervals: dict[str, Interval | None], chosen: Collection[str], found: Mapping[str, Profile]
) -> dict[str, Interval | None]:
    """Intervals, by profile where that is chosen, there are no draws, or none moves a parameter."""
    return {
        name: (found[name].low, found[name].high)
        if name in found
        and (name in chosen or ends is None or ends[1] - ends[0] <= 1e-6 * abs(ends[1]))
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


def _diagnostics(form: Form, points: Points, parameters: Array) -> Diagnostics:
    predicted = to_value(form, points.metric, form.curve(parameters, points.x))
    squares = float(((points.value - predicted) ** 2).sum())
    spread = float(((points.value - points.value.mean()) ** 2).sum())
    return Diagnostics(
        rmse=float(np.sqrt(squares / len(points))),
        r2=1 - squares / spread if spread > 1e-12 else None,
        points=len(points),
        seeds=len(set(points.seeds)),
        dropped=points.dropped,
    )
