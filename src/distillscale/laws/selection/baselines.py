"""What a law must beat to be worth having: forecasts that need no law."""

from collections.abc import Callable

import numpy as np
from scipy.stats import t as student

from distillscale.laws.arrays import Array
from distillscale.laws.selection.forecast import LEVEL, Forecast, Index
from distillscale.laws.selection.series import Series

Baseline = Callable[[Series, Index, Index], Forecast]


def last_point(series: Series, fitted: Index, out: Index) -> Forecast:
    """The nearest fitted points carried forward (their mean, where several are as near).

    Interval: a random walk in ln x, whose steps are those between the fitted levels.
    """
    measured = series.judged(series.value[fitted], fitted)
    logs = np.log(series.inputs)
    distance = np.linalg.norm(logs[:, out, None] - logs[:, None, fitted], axis=0)  # [m, n]
    nearest = distance <= distance.min(axis=1, keepdims=True) + 1e-2
    centre = (nearest * measured).sum(axis=1) / nearest.sum(axis=1)
    steps, variance = _walk(series, fitted, measured)
    spread = np.sqrt(variance * distance.min(axis=1))
    return _with_interval(series.of_judged, centre, spread, steps)


def power_law(series: Series, fitted: Index, out: Index) -> Forecast:
    """A straight line in ln(error) against ln(inputs): a power law without a floor.

    Interval: that of the linear regression.
    """
    y = series.log_error(series.value[fitted], fitted)
    design = np.vstack([np.ones(len(series)), np.log(series.inputs)]).T
    left, right = design[fitted], design[out]
    inverse = np.linalg.pinv(left.T @ left)
    coefficients = inverse @ left.T @ y
    spare = len(fitted) - left.shape[1]
    variance = float(((y - left @ coefficients) ** 2).sum()) / max(spare, 1)
    leverage = np.einsum("mi,ij,mj->m", right, inverse, right)
    return _with_interval(
        series.of_log_error, right @ coefficients, np.sqrt(variance * (1 + leverage)), spare
    )


def flat(series: Series, fitted: Index, out: Index) -> Forecast:
    """The mean of the fitted points (of ln error, where that is judged)."""
    y = series.judged(series.value[fitted], fitted)
    spare = len(fitted) - 1
    variance = float(((y - y.mean()) ** 2).sum()) / max(spare, 1) * (1 + 1 / len(fitted))
    spread = np.full(len(out), np.sqrt(variance))
    return _with_interval(series.of_judged, np.full(len(out), y.mean()), spread, spare)


BASELINES: dict[str, Baseline] = {"last point": last_point, "power law": power_law, "flat": flat}
DESCRIPTIONS = {
    "last point": "the last point",
    "power law": "the two-parameter power law",
    "flat": "the mean",
}


def parameters_of(baseline: str, inputs: int) -> int | None:
    """How many parameters a baseline has, for AICc; None: the last point is no fitted curve."""
    return {"flat": 1, "power law": 1 + inputs}.get(baseline)


def _walk(series: Series, fitted: Index, measured: Array) -> tuple[int, float]:
    """The steps between fitted levels: how many, and their mean square per unit of ln x."""
    levels = series.levels[fitted]
    counts = np.bincount(levels)
    means = np.bincount(levels, measured) / counts
    places = np.bincount(levels, np.log(series.places[fitted])) / counts
    if len(means) < 2:
        return 0, 0.0
    return len(means) - 1, float(np.mean(np.diff(means) ** 2 / np.abs(np.diff(places))))


def _with_interval(
    value_of: Callable[[Array], Array], centre: Array, spread: Array, freedom: int
) -> Forecast:
    """A forecast whose error is Student's t on the scale of `centre`; no interval without spare."""
    if freedom < 1:
        missing = np.full(len(centre), np.nan)
        return Forecast(value_of(centre), missing, missing)
    width = student.ppf((1 + LEVEL) / 2, freedom) * spread
    low, high = np.sort(np.stack([value_of(centre - width), value_of(centre + width)]), axis=0)
    return Forecast(value_of(centre), low, high)
