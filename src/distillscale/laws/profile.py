"""Profile likelihood: which values of one parameter fit about as well as the best one.

The parameter is held at each of a row of values and all others are fitted again. Where a profile
reaches the end of what was possible, the honest answer is a bound (`E <= 0.12`) or nothing at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from distillscale.laws.arrays import Array
from distillscale.laws.form import Form
from distillscale.laws.solve import (
    Batch,
    curvature_of,
    huber,
    losses_of,
    residuals_of,
    solve,
)

GRID = np.linspace(0, 1, 13) ** 2  # across the limits; finer near the low end
STEPS = np.array([0.3, 0.7, 1, 1.4, 2, 2.8, 4, 6, 10, 20])  # in curvature standard errors
# A change of predictions by one in ten thousand never counts as evidence.
NEGLIGIBLE_RESIDUAL = 1e-4
# How near the end of its limits (as a share of their width) a profile counts as reaching it.
NEAR_LOW, NEAR_HIGH = 0.005, 0.03


@dataclass(frozen=True)
class Profile:
    """The values of a parameter that fit about as well as the best one.

    `reaches_low` and `reaches_high`: they go on to the end of what was possible or searched, so
    that end is no finding.
    """

    low: float
    high: float
    reaches_low: bool
    reaches_high: bool

    def bound(self, name: str) -> str:
        """The parameter's bound in words where only one side is known, else an empty text."""
        if self.reaches_low and not self.reaches_high:
            return f"{name} <= {self.high:.3g}"
        if self.reaches_high and not self.reaches_low:
            return f"{name} >= {self.low:.3g}"
        return ""


def profiles(
    batch: Batch,
    best: Array,
    limits: Array,
    level: float,
    allowed: Mapping[str, float] | None = None,
) -> dict[str, Profile]:
    """The profile of each fitted parameter that has a meaning of its own.

    Values count whose loss stays within the likelihood-ratio bound of Huber's estimate: twice the
    difference of losses, times mean psi' / mean psi^2, is about F(1, points - parameters) times
    one (Ronchetti 1982; with least squares it is the ordinary F test). Where the noise is known (a
    likelihood of counts, residuals in standard errors) it counts as no smaller than that.

    Args:
        batch: the one problem (b = 1) that was solved.
        best: its parameters, [p].
        limits: [p, 2].
        level: of the intervals.
        allowed: how much larger than the best a loss may be, by parameter, where errors are known
            not to be independent (see `uncertainty`); None: the bound above.
    """
    form = batch.form
    # A floor of one group may lie above the smallest value of another: then up to the bounds.
    beyond = best[:, None] > limits[:, 1:]
    limits = np.where(beyond & [[False, True]], batch.high[0][:, None], limits)
    searched = [
        j
        for j, p in enumerate(form.parameters)
        if not (p.fixed or p.nuisance) and p.rests_on is None
    ]
    grids = [_values(batch, best, j, limits[j]) for j in searched]
    owner = np.repeat(searched, [len(grid) for grid in grids])
    held = batch.rows(np.zeros(len(owner), dtype=int))
    row = np.arange(len(owner))
    held.low[row, owner] = held.high[row, owner] = np.concatenate(grids)
    losses = solve(held, refined=2, also=best)[1]
    loss = float(losses_of(batch, best[None])[0])
    usual = _allowed(batch, best, level) if allowed is None else 0.0
    return {
        form.names[j]: _profile(
            grid,
            losses[owner == j] - loss,
            best[j],
            usual if allowed is None else allowed[form.names[j]],
            limits[j],
        )
        for j, grid in zip(searched, grids, strict=True)
    }


def _allowed(batch: Batch, best: Array, level: float) -> float:
    """How much larger than the best a loss may be."""
    count = batch.y.shape[1]
    spare = max(1, count - len(batch.form.free))
    quantile = float(stats.f.ppf(level, 1, spare))
    if batch.likelihood:
        return 0.5 * quantile
    negligible = huber(np.full(count, NEGLIGIBLE_RESIDUAL), batch.huber_delta).sum()
    variance = noise_variance(batch, best)
    if batch.errors is not None:
        variance = max(variance, 1.0)
    return float(0.5 * quantile * variance + negligible)


def noise_variance(batch: Batch, best: Array) -> float:
    """The variance that a unit of Huber's loss stands for: mean psi^2 / mean psi'."""
    residuals, delta = residuals_of(batch, best[None])[0], batch.huber_delta
    weights, count = batch.weights[0], len(residuals)
    spare = max(1, count - len(batch.form.free))
    noise = (weights * residuals.clip(-delta, delta) ** 2).sum() / spare
    slope = max(np.average(np.abs(residuals) <= delta, weights=weights), 1 / count)
    return float(noise / slope)


def _values(batch: Batch, best: Array, parameter: int, limits: Array) -> Array:
    """Where a profile is computed: across the limits, and around the estimate."""
    low, high = limits
    across = from_place(GRID, limits)
    step = _curvature_error(batch, best, parameter)
    around = best[parameter] + step * np.concatenate([-STEPS, STEPS]) if step else []
    values = np.unique(np.concatenate([across, around]))
    return values[(values >= low) & (values <= high)]


def _curvature_error(batch: Batch, best: Array, parameter: int) -> float:
    """A standard error to choose steps by, from the loss's curvature; 0 where it has none."""
    free = np.array([not p.fixed for p in batch.form.parameters])
    place = int(free[:parameter].sum())
    curvature = curvature_of(batch, best[None])[0][np.ix_(free, free)]
    sizes = np.sqrt(np.einsum("pp->p", curvature).clip(1e-300))
    spread = np.linalg.pinv(curvature / np.outer(sizes, sizes), rcond=1e-12)[place, place]
    noise = 1.0
    if batch.likelihood is None:
        residuals = residuals_of(batch, best[None])
        noise = np.sqrt((residuals**2).mean()) + NEGLIGIBLE_RESIDUAL
    if sizes[place] < 1e-12:
        return 0.0
    return float(noise * np.sqrt(max(spread, 0.0)) / sizes[place])


def _profile(grid: Array, excess: Array, best: float, allowed: float, limits: Array) -> Profile:
    """Ends of the accepted values around the best one, interpolated between grid values."""
    low, high = limits
    best = float(np.clip(best, low, high))
    below, above = grid < best, grid > best
    lower = _crossing(best, grid[below][::-1], excess[below][::-1], allowed)
    upper = _crossing(best, grid[above], excess[above], allowed)
    at_low, at_high = place(lower, limits) <= NEAR_LOW, place(upper, limits) >= 1 - NEAR_HIGH
    return Profile(lower, upper, bool(at_low), bool(at_high))


def place(value: float, limits: Array) -> float:
    """Where between its limits a value lies, 0 to 1: by logarithms if neither limit is zero."""
    low, high = limits
    if low > 0:
        return float(np.log(value / low) / np.log(high / low)) if high > low else 0.0
    return float((value - low) / (high - low)) if high > low else 0.0


def from_place(places: Array, limits: Array) -> Array:
    """The values that lie at these places between the limits: the inverse of `place`."""
    low, high = limits
    return low * (high / low) ** places if low > 0 else low + (high - low) * places


def _crossing(best: float, values: Array, excess: Array, allowed: float) -> float:
    """Going outwards from the best value, where the excess passes what is allowed.

    Every accepted value counts, also beyond a rejected one: a profile may have two valleys. Between
    grid values the root of the excess is taken to be linear, as it is for a parabola.
    """
    accepted = np.flatnonzero(excess <= allowed)
    last = accepted[-1] if len(accepted) else -1
    if last == len(values) - 1:
        return float(values[-1]) if len(values) else best
    inner = (values[last], excess[last]) if last >= 0 else (best, 0.0)
    outer = (values[last + 1], excess[last + 1])
    roots = [np.sqrt(max(pair[1], 0.0)) for pair in (inner, outer)]
    share = (np.sqrt(allowed) - roots[0]) / (roots[1] - roots[0])
    return float(inner[0] + share * (outer[0] - inner[0]))


def scaled(profile: Profile, form: Form, best: Array, name: str, reference: Array) -> Profile:
    """A profile found at x / reference, as one at x (places such as r* scale with x)."""
    j = form.names.index(name)
    ends = np.tile(best, (2, 1))
    ends[:, j] = profile.low, profile.high
    low, high = form.rescale(ends, reference)[:, j]
    return Profile(float(low), float(high), profile.reaches_low, profile.reaches_high)
