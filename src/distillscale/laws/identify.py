"""Which parameters the data determine, and in words why the others are not determined."""

import numpy as np
from scipy.stats import chi2

from distillscale.laws.arrays import Array
from distillscale.laws.forms import Form, Parameter
from distillscale.laws.solve import Batch, solve

PROFILE_VALUES = 13
# A change of predictions by one in ten thousand never counts as evidence.
NEGLIGIBLE_RESIDUAL = 1e-4

Range = tuple[float, float]


def too_few(form: Form, distinct: int) -> str:
    """The reason if there are too few different x for the form, else an empty text."""
    if distinct > len(form.free):
        return ""
    return f"{distinct} different x for {len(form.free)} parameters"


def profile_ranges(batch: Batch, loss: float, limits: Array, level: float) -> dict[str, Range]:
    """For each fitted parameter the range that fits about as well as the estimate.

    The parameter is held at each of a row of values inside its limits and the others are fitted
    again; values count whose loss stays within the likelihood-ratio bound, the noise being judged
    by the residuals (Chi-squared with one degree of freedom; a rough rule, as the points are few).

    Args:
        batch: the one problem (b = 1) that was solved.
        loss: its Huber loss at the estimate.
        limits: [p, 2].
    """
    form = batch.form
    searched = [j for j, p in enumerate(form.parameters) if not p.fixed and p.rests_on is None]
    spacing = np.linspace(0, 1, PROFILE_VALUES) ** 2  # finer near the low end
    grids = [limits[j, 0] + (limits[j, 1] - limits[j, 0]) * spacing for j in searched]
    held = batch.rows(np.zeros(len(searched) * PROFILE_VALUES, dtype=int))
    for place, (j, grid) in enumerate(zip(searched, grids, strict=True)):
        rows = slice(place * PROFILE_VALUES, (place + 1) * PROFILE_VALUES)
        held.low[rows, j] = held.high[rows, j] = grid
    losses = solve(held)[1].reshape(len(searched), PROFILE_VALUES)
    points = batch.y.shape[1]
    spare = max(1, points - len(form.free))
    allowed = loss * (1 + chi2.ppf(level, 1) / spare) + 0.5 * points * NEGLIGIBLE_RESIDUAL**2
    return {
        form.names[j]: _accepted(grid, row <= allowed)
        for j, grid, row in zip(searched, grids, losses, strict=True)
    }


def _accepted(grid: Array, fits: Array) -> Range:
    """Ends of the accepted values; an estimate between two grid values accepts none of them."""
    return (float(grid[fits].min()), float(grid[fits].max())) if fits.any() else (np.nan, np.nan)


def unidentified(
    form: Form, limits: Array, intervals: dict[str, Range | None], profiles: dict[str, Range]
) -> dict[str, str]:
    """The parameters that are not identified, each with the reason in words.

    Limits, intervals and profiles are all of the problem as it was solved (x / reference).
    """
    reasons: dict[str, str] = {}
    for parameter, (low, high) in zip(form.parameters, limits, strict=True):
        if parameter.fixed or parameter.rests_on:
            continue
        reason = _spans(parameter, intervals[parameter.name], low, high)
        if reason:
            reasons[parameter.name] = f"its interval {reason}"
            continue
        reason = _spans(parameter, profiles.get(parameter.name), low, high)
        if reason:
            reasons[parameter.name] = f"flat profile: the range that fits as well {reason}"
    for parameter in form.parameters:
        if parameter.rests_on in reasons:
            reasons[parameter.name] = f"rests on {parameter.rests_on}, which is not identified"
    return reasons


def _spans(parameter: Parameter, found: Range | None, low: float, high: float) -> str:
    """How a range fails to pin a parameter down between its limits; empty if it does."""
    if found is None or np.isnan(found[0]):
        return ""
    width = high - low
    at_low, at_high = found[0] <= low + 0.005 * width, found[1] >= high - 0.03 * width
    if found[1] - found[0] >= 0.9 * width:
        return "spans every value that was possible anyway"
    if at_high and parameter.open_high:
        return "reaches the largest value that was searched"
    if at_low and parameter.open_low:
        return "reaches the smallest value that was searched"
    return ""
