"""Robust regression for a whole batch of curves at once.

The estimate and every bootstrap replicate are rows of one batch, so a law with 200 replicates costs
little more than one without. Each row minimises its own Huber loss from several starts by the
Levenberg-Marquardt method, with bounds.

The curvature that a step uses is that of the Huber loss itself, where residuals beyond delta have
none (a semi-smooth Newton step); the damping is the curvature of iteratively reweighted least
squares, in which they have some. So a heavily damped step is safe and an undamped one converges
fast even where delta is far below the noise and the fit is nearly one of least absolute deviations,
which plain reweighting approaches only slowly.

A likelihood of counts is solved by the same steps, with its own slopes and curvatures instead of
Huber's; a penalty (a prior, the pooling of groups) adds its own to either.

Shapes: x [n], or [k, n] for a form of k inputs; y and weights [b, n]; parameters and bounds [b, p].
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from distillscale.laws.arrays import Array
from distillscale.laws.form import Form
from distillscale.laws.likelihoods import EDGE, BetaBinomial
from distillscale.laws.penalty import Penalty

# Residuals beyond this count linearly instead of squared. Assumptions, near the sampling noise of
# a few hundred test examples: 10 % of an error, 3 points of a score. (Chinchilla's 1e-3 suits
# losses measured on billions of tokens.) In standard errors: 95 % efficient under normal noise.
HUBER_DELTA = {"log error": 0.1, "score": 0.03, "standard errors": 1.345}
SMALLEST_ERROR = 1e-12
REFINED_STARTS = 3
ITERATIONS, ITERATIONS_OF_COUNTS = 60, 80  # the curvature of counts is a rougher one
SETTLED = 1e-10
SETTLED_NATS = 1e-9  # a point, where the loss is a log likelihood, whose zero means nothing
FIRST_DAMPING, SMALLEST_DAMPING, LARGEST_DAMPING = 3e-2, 1e-9, 1e6
# Numbers in the Jacobians of rows that are refined together: they should stay in the processor's
# cache, and many points must not need much memory.
NUMBERS_TOGETHER = 80_000
MOST_ROWS_TOGETHER = 1024
POINTS_SCORED_TOGETHER, MOST_SCORED_TOGETHER = (
    2048,
    64,
)  # of all rows whose starts are scored together, for the same reason
WORKERS = 2


@dataclass(frozen=True)
class Batch:
    """Curves to fit: targets y, weights of points, bounds of parameters, one row a problem.

    Attributes:
        delta: Huber's, for all rows; None takes the default of the residuals' scale.
        errors: standard errors of the points, [n]: residuals are then differences of the error or
            score, divided by these, whatever the form's scale.
        likelihood: of counts instead of Huber's loss; the last parameter is then its ln s.
        penalty: what is known of the parameters beside the points.
    """

    form: Form
    x: Array
    y: Array
    weights: Array
    low: Array
    high: Array
    delta: float | None = None
    errors: Array | None = None
    likelihood: BetaBinomial | None = None
    penalty: Penalty | None = None

    @property
    def scale(self) -> str:
        """Where residuals are taken: `log error`, `score` or `standard errors`."""
        return self.form.scale if self.errors is None else "standard errors"

    @property
    def huber_delta(self) -> float:
        """Where the loss turns from squared to linear."""
        return HUBER_DELTA[self.scale] if self.delta is None else self.delta

    def rows(self, index: NDArray[np.int64]) -> "Batch":
        """The problems with these row numbers, repeated as often as they occur."""
        y, weights, low, high = (p[index] for p in (self.y, self.weights, self.low, self.high))
        penalty = self.penalty and self.penalty.of_rows(index)
        return Batch(
            self.form, self.x, y, weights, low, high, self.delta, self.errors, self.likelihood,
            penalty,
        )  # fmt: skip

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
        Parameters [b, p] and losses [b].
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
    together = int(np.clip(NUMBERS_TOGETHER // (size * batch.y.shape[1]), 1, MOST_ROWS_TOGETHER))
    ends, losses = _in_chunks(
        lambda rows: refine(batch.rows(owner[rows]), starts[rows]), len(starts), together
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
        one = batch.rows(np.array([0]))
        starts = np.clip(batch.form.starts(batch.x, batch.y[:1]), batch.low[0], batch.high[0])
        values = _rough_losses(one, starts)[0]
        scores = batch.weights @ values.T
        if one.penalty:
            scores = scores + one.penalty.losses(starts)
        return np.asarray(starts[0][_smallest(scores, refined)])
    together = int(np.clip(POINTS_SCORED_TOGETHER // batch.y.shape[1], 1, MOST_SCORED_TOGETHER))
    return _in_chunks(lambda rows: (_scored(batch.rows(rows), refined),), len(batch.y), together)[0]


def _scored(batch: Batch, refined: int) -> Array:
    """The best starts of rows that differ in their targets, bounds or penalties."""
    low, high = batch.low[:, None, :], batch.high[:, None, :]
    starts = np.clip(batch.form.starts(batch.x, batch.y), low, high)
    values = _rough_losses(batch, starts)
    scores = (batch.weights[:, None, :] * values).sum(axis=-1)
    if batch.penalty:
        scores = scores + batch.penalty.losses(starts)
    return np.take_along_axis(starts, _smallest(scores, refined)[..., None], axis=1)


def _rough_losses(batch: Batch, starts: Array) -> Array:
    """Losses to choose starts by, [b, s, n]: squares for counts, whose likelihood costs much."""
    states = states_of(batch, starts)
    if batch.likelihood:
        return (states - batch.y[:, None, :]) ** 2
    return huber(states, batch.huber_delta)


def _same_but_for_weights(batch: Batch) -> bool:
    """Whether rows share targets and bounds (bootstrap of cases): then starts are scored once."""
    if batch.penalty and not batch.penalty.same_for_all:
        return False
    parts = (batch.y, batch.low, batch.high)
    return all((part == part[:1]).all() for part in parts)


def _smallest(scores: Array, count: int) -> NDArray[np.int64]:
    return np.argsort(scores, axis=1, kind="stable")[:, :count]


def refine(batch: Batch, parameters: Array) -> tuple[Array, Array]:
    """Levenberg-Marquardt steps, each row with its own damping, until no row gains."""
    parameters = parameters.copy()
    damping = np.full(len(parameters), FIRST_DAMPING)
    states = states_of(batch, parameters)
    losses = _loss(batch, parameters, states)
    active = np.arange(len(parameters))
    for _ in range(ITERATIONS_OF_COUNTS if batch.likelihood else ITERATIONS):
        problem, here = batch.rows(active), parameters[active]
        step = _step(problem, here, states[active], damping[active])
        proposal = np.clip(here + step, problem.low, problem.high)
        proposed_states = states_of(problem, proposal)
        proposed = _loss(problem, proposal, proposed_states)
        gain = losses[active] - proposed
        better = gain > 0
        moved = active[better]
        parameters[moved], losses[moved] = proposal[better], proposed[better]
        states[moved] = proposed_states[better]
        damping[active] = np.where(better, damping[active] * 0.1, damping[active] * 6)
        damping = damping.clip(SMALLEST_DAMPING)
        little = SETTLED_NATS * batch.y.shape[1] if batch.likelihood else SETTLED * proposed
        settled = better & (gain < little) | (damping[active] > LARGEST_DAMPING)
        active = active[~settled & (losses[active] > 0)]
        if len(active) == 0:
            break
    return parameters, losses


def _step(batch: Batch, parameters: Array, states: Array, damping: Array) -> Array:
    """The damped Newton step; parameters that push against a bound stay where they are."""
    if batch.likelihood:
        gradient, sharp, safe = _count_derivatives(batch, parameters, states)
        normal = sharp + damping[:, None, None] * safe
    else:
        gradient, normal = _huber_derivatives(batch, parameters, states, damping)
    if batch.penalty:
        slope, curvature = batch.penalty.derivatives(parameters)
        gradient = gradient + slope
        normal = normal + (1 + damping[:, None, None]) * curvature
    free = free_of(batch, parameters, gradient)
    normal = normal * (free[:, :, None] & free[:, None, :])
    diagonal = np.einsum("bpp->bp", normal)
    # Without curvature in a direction (a term that vanished) the step there must not blow up.
    ridge = np.where(diagonal > 1e-14, (1e-12 + 1e-3 * damping[:, None]) * diagonal, 1.0)
    normal = normal + ridge[..., None] * np.eye(normal.shape[-1])
    return np.asarray(np.linalg.solve(normal, -(gradient * free)[..., None])[..., 0], float)


def _huber_derivatives(
    batch: Batch, parameters: Array, residuals: Array, damping: Array
) -> tuple[Array, Array]:
    """Gradient [b, p] and damped curvature [b, p, p] of the Huber loss."""
    jacobian = _jacobian(batch, parameters, residuals)
    size = np.abs(residuals)
    squared = batch.weights * (size <= batch.huber_delta)
    reweighted = batch.weights * np.minimum(1, batch.huber_delta / size.clip(1e-300))
    gradient = np.einsum("bpn,bn->bp", jacobian, reweighted * residuals)
    curvature = squared + damping[:, None] * reweighted
    return gradient, (jacobian * curvature[:, None, :]) @ jacobian.swapaxes(1, 2)


def _count_derivatives(
    batch: Batch, parameters: Array, means: Array
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Gradient and two curvatures of a likelihood of counts: its own, and one without bends.

    By the mean it is the expected curvature, which for a sigmoid is close to that of the whole
    (where every answer is right the loss's own would leave out that of the curve). The loss is not
    convex in ln s, where its slopes squared stand in.
    """
    assert batch.likelihood is not None
    slopes = batch.likelihood.slopes(batch.y, means, parameters[:, -1:])
    by_mean, by_s, _, mean_s, s_s = (batch.weights * slope for slope in slopes)
    mean_mean = batch.weights * batch.likelihood.information(means, parameters[:, -1:])
    jacobian = batch.form.gradient(parameters, batch.x)
    gradient = np.einsum("bpn,bn->bp", jacobian, by_mean)
    gradient[:, -1] += by_s.sum(axis=1)
    safe = (jacobian * mean_mean[:, None, :]) @ jacobian.swapaxes(1, 2)
    sharp = safe.copy()
    crossed = np.einsum("bpn,bn->bp", jacobian, mean_s)
    sharp[:, -1, :] += crossed
    sharp[:, :, -1] += crossed
    own, stand_in = s_s.sum(axis=1), (batch.weights * slopes[1] ** 2).sum(axis=1)
    sharp[:, -1, -1] = np.where(own > 0, own, stand_in)
    safe[:, -1, -1] = stand_in + np.abs(own)
    return gradient, sharp, safe


def free_of(batch: Batch, parameters: Array, gradient: Array) -> NDArray[np.bool_]:
    """Which parameters may move: not held, and not pushed against a bound, [b, p]."""
    at_low = (parameters <= batch.low) & (gradient > 0)
    at_high = (parameters >= batch.high) & (gradient < 0)
    return ~(at_low | at_high | (batch.low == batch.high))


def gradient_of(batch: Batch, parameters: Array) -> Array:
    """The derivative of each row's loss by its parameters, [b, p]."""
    states = states_of(batch, parameters)
    if batch.likelihood:
        gradient = _count_derivatives(batch, parameters, states)[0]
    else:
        clipped = states.clip(-batch.huber_delta, batch.huber_delta)
        jacobian = _jacobian(batch, parameters, states)
        gradient = np.einsum("bpn,bn->bp", jacobian, batch.weights * clipped)
    return gradient + batch.penalty.derivatives(parameters)[0] if batch.penalty else gradient


def curvature_of(batch: Batch, parameters: Array) -> Array:
    """The Gauss-Newton curvature of each row's loss, Huber's bends taken as squares, [b, p, p]."""
    states = states_of(batch, parameters)
    if batch.likelihood:
        curvature = _count_derivatives(batch, parameters, states)[1]
    else:
        jacobian = _jacobian(batch, parameters, states)
        curvature = (jacobian * batch.weights[:, None, :]) @ jacobian.swapaxes(1, 2)
    return curvature + batch.penalty.derivatives(parameters)[1] if batch.penalty else curvature


def _jacobian(batch: Batch, parameters: Array, residuals: Array) -> Array:
    """Derivatives of the residuals, [b, p, n]."""
    jacobian = batch.form.gradient(parameters, batch.x)
    if batch.errors is not None:
        jacobian = jacobian / batch.errors
    elif batch.form.scale == "log error":
        jacobian *= (np.exp(-residuals) / batch.y)[:, None, :]
    return jacobian


def states_of(batch: Batch, parameters: Array) -> Array:
    """What a point's loss depends on: its residual or, for counts, its mean, [b, ..., n]."""
    if batch.likelihood:
        return batch.form.curve(parameters, batch.x).clip(EDGE, 1 - EDGE)
    return residuals_of(batch, parameters)


def residuals_of(batch: Batch, parameters: Array) -> Array:
    """Prediction minus target on the residuals' scale, [b, ..., n] for parameters [b, ..., p]."""
    predicted = batch.form.curve(parameters, batch.x)
    target = batch.y if parameters.ndim == 2 else batch.y[:, None, :]
    if batch.errors is not None:
        return (predicted - target) / batch.errors
    if batch.form.scale == "log error":
        return np.log(predicted.clip(SMALLEST_ERROR) / target)
    return predicted - target


def huber(residuals: Array, delta: float) -> Array:
    """Huber's loss of each residual: r^2 / 2 up to delta, delta (|r| - delta / 2) beyond."""
    size = np.abs(residuals)
    near = np.minimum(size, delta)
    return near * (size - 0.5 * near)


def point_losses(batch: Batch, parameters: Array, states: Array) -> Array:
    """The loss of each point, [b, n]."""
    if batch.likelihood is None:
        return huber(states, batch.huber_delta)
    return batch.likelihood.losses(batch.y, states, parameters[:, -1:])


def losses_of(batch: Batch, parameters: Array) -> Array:
    """The loss of each row at its parameters, [b]."""
    return _loss(batch, parameters, states_of(batch, parameters))


def _loss(batch: Batch, parameters: Array, states: Array) -> Array:
    losses = np.einsum("bn,bn->b", batch.weights, point_losses(batch, parameters, states))
    return losses + batch.penalty.losses(parameters) if batch.penalty else losses
