"""From measured points to the problem that is solved: likelihood, noise and priors."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.delta import adaptive_delta
from distillscale.laws.form import Form
from distillscale.laws.likelihoods import (
    BetaBinomial,
    Likelihood,
    check_likelihood,
    extra_deviation,
    overdispersion,
    with_dispersion,
)
from distillscale.laws.penalty import Penalty
from distillscale.laws.profile import noise_variance
from distillscale.laws.solve import Batch, solve

Delta = float | Literal["adaptive"] | None
Prior = Mapping[str, tuple[float, float]]

ROUNDS = 8
SAME_DEVIATION = 0.01
SMALLEST_VARIANCE = 1e-8  # of residuals: a prior counts even where a curve goes through all points


@dataclass(frozen=True)
class Measured:
    """Points as they were measured.

    Attributes:
        x: inputs over their reference, [n] or [k, n].
        y: errors or scores, by the form's scale, [n].
        weights: [n].
        likelihood: how far a prediction may miss.
        errors: standard errors of y by test sampling, [n]; None: not known.
        trials: examples behind each y, [n]; None: not known.
    """

    x: Array
    y: Array
    weights: Array
    likelihood: Likelihood
    errors: Array | None = None
    trials: Array | None = None


def problem_of(
    form: Form,
    measured: Measured,
    fixed: Mapping[str, float],
    *,
    delta: Delta = None,
    prior: Prior | None = None,
) -> tuple[Batch, dict[str, float]]:
    """The problem (b = 1) with all that belongs to its noise, and that noise in numbers.

    Args:
        form: the law.
        measured: the points.
        fixed: values of the form's known parameters.
        delta: Huber's; `adaptive`: from the residuals; None: the default of the scale.
        prior: mean and standard deviation of a normal prior on a parameter.

    Returns:
        The batch, and `extra_sd`, by which runs differ beyond their test sampling (likelihood
        `error`), or nothing.

    Raises:
        InputError: a likelihood that does not suit the form or lacks its examples; a prior on a
            parameter that does not exist or hangs on the unit of an input.
    """
    check_likelihood(measured.likelihood, form)
    batch = _batch(form, measured, fixed)
    noise: dict[str, float] = {}
    if measured.likelihood == "error":
        given = delta if isinstance(delta, float | int) else None
        batch, deviation = _with_errors(batch, measured.errors, given)
        noise["extra_sd"] = deviation
    elif delta is not None and not batch.likelihood:
        batch = batch.with_delta(adaptive_delta(batch) if delta == "adaptive" else float(delta))
    return (_with_prior(batch, form, prior) if prior else batch), noise


def noise_of(batch: Batch, best: Array, noise: Mapping[str, float]) -> dict[str, float]:
    """The noise in numbers, with the overdispersion of counts."""
    if batch.likelihood is None:
        return dict(noise)
    return dict(noise) | {"overdispersion": overdispersion(float(best[-1]))}


def own_parameters(batch: Batch, parameters: Array) -> Array:
    """Parameters [..., p] without that of the noise."""
    return parameters[..., :-1] if batch.likelihood else parameters


def with_noise_limits(batch: Batch, limits: Array) -> Array:
    """The limits [p, 2] with those of the noise's parameter, where there is one."""
    if batch.likelihood is None:
        return limits
    return np.vstack([limits, [batch.low[0, -1], batch.high[0, -1]]])


def redrawn(batch: Batch, y: Array, weights: Array, seed: int = 0) -> Batch:
    """The problem for other targets and weights, [b, n].

    A prior's mean is drawn anew for each (randomise, then optimise: Bardsley et al. 2014), so that
    where the points say nothing the draws spread like the prior instead of not at all.
    """
    many = batch.rows(np.zeros(len(y), dtype=int))
    if batch.penalty is not None:
        many = replace(many, penalty=batch.penalty.drawn(len(y), np.random.default_rng(seed)))
    return replace(many, y=y, weights=weights)


def _batch(form: Form, measured: Measured, fixed: Mapping[str, float]) -> Batch:
    likelihood = None
    if measured.likelihood == "beta-binomial":
        likelihood, form = _counts(form, measured), with_dispersion(form)
    low, high = form.bounds(measured.x, measured.y, fixed)[None].transpose(2, 0, 1)
    return Batch(
        form, measured.x, measured.y[None], measured.weights[None], low, high,
        likelihood=likelihood,
    )  # fmt: skip


def _counts(form: Form, measured: Measured) -> BetaBinomial:
    trials = measured.trials
    if trials is None or not (np.isfinite(trials).all() and (trials > 0).all()):
        raise InputError(
            f"law `{form.name}`: likelihood `beta-binomial` needs the number of examples of every "
            f"point."
        )
    if not ((measured.y >= 0) & (measured.y <= 1)).all():
        raise InputError(f"law `{form.name}`: every y must be a share between 0 and 1.")
    return BetaBinomial(trials)


def _with_errors(batch: Batch, sampling: Array | None, delta: float | None) -> tuple[Batch, float]:
    """The problem in standard errors, with what runs differ by beyond test sampling.

    It starts with that so large that all points count alike.
    """
    y = batch.y[0]
    errors = np.full(len(y), 1e-9) if sampling is None else sampling
    deviation = float(y.std()) + float(errors.max())
    for _ in range(ROUNDS):
        batch = replace(batch, errors=np.sqrt(errors**2 + deviation**2), delta=delta)
        best, _ = solve(batch)
        misfit = batch.form.curve(best[0], batch.x) - y
        free = len(batch.form.free)
        found = extra_deviation(misfit, errors, free, batch.huber_delta)
        if abs(found - deviation) <= SAME_DEVIATION * max(found, float(errors.min())):
            break
        deviation = found
    return replace(batch, errors=np.sqrt(errors**2 + deviation**2)), deviation


def _with_prior(batch: Batch, form: Form, prior: Prior) -> Batch:
    """The problem with a residual (theta - mean) / sd for each prior."""
    names = list(batch.form.names)
    for name, (mean, deviation) in prior.items():
        if name not in form.names or any(p.fixed and p.name == name for p in form.parameters):
            fitted = ", ".join(p.name for p in form.free)
            raise InputError(f"prior on `{name}`: the law `{form.name}` fits {fitted}.")
        if not (np.isfinite(mean) and np.isfinite(deviation) and deviation > 0):
            raise InputError(
                f"prior on `{name}`: mean {mean} and standard deviation {deviation} must be "
                f"numbers, the second positive."
            )
        if _hangs_on_units(form, name):
            raise InputError(
                f"prior on `{name}`: it depends on the unit of the inputs; state one on a floor or "
                f"an exponent."
            )
    rows = np.array([np.eye(len(names))[names.index(name)] for name in prior])
    means, deviations = (np.asarray(part, float) for part in zip(*prior.values(), strict=True))
    variance = 1.0
    if batch.likelihood is None and batch.errors is None:
        variance = max(noise_variance(batch, solve(batch)[0][0]), SMALLEST_VARIANCE)
    weight = np.asarray(variance / deviations**2, float)
    penalty = Penalty(rows, means, np.zeros(len(names), dtype=bool), weight, deviations)
    return replace(batch, penalty=penalty)


def _hangs_on_units(form: Form, name: str) -> bool:
    values: Array = np.linspace(0.3, 0.9, len(form.names))
    factor: Any = 2.0 if len(form.inputs) == 1 else np.full(len(form.inputs), 2.0)
    place = form.names.index(name)
    return bool(abs(form.rescale(values, factor)[place] - values[place]) > 1e-12)
