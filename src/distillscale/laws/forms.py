"""The functional forms of the laws, as data.

A form is a curve with named parameters. Everything that fits, stores or prints laws works from
`FORMS`; a new form is a new entry (its curve, its derivatives, where to look for its parameters).

Shapes: parameters [..., p], predictions [..., n], derivatives [..., p, n]; x [n], or [k, n] for a
form of k inputs.
"""

from collections.abc import Mapping
from itertools import product

import numpy as np
from scipy.special import expit

from distillscale.laws.arrays import Array
from distillscale.laws.curved_forms import BROKEN, RECTIFIED
from distillscale.laws.form import LARGEST_EXPONENT, Form, Parameter
from distillscale.laws.joint_forms import (
    ADDITIVE,
    MULTIPLICATIVE,
    PRUNED,
    PRUNED_ONE_TEACHER,
)

STEEPNESS = (0.1, 50.0)


def power_law(parameters: Array, x: Array) -> Array:
    """Error that falls as a power of data or size towards a floor: e_inf + B x^-beta.

    Intuition: each doubling of x removes the same share, 1 - 2^-beta, of the error that can be
    removed at all; e_inf cannot (ambiguous headlines; what a student of this kind never learns).
    Source: the terms of Hoffmann et al. 2022 ("Chinchilla", approach 3), taken one at a time.
    Bounds: e_inf in [0, largest error], B >= 0, beta in [0, 5] (5 is an assumption; Chinchilla's
    own exponents are about 0.3, and a much steeper curve is a step over the ranges measured here).
    Units: e_inf and B in the error's unit (B is the removable error at x = 1, far outside any
    measured range, so its interval is wide by nature); beta has none.
    """
    floor, factor, exponent = np.moveaxis(parameters[..., None, :], -1, 0)
    return floor + factor * np.exp(-exponent * np.log(x))


def _power_gradient(parameters: Array, x: Array) -> Array:
    _, factor, exponent = np.moveaxis(parameters[..., None, :], -1, 0)
    logarithm = np.log(x)
    power = np.exp(-exponent * logarithm)
    return np.stack([np.ones_like(power), power, -factor * power * logarithm], axis=-2)


def _power_rescale(parameters: Array, factor: float) -> Array:
    scaled = parameters.copy()
    scaled[..., 1] *= factor ** parameters[..., 2]
    return scaled


def _power_starts(x: Array, y: Array) -> Array:
    """A grid over exponent and floor; the factor that suits both is a geometric mean."""
    starts = []
    for exponent, share in product([0.05, 0.15, 0.3, 0.5, 0.8, 1.2, 2, 3.5], [0, 0.4, 0.7, 0.95]):
        floor = share * y.min(axis=1)
        factor = np.exp(np.mean(np.log(y - floor[:, None]) + exponent * np.log(x), axis=1))
        starts.append(np.stack([floor, factor, np.full_like(floor, exponent)], axis=-1))
    return np.stack(starts, axis=1)


def _power_bounds(_x: Array, y: Array, _fixed: Mapping[str, float]) -> Array:
    return np.array([[0, y.max()], [0, np.inf], [0, LARGEST_EXPONENT]])


def _power_limits(_x: Array, y: Array, _fixed: Mapping[str, float]) -> Array:
    """The floor lies below the smallest error in any case: knowing only that is not knowing it."""
    return np.array([[0, y.min()], [0, np.inf], [0, LARGEST_EXPONENT]])


def _power_form(name: str, variable: str, unit: str, factor: str, exponent: str) -> Form:
    return Form(
        name=name,
        formula=f"err({variable}) = e_inf + {factor} {variable}^-{exponent}",
        source="Hoffmann et al. 2022 (Chinchilla), one term at a time; design of distillscale",
        scale="log error",
        parameters=(
            Parameter("e_inf", f"error that no {unit} remove", "error"),
            Parameter(factor, f"removable error at {variable} = 1", "error", rests_on=exponent),
            Parameter(exponent, f"how fast error falls with {unit}", "none", open_high=True),
        ),
        curve=power_law,
        gradient=_power_gradient,
        rescale=_power_rescale,
        starts=_power_starts,
        bounds=_power_bounds,
        limits=_power_limits,
        linear=("e_inf", factor),
    )


def collapse_law(parameters: Array, x: Array) -> Array:
    """General knowledge that breaks down: c + (s0 - c) sigmoid(k (ln r - ln r*)).

    Intuition: knowledge holds while enough of the network is kept, then falls to guessing; r* is
    the ratio at which half of what lies above chance is lost, k how abrupt that is (the share of
    it that a one-percent cut at r* costs is k / 4 percent).
    Source: design of distillscale, for the collapse that arXiv 2606.24747 describes; the logistic
    shape is an assumption, the benchmark's chance level c is known and not fitted.
    Bounds: s0 in [c, 1], r* from a tenth of the smallest to twice the largest measured ratio,
    k in [0.1, 50] (assumptions: outside them the curve is flat or a step over what was measured).
    Units: s0 and c are scores, r* a share of the teacher's parameters, k has none.
    """
    score, ratio, steepness, chance = np.moveaxis(parameters[..., None, :], -1, 0)
    return chance + (score - chance) * expit(steepness * np.log(x / ratio))


def _collapse_gradient(parameters: Array, x: Array) -> Array:
    score, ratio, steepness, chance = np.moveaxis(parameters[..., None, :], -1, 0)
    kept = expit(steepness * np.log(x / ratio))
    slope = (score - chance) * kept * (1 - kept)
    return np.stack(
        [kept, -slope * steepness / ratio, slope * np.log(x / ratio), 1 - kept], axis=-2
    )


def _collapse_rescale(parameters: Array, factor: float) -> Array:
    scaled = parameters.copy()
    scaled[..., 1] *= factor
    return scaled


def _collapse_starts(x: Array, y: Array) -> Array:
    """A grid over the three fitted parameters; chance (0 here) is put in by its bounds."""
    best = y.max(axis=1)
    ratios = np.geomspace(x.min() / 4, x.max(), 10)
    starts = [
        np.stack([score, np.full_like(best, r), np.full_like(best, k), np.zeros_like(best)], -1)
        for score, r, k in product([best, (1 + best) / 2], ratios, [0.7, 1.5, 3, 6, 12, 25])
    ]
    return np.stack(starts, axis=1)


def _collapse_bounds(x: Array, _y: Array, fixed: Mapping[str, float]) -> Array:
    chance = fixed["chance"]
    return np.array([[chance, 1], [x.min() / 10, 2 * x.max()], STEEPNESS, [chance, chance]])


COLLAPSE = Form(
    name="collapse",
    formula="score(r) = c + (s0 - c) sigmoid(k (ln r - ln r*))",
    source="design of distillscale, after the collapse in arXiv 2606.24747",
    scale="score",
    parameters=(
        Parameter("s0", "score before the collapse", "score"),
        Parameter("r_star", "collapse ratio: half lost", "share", open_low=True, open_high=True),
        Parameter("k", "steepness of the collapse", "none", open_low=True, open_high=True),
        Parameter("chance", "score of guessing", "score", fixed=True),
    ),
    curve=collapse_law,
    gradient=_collapse_gradient,
    rescale=_collapse_rescale,
    starts=_collapse_starts,
    bounds=_collapse_bounds,
    limits=_collapse_bounds,
)

FORMS: dict[str, Form] = {
    "data": _power_form("data", "D", "examples", "B", "beta"),
    "size": _power_form("size", "N", "parameters", "A", "alpha"),
    "collapse": COLLAPSE,
    "rectified": RECTIFIED,
    "broken": BROKEN,
    "additive": ADDITIVE,
    "multiplicative": MULTIPLICATIVE,
    "pruned": PRUNED,
    "pruned_one_teacher": PRUNED_ONE_TEACHER,
}
