"""Robust regression for a whole batch of curves at once.

The estimate and every bootstrap replicate are rows of one batch, so a law with 200 replicates costs
little more than one without. Each row minimises its own Huber loss from several starts by the
Levenberg-Marquardt method, with bounds.

The curvature that a step uses is that of the Huber loss itself, where residuals beyond delta have
none (a semi-smooth Newton step); the damping is the curvature of iteratively reweighted least
squares, in which they have some. So a heavily damped step is safe and an undamped one converges
fast even where delta is far below the noise and the fit is nearly one of least absolute deviations,
which plain reweighting approaches only slowly.

Shapes: x [n], or [k, n] for a form of k inputs; y and weights [b, n]; parameters and bounds [b, p].
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from distillscale.laws.arrays import Array
from distillscale.laws.form import Form

# Residuals beyond this count linearly instead of squared. Assumptions, near the sampling noise of
# a few hundred test examples: 10 % of an error, 3 points of a score. (Chinchilla's 1e-3 suits
# losses measured on billions of tokens.)
HUBER_DELTA = {"log error": 0.1, "score": 0.03}
SMALLEST_ERROR = 1e-12
REFINED_STARTS = 3
ITERATIONS = 60
SETTLED = 1e-10
FIRST_DAMPING, SMALLEST_DAMPING, LARGEST_DAMPING = 3e-2, 1e-9, 1e6
# Rows that are refined together: their Jacobians should stay in the processor's cache.
ROWS_TOGETHER = 64
POINTS_SCORED_TOGETHER = 2048  # of all rows whose starts are scored together, for the same reason
WORKERS = 2


@dataclass(frozen=True)
class Batch:
    """Curves to fit: targets y, weights of points, bounds of parameters, one row a problem.

    `delta` is Huber's, for all rows; None takes the default of the form's scale.
    """

    form: Form
    x: Array
    y: Array
    weights: Array
    low: Array
    high: Array
    delta: float | None = None

    @property
    def huber_delta(self) -> float:
        """Where the loss turns from squared to linear."""
        return HUBER_DELTA[self.form.scale] if self.delta is None else self.delta

    def rows(self, index: NDArray[np.int64]) -> "Batch":
        """The problems with these row numbers, repeated as often as they occur."""
        y, weights, low, high = (p[index] for p in (self.y, self.weights, self.low, self.high))
        return Batch(self.form, self.x, y, weights, low, high, self.delta)

    def with_delta(self, delta: float) -> "Batch":
        """The same problems under another delta."""
        return replace(self, delta=delta)


def solve(
    batch: Batch, *, refined: int = REFINED_STARTS, also: Array | None = None
) -> tuple[Array, Array]:
    """Fit every row from many starts.

    All starts of a grid are scored; the best few of each row are refined.

    Args:
        batch: the problems.
        refined: how many starts of each row are refined.
        also: a further start for every row, [p], which is always refined.

    Returns:
        Parameters [b, p] and Huber losses [b].
    """
    if len(batch.y) == 0:
        return np.empty(batch.low.shape), np.empty(0)
    ends, losses = solve_from_starts(batch, refined, also)
    row, winner = np.arange(len(losses)), losses.argmin(axis=1)
    return ends[row, winner], losses[row, winner]


def solve_from_starts(batch: Batch, refined: int, also: Array | None = None) -> tuple[Array, Array]:
    """Where each of the best starts of every row ends: parameters [b, s, p] and losses [b, s]."""
    chosen = _best_starts(batch, refined)
    if also is not None:
        extra = np.clip(also, batch.low, batch.high)[:, None, :]
        chosen = np.concatenate([chosen, extra], axis=1)
    count, kept, size = chosen.shape
    starts, owner = chosen.reshape(count * kept, size), np.repeat(np.arange(count), kept)
    ends, losses = _in_chunks(
        lambda rows: refine(batch.rows(owner[rows]), starts[rows]), len(starts), ROWS_TOGETHER
    )
    return ends.reshape(count, kept, size), losses.reshape(count, kept)


def _in_chunks(
    work: Callable[[NDArray[np.int64]], tuple[Array, ...]], count: int, together: int
) -> tuple[Array, ...]:
    """Do the work on a few rows at a time, in threads (NumPy releases the interpreter's lock)."""
    chunks = [np.arange(start, min(start + together, count)) for start in range(0, count, together)]
    if len(chunks) == 1:
        return work(chunks[0])
    with ThreadPoolExecutor(WORKERS) as pool:
        parts = list(pool.map(work, chunks))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def _best_starts(batch: Batch, refined: int) -> Array:
    """The starts of least loss, [b, refined, p]."""
    if _same_but_for_weights(batch):
        starts = np.clip(batch.form.starts(batch.x, batch.y[:1])[0], batch.low[0], batch.high[0])
        values = huber(residuals_of(batch.rows(np.array([0])), starts[None]), batch.huber_delta)
        return np.asarray(starts[_smallest(batch.weights @ values[0].T, refined)])
    together = int(np.clip(POINTS_SCORED_TOGETHER // batch.y.shape[1], 1, ROWS_TOGETHER))
    return _in_chunks(lambda rows: (_scored(batch.rows(rows), refined),), len(batch.y), together)[0]


def _scored(batch: Batch, refined: int) -> Array:
    """The best starts of rows that differ in their targets or bounds."""
    low, high = batch.low[:, None, :], batch.high[:, None, :]
    starts = np.clip(batch.form.starts(batch.x, batch.y), low, high)
    values = huber(residuals_of(batch, starts), batch.huber_delta)
    best = _smallest((batch.weights[:, None, :] * values).sum(axis=-1), refined)
    return np.take_along_axis(starts, best[..., None], axis=1)


def _same_but_for_weights(batch: Batch) -> bool:
    """Whether rows share targets and bounds (bootstrap of cases): then starts are scored once."""
    parts = (batch.y, batch.low, batch.high)
    return all((part == part[:1]).all() for part in parts)


def _smallest(scores: Array, count: int) -> NDArray[np.int64]:
    return np.argsort(scores, axis=1, kind="stable")[:, :count]


def refine(batch: Batch, parameters: Array) -> tuple[Array, Array]:
    """Levenberg-Marquardt steps, each row with its own damping, until no row gains."""
    parameters = parameters.copy()
    damping = np.full(len(parameters), FIRST_DAMPING)
    residuals = residuals_of(batch, parameters)
    losses = _loss(batch, residuals)
    active = np.arange(len(parameters))
    for _ in range(ITERATIONS):
        problem, here = batch.rows(active), parameters[active]
        step = _step(problem, here, residuals[active], damping[active])
        proposal = np.clip(here + step, problem.low, problem.high)
        proposed_residuals = residuals_of(problem, proposal)
        proposed = _loss(problem, proposed_residuals)
        gain = losses[active] - proposed
        better = gain > 0
        moved = active[better]
        parameters[moved], losses[moved] = proposal[better], proposed[better]
        residuals[moved] = proposed_residuals[better]
        damping[active] = np.where(better, damping[active] * 0.1, damping[active] * 6)
        damping = damping.clip(SMALLEST_DAMPING)
        settled = better & (gain < SETTLED * proposed) | (damping[active] > LARGEST_DAMPING)
        active = active[~settled & (losses[active] > 0)]
        if len(active) == 0:
            break
    return parameters, losses


def _step(batch: Batch, parameters: Array, residuals: Array, damping: Array) -> Array:
    """The damped Newton step; parameters that push against a bound stay where they are."""
    jacobian = _jacobian(batch, parameters, residuals)
    size = np.abs(residuals)
    squared = batch.weights * (size <= batch.huber_delta)
    reweighted = batch.weights * np.minimum(1, batch.huber_delta / size.clip(1e-300))
    gradient = np.einsum("bpn,bn->bp", jacobian, reweighted * residuals)
    free = free_of(batch, parameters, gradient)
    curvature = squared + damping[:, None] * reweighted
    normal = (jacobian * curvature[:, None, :]) @ jacobian.swapaxes(1, 2)
    normal = normal * (free[:, :, None] & free[:, None, :])
    diagonal = np.einsum("bpp->bp", normal)
    # Without curvature in a direction (a term that vanished) the step there must not blow up.
    ridge = np.where(diagonal > 1e-14, (1e-12 + 1e-3 * damping[:, None]) * diagonal, 1.0)
    normal = normal + ridge[..., None] * np.eye(normal.shape[-1])
    return np.linalg.solve(normal, -(gradient * free)[..., None])[..., 0]


def free_of(batch: Batch, parameters: Array, gradient: Array) -> NDArray[np.bool_]:
    """Which parameters may move: not held, and not pushed against a bound, [b, p]."""
    at_low = (parameters <= batch.low) & (gradient > 0)
    at_high = (parameters >= batch.high) & (gradient < 0)
    return ~(at_low | at_high | (batch.low == batch.high))


def gradient_of(batch: Batch, parameters: Array) -> Array:
    """The derivative of each row's Huber loss by its parameters, [b, p]."""
    residuals = residuals_of(batch, parameters)
    clipped = residuals.clip(-batch.huber_delta, batch.huber_delta)
    jacobian = _jacobian(batch, parameters, residuals)
    return np.einsum("bpn,bn->bp", jacobian, batch.weights * clipped)


def _jacobian(batch: Batch, parameters: Array, residuals: Array) -> Array:
    """Derivatives of the residuals, [b, p, n]."""
    jacobian = batch.form.gradient(parameters, batch.x)
    if batch.form.scale == "log error":
        jacobian *= (np.exp(-residuals) / batch.y)[:, None, :]
    return jacobian


def residuals_of(batch: Batch, parameters: Array) -> Array:
    """Prediction minus target on the form's scale, [b, ..., n] for parameters [b, ..., p]."""
    predicted = batch.form.curve(parameters, batch.x)
    target = batch.y if parameters.ndim == 2 else batch.y[:, None, :]
    if batch.form.scale == "log error":
        return np.log(predicted.clip(SMALLEST_ERROR) / target)
    return predicted - target


def huber(residuals: Array, delta: float) -> Array:
    """Huber's loss of each residual: r^2 / 2 up to delta, delta (|r| - delta / 2) beyond."""
    size = np.abs(residuals)
    near = np.minimum(size, delta)
    return near * (size - 0.5 * near)


def losses_of(batch: Batch, parameters: Array) -> Array:
    """The Huber loss of each row at its parameters, [b]."""
    return _loss(batch, residuals_of(batch, parameters))


def _loss(batch: Batch, residuals: Array) -> Array:
    return np.einsum("bn,bn->b", batch.weights, huber(residuals, batch.huber_delta))
