"""Whether a fit is the best one: evidence, because an optimiser's "success" is none.

Optimisers of scaling laws stop early and report success (Besiroglu et al. 2024 on Hoffmann et al.
2022). A certificate says what can be checked: that the loss is flat at the estimate, how many
starts end there, what the best other basin costs, and where another algorithm ends.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, minimize

from distillscale.laws.arrays import Array
from distillscale.laws.solve import (
    Batch,
    free_of,
    gradient_of,
    losses_of,
    refine,
    solve_from_starts,
)

STARTS = 32
# Losses are the same within this share of themselves.
SAME_LOSS = 1e-6
# At the optimum a parameter that changes by a share s changes the loss by a smaller share than this
# times s.
FLAT = 1e-3
# Residuals this small are rounding: a loss that is nothing but them is not divided by.
ROUNDING, ROUNDING_OF_STANDARD_ERRORS = 1e-5, 1e-3
OTHER_SOLVER_RESTARTS = 5


@dataclass(frozen=True)
class Certificate:
    """Evidence that an estimate minimises the loss.

    Attributes:
        loss: Huber's loss at the estimate, or minus the log likelihood of counts.
        delta: Huber's delta; None for counts.
        gradient: the largest relative change of the loss for a relative change of one parameter;
            parameters that push against a bound are left out. A log likelihood, whose zero means
            nothing, is measured by the number of points.
        starts: how many starts were followed to their end.
        reached: share of them that end at the estimate's loss (within a millionth).
        second_basin: by which share the loss is larger in the best other minimum that a start
            ended in; None if there was no other.
        other_solver: by which share the loss is larger where L-BFGS-B ends, from a start of the
            grid; negative if it found a better place.
    """

    loss: float
    delta: float | None
    gradient: float
    starts: int
    reached: float
    second_basin: float | None
    other_solver: float

    @property
    def doubts(self) -> tuple[str, ...]:
        """What speaks against the estimate, in words; empty if nothing does."""
        found = []
        if self.gradient > FLAT:
            found.append(f"the loss is not flat at the estimate (gradient {self.gradient:.1e})")
        if self.reached * self.starts < 2:
            found.append(f"only one of {self.starts} starts ends at the estimate")
        if self.other_solver < -SAME_LOSS:
            found.append(f"L-BFGS-B ends {-self.other_solver:.1e} lower")
        return tuple(found)


def certify(batch: Batch, starts: int = STARTS) -> tuple[Array, Certificate]:
    """Solve one problem with care.

    Args:
        batch: the problem (b = 1).
        starts: how many starts of the form's grid are followed.

    Returns:
        The parameters [p], at the best place that any start or either solver found, and the
        certificate.
    """
    ends, losses = solve_from_starts(batch, starts)
    ends, losses = ends[0], losses[0]
    best, loss = ends[losses.argmin()], float(losses.min())
    other, other_loss = _other_solver(batch, ends[0], _grid_start(batch))
    unit = float(_unit(batch, losses.min(keepdims=True))[0])
    other_excess = (other_loss - loss) / unit
    if other_excess < -SAME_LOSS:
        polished, polished_loss = refine(batch, other[None])
        best, loss = polished[0], float(polished_loss[0])
    excess = (losses - loss) / unit
    return best, Certificate(
        loss=loss,
        delta=None if batch.likelihood else batch.huber_delta,
        gradient=float(_steepness(batch, best[None])[0]),
        starts=len(losses),
        reached=float((excess <= SAME_LOSS).mean()),
        second_basin=_second_basin(batch, ends, excess),
        other_solver=float(other_excess),
    )


def _grid_start(batch: Batch) -> Array:
    """The second-best start where there are several: not the one that the first solver likes."""
    starts = batch.form.starts(batch.x, batch.y)[0].clip(batch.low[0], batch.high[0])
    many = batch.rows(np.zeros(len(starts), dtype=int))
    return starts[np.argsort(losses_of(many, starts))[:2][-1]]


def _second_basin(batch: Batch, ends: Array, excess: Array) -> float | None:
    """The least excess of the starts that ended elsewhere, at a place that is flat too."""
    many = batch.rows(np.zeros(len(ends), dtype=int))
    elsewhere = (excess > SAME_LOSS) & (_steepness(many, ends) < FLAT)
    return float(excess[elsewhere].min()) if elsewhere.any() else None


def _steepness(batch: Batch, parameters: Array) -> Array:
    """The largest relative change of each loss for a relative change of a parameter, [b]."""
    gradient = gradient_of(batch, parameters)
    free = free_of(batch, parameters, gradient)
    unit = _unit(batch, losses_of(batch, parameters))
    return np.abs(gradient * parameters * free).max(axis=1) / unit


def _unit(batch: Batch, losses: Array) -> Array:
    """By what changes of these losses, [b], are measured."""
    points = batch.weights[:1].sum()
    if batch.likelihood:
        return np.full_like(losses, points)
    rounding = ROUNDING if batch.errors is None else ROUNDING_OF_STANDARD_ERRORS
    return losses + points * 0.5 * rounding**2


def _other_solver(batch: Batch, scale: Array, start: Array) -> tuple[Array, float]:
    """L-BFGS-B, started anew until it gains nothing: it stops early on a loss with kinks.

    Parameters are divided by `scale`, the loss by its value at the start.
    """
    scale = np.where(np.abs(scale) > 1e-6, np.abs(scale), 1.0)
    unit = max(float(losses_of(batch, start[None])[0]), 1e-300)

    def value(scaled: Array) -> tuple[float, Array]:
        place = (scaled * scale)[None]
        return float(losses_of(batch, place)[0]) / unit, gradient_of(batch, place)[0] * scale / unit

    bounds = Bounds(batch.low[0] / scale, batch.high[0] / scale)
    place, loss = start / scale, 1.0
    for _ in range(OTHER_SOLVER_RESTARTS):
        result = minimize(
            value, place, jac=True, method="L-BFGS-B", bounds=bounds,
            options={"maxiter": 300, "ftol": 1e-15, "gtol": 1e-12, "maxls": 50},
        )  # fmt: skip
        gain = loss - result.fun
        if gain > 0:
            place, loss = result.x, float(result.fun)
        if gain <= SAME_LOSS * 1e-2 * loss:
            break
    return place * scale, loss * unit
