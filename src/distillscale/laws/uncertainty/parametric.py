"""Parametric bootstrap: new errors drawn from the variance components, on the fitted curve."""

from collections.abc import Sequence

import numpy as np

from distillscale.laws.arrays import Array
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.noise import Noise, draw_errors
from distillscale.laws.uncertainty.resampling import percentiles, refitted
from distillscale.laws.uncertainty.targets import Target

FEWEST_DEGREES, MOST_DEGREES = 1.0, 1e6


def parametric_draws(fit: Fitted, noise: Noise, replicates: int, seed: int) -> Array:
    """Parameters fitted to simulated data sets, [b, r, p]."""
    errors = _stretched_errors(fit, noise, replicates, seed)
    return refitted(fit, fit.fitted_values[:, None, :] + errors)


def first_order_draws(fit: Fitted, noise: Noise, replicates: int, seed: int) -> Array:
    """Parameters as simulated errors move them to first order, [b, r, p]; none is kept in limits.

    What they say of a number is its gradient times the move, not its value there: so read, they
    spread as the intervals of `components_t` do.
    """
    errors = _stretched_errors(fit, noise, replicates, seed)
    return np.asarray(fit.estimate[:, None] + np.einsum("bpn,brn->brp", fit.influence, errors))


def _stretched_errors(fit: Fitted, noise: Noise, replicates: int, seed: int) -> Array:
    """Errors of the points, [b, r, n].

    The noise is itself estimated, so each replicate's errors are stretched by
    sqrt(d / chi^2_d), with d its degrees of freedom: they have the tails of Student's t.
    """
    generator = np.random.default_rng(seed)
    count = len(fit.estimate)
    variances = np.repeat(noise.variances, replicates, axis=0)
    errors = draw_errors(fit.runs, variances, generator).reshape(count, replicates, -1)
    degrees = error_degrees(fit, noise).clip(FEWEST_DEGREES, MOST_DEGREES)[:, None]
    stretch = np.sqrt(degrees / generator.chisquare(degrees, (count, replicates)))
    return np.asarray(errors * stretch[..., None])


def error_degrees(fit: Fitted, noise: Noise) -> Array:
    """Satterthwaite's degrees of freedom of the points' mean variance, test sampling known, [b]."""
    parts = np.einsum("kii->k", fit.runs.components()) / len(fit.runs)
    mean = noise.variances @ parts + np.trace(fit.runs.test) / len(fit.runs)
    spread = np.einsum("k,bkl,l->b", parts, noise.uncertainty, parts)
    return np.asarray(2 * mean**2 / np.maximum(spread, 1e-300))


def parametric_intervals(
    fit: Fitted, noise: Noise, targets: Sequence[Target], level: float, replicates: int, seed: int
) -> tuple[Array, Array]:
    """Percentile intervals of the parametric bootstrap, [b, targets]."""
    return percentiles(parametric_draws(fit, noise, replicates, seed), targets, level)
