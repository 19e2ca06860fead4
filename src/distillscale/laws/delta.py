"""Huber's delta: from the data, or how much hangs on it.

Below delta residuals count squared, beyond it linearly: a small delta trusts the bulk of the points
and is hardly moved by the others, an infinite one is least squares.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distillscale.laws.arrays import Array
from distillscale.laws.solve import Batch, losses_of, refine, residuals_of, solve

# 95 % efficiency under normal noise (Huber 1981); the factor makes the MAD a normal's sigma.
EFFICIENT = 1.345
SIGMA_OF_MAD = 1.4826
SMALLEST_DELTA = 1e-6
ROUNDS = 30
SAME_DELTA = 1e-3
FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
# Between deltas that differ by this factor the last fit is a good start for the next.
CONTINUATION = 10**-0.5
LEAST_DELTA = 1e-9


@dataclass(frozen=True)
class DeltaFit:
    """A fit under one delta: `delta` is 0 for least absolute deviations, inf for squares.

    `beyond` counts the points whose residual is larger than delta."""

    delta: float
    parameters: Array
    beyond: int


def adaptive_delta(batch: Batch) -> float:
    """1.345 times the robust sigma of the residuals (MAD), iterated until it stays.

    Args:
        batch: the problem (b = 1).
    """
    delta = batch.huber_delta
    for _ in range(ROUNDS):
        parameters, _ = solve(batch.with_delta(delta))
        residuals = residuals_of(batch, parameters)[0]
        # The curve goes through as many points as it has parameters: those say nothing of noise.
        spare = max(1, residuals.size - len(batch.form.free)) / residuals.size
        mad = np.median(np.abs(residuals)) / np.sqrt(spare)
        proposed = max(EFFICIENT * SIGMA_OF_MAD * float(mad), SMALLEST_DELTA)
        if abs(proposed - delta) <= SAME_DELTA * delta:
            return proposed
        delta = proposed
    return delta


def delta_table(batch: Batch) -> list[DeltaFit]:
    """The same problem (b = 1) under other deltas, from least absolute deviations to squares."""
    absolute = least_absolute_deviations(batch)
    return [DeltaFit(0.0, absolute, batch.y.shape[1]), *delta_sensitivity(batch, FACTORS)]


def delta_sensitivity(
    batch: Batch, factors: Sequence[float], also: Array | None = None
) -> list[DeltaFit]:
    """The same problem (b = 1) under `factors` times its delta, and by least squares.

    Args:
        batch: the problem.
        factors: of its delta.
        also: a further start, [p].
    """
    fits = []
    for delta in [factor * batch.huber_delta for factor in factors] + [np.inf]:
        parameters, _ = solve(batch.with_delta(delta), also=also)
        residuals = residuals_of(batch, parameters)
        fits.append(DeltaFit(delta, parameters[0], int((np.abs(residuals) > delta).sum())))
    return fits


def least_absolute_deviations(batch: Batch) -> Array:
    """The limit of Huber's estimate for delta to 0, followed down from the batch's delta, [p]."""
    delta = batch.huber_delta
    parameters, _ = solve(batch)
    while delta > LEAST_DELTA:
        delta *= CONTINUATION
        smaller = batch.with_delta(delta)
        parameters = _better(smaller, refine(smaller, parameters)[0], parameters)
    return parameters[0]


def _better(batch: Batch, left: Array, right: Array) -> Array:
    return left if losses_of(batch, left)[0] <= losses_of(batch, right)[0] else right
