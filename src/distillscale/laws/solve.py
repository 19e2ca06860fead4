"""Robust least squares for a whole batch of curves at once.

The estimate and every bootstrap replicate are rows of one batch, so a law with 200 replicates costs
little more than one without. Each row minimises its own Huber loss from several starts by the
Levenberg-Marquardt method, with bounds.

Shapes: x [n]; y and weights [b, n]; parameters and bounds [b, p].
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distillscale.laws.arrays import Array
from distillscale.laws.forms import Form

# Residuals beyond this count linearly instead of squared. Assumptions, near the sampling noise of
# a few hundred test examples: 10 % of an error, 3 points of a score. (Chinchilla's 1e-3 suits
# losses measured on billions of tokens.)
HUBER_DELTA = {"log error": 0.1, "score": 0.03}
SMALLEST_ERROR = 1e-12
REFINED_STARTS = 3
ITERATIONS = 60
SETTLED = 1e-7
LARGEST_DAMPING = 1e4


@dataclass(frozen=True)
class Batch:
    """Curves to fit: targets y, weights of points, bounds of parameters, one row a problem."""

    form: Form
    x: Array
    y: Array
    weights: Array
    low: Array
    high: Array

    def rows(self, index: NDArray[np.int64]) -> "Batch":
        """The problems with these row numbers, repeated as often as they occur."""
        picked = (part[index] for part in (self.y, self.weights, self.low, self.high))
        return Batch(self.form, self.x, *picked)


def solve(batch: Batch) -> tuple[Array, Array]:
    """Fit every row from many starts.

    All starts of a grid are scored; the best few of each row are refined.

    Returns:
        Parameters [b, p] and Huber losses [b].
    """
    low, high = batch.low[:, None, :], batch.high[:, None, :]
    starts = np.clip(batch.form.starts(batch.x, batch.y), low, high)
    scores = _loss(batch.form, _residuals(batch, starts), batch.weights[:, None, :])
    best = np.argsort(scores, axis=1, kind="stable")[:, :REFINED_STARTS]
    count, kept = best.shape
    chosen = np.take_along_axis(starts, best[..., None], axis=1).reshape(count * kept, -1)
    parameters, losses = _refine(batch.rows(np.repeat(np.arange(count), kept)), chosen)
    losses = losses.reshape(count, kept)
    winner = losses.argmin(axis=1)
    row = np.arange(count)
    return parameters.reshape(count, kept, -1)[row, winner], losses[row, winner]


def _refine(batch: Batch, parameters: Array) -> tuple[Array, Array]:
    """Levenberg-Marquardt steps, each row with its own damping, until no row gains."""
    parameters = parameters.copy()
    damping = np.full(len(parameters), 1e-2)
    losses = _loss(batch.form, _residuals(batch, parameters), batch.weights)
    active = np.arange(len(parameters))
    for _ in range(ITERATIONS):
        problem, here = batch.rows(active), parameters[active]
        proposal = here + _step(problem, here, damping[active])
        proposal = np.clip(proposal, problem.low, problem.high)
        proposed = _loss(batch.form, _residuals(problem, proposal), problem.weights)
        gain = losses[active] - proposed
        better = active[gain > 0]
        parameters[better], losses[better] = proposal[gain > 0], proposed[gain > 0]
        damping[active] = np.where(gain > 0, damping[active] * 0.2, damping[active] * 6).clip(1e-9)
        settled = (gain > 0) & (gain < SETTLED * proposed) | (damping[active] > LARGEST_DAMPING)
        active = active[~settled]
        if len(active) == 0:
            break
    return parameters, losses


def _step(batch: Batch, parameters: Array, damping: Array) -> Array:
    """The damped Gauss-Newton step; parameters that push against a bound stay where they are."""
    residuals = _residuals(batch, parameters)
    jacobian = batch.form.gradient(parameters, batch.x)
    if batch.form.scale == "log error":
        predicted = batch.form.curve(parameters, batch.x).clip(SMALLEST_ERROR)
        jacobian = jacobian / predicted[..., None]
    delta = HUBER_DELTA[batch.form.scale]
    weights = batch.weights * np.minimum(1, delta / np.abs(residuals).clip(1e-300))
    weighted = (jacobian * weights[..., None]).swapaxes(1, 2)
    gradient = (weighted @ residuals[..., None])[..., 0]
    at_low = (parameters <= batch.low) & (gradient > 0)
    at_high = (parameters >= batch.high) & (gradient < 0)
    free = ~(at_low | at_high | (batch.low == batch.high))
    normal = (weighted @ jacobian) * (free[:, :, None] & free[:, None, :])
    diagonal = np.einsum("bpp->bp", normal)
    ridge = np.where(diagonal > 1e-14, damping[:, None] * diagonal, 1.0)
    normal = normal + ridge[..., None] * np.eye(normal.shape[-1])
    return np.linalg.solve(normal, -(gradient * free)[..., None])[..., 0]


def _residuals(batch: Batch, parameters: Array) -> Array:
    """Prediction minus target on the form's scale, [b, ..., n] for parameters [b, ..., p]."""
    predicted = batch.form.curve(parameters, batch.x)
    target = batch.y if parameters.ndim == 2 else batch.y[:, None, :]
    if batch.form.scale == "log error":
        return np.log(predicted.clip(SMALLEST_ERROR)) - np.log(target)
    return predicted - target


def _loss(form: Form, residuals: Array, weights: Array) -> Array:
    delta = HUBER_DELTA[form.scale]
    size = np.abs(residuals)
    huber = np.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))
    return (weights * huber).sum(axis=-1)
