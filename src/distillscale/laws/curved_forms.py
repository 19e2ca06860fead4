"""Power laws of one input that bend: where a fine-tuned model starts from, and where one breaks."""

from collections.abc import Mapping
from itertools import product

import numpy as np
from scipy.special import expit

from distillscale.laws.arrays import Array
from distillscale.laws.form import LARGEST_EXPONENT, Form, Parameter
from distillscale.laws.projection import project

# Assumptions: what the model knew is worth at most a thousand times the removable power at the
# middle of the range; a break is as sharp as a twentieth of an e-fold or as soft as five.
LARGEST_HEAD_START = 1e3
BREAK_WIDTHS = (0.05, 5.0)


def rectified(parameters: Array, x: Array) -> Array:
    """Fine-tuning error that starts flat: E + B / (D_l + D^beta).

    Intuition: what a pretrained model already knows is worth D_l^(1/beta) examples; with fewer than
    these little changes, with many more a power law is left.
    Source: Lin et al. 2024 ("Selecting LLM to fine-tune via rectified scaling law").
    Bounds: E in [0, largest y], B >= 0, D_l in [0, 1000] at x / reference, beta in [0, 5].
    """
    floor, factor, head_start, beta = np.moveaxis(parameters[..., None, :], -1, 0)
    return floor + factor / (head_start + np.exp(beta * np.log(x)))


def _rectified_gradient(parameters: Array, x: Array) -> Array:
    _, factor, head_start, beta = np.moveaxis(parameters[..., None, :], -1, 0)
    logarithm = np.log(x)
    power = np.exp(beta * logarithm)
    term = 1 / (head_start + power)
    slope = -factor * term**2
    return np.stack([np.ones_like(term), term, slope, slope * power * logarithm], axis=-2)


def _rectified_rescale(parameters: Array, factor: float) -> Array:
    scaled = parameters.copy()
    power = factor ** parameters[..., 3]
    scaled[..., 1] *= power
    scaled[..., 2] *= power
    return scaled


def _rectified_starts(x: Array, y: Array) -> Array:
    shapes = np.array(
        list(product((0.0, 0.1, 0.3, 1, 3, 10), (0.1, 0.2, 0.35, 0.5, 0.8, 1.2, 2.0)))
    )
    return project(rectified, _rectified_gradient, 2, shapes, x, y)


def _rectified_limits(highest: float) -> Array:
    return np.array([[0, highest], [0, np.inf], [0, LARGEST_HEAD_START], [0, LARGEST_EXPONENT]])


RECTIFIED = Form(
    name="rectified",
    formula="err(D) = E + B / (D_l + D^beta)",
    source="Lin et al. 2024 (rectified scaling law)",
    scale="log error",
    parameters=(
        Parameter("E", "error that no data remove", "error"),
        Parameter("B", "removable error, times D_l + 1, at D = 1", "error", rests_on="beta"),
        Parameter("D_l", "what was known before, as D^beta", "none", rests_on="beta"),
        Parameter("beta", "how fast error falls with many data", "none", open_high=True),
    ),
    curve=rectified,
    gradient=_rectified_gradient,
    rescale=_rectified_rescale,
    starts=_rectified_starts,
    bounds=lambda _x, y, _fixed: _rectified_limits(y.max()),
    limits=lambda _x, y, _fixed: _rectified_limits(y.min()),
    inputs=("D",),
    linear=("E", "B"),
)


def broken(parameters: Array, x: Array) -> Array:
    """A power law whose slope changes once: E + B x^-c0 (1 + (x / d)^(1 / f))^(-c1 f).

    Intuition: the exponent is c0 well before x = d and c0 + c1 well after; f is how many e-folds
    the change takes.
    Source: Caballero et al. 2022 ("Broken neural scaling laws"), one break.
    Bounds: E in [0, largest y], B >= 0, c0 in [0, 5], c1 in [-5, 5], d inside the measured range,
    f in [0.05, 5].
    """
    floor, factor, before, change, place, width = np.moveaxis(parameters[..., None, :], -1, 0)
    beyond = np.logaddexp(0, np.log(x / place) / width)
    return floor + factor * np.exp(-before * np.log(x) - change * width * beyond)


def _broken_gradient(parameters: Array, x: Array) -> Array:
    _, factor, before, change, place, width = np.moveaxis(parameters[..., None, :], -1, 0)
    distance = np.log(x / place) / width
    beyond, share = np.logaddexp(0, distance), expit(distance)
    term = np.exp(-before * np.log(x) - change * width * beyond)
    slope = factor * term
    return np.stack(
        [np.ones_like(term), term, -slope * np.log(x), -slope * width * beyond,
         slope * change * share / place, -slope * change * (beyond - distance * share)],
        axis=-2,
    )  # fmt: skip


def _broken_rescale(parameters: Array, factor: float) -> Array:
    scaled = parameters.copy()
    scaled[..., 1] *= factor ** parameters[..., 2]
    scaled[..., 4] *= factor
    return scaled


def _broken_starts(x: Array, y: Array) -> Array:
    places = np.exp(np.quantile(np.log(x), [0.2, 0.4, 0.6, 0.8]))
    shapes = np.array(list(product((0.1, 0.3, 0.8), (-0.3, 0.3, 1.0), places, (0.1, 0.5))))
    return project(broken, _broken_gradient, 2, shapes, x, y)


def _broken_bounds(x: Array, y: Array, _fixed: Mapping[str, float]) -> Array:
    return _broken_limits(x, y.max())


def _broken_limits(x: Array, highest: float) -> Array:
    return np.array(
        [[0, highest], [0, np.inf], [0, LARGEST_EXPONENT], [-LARGEST_EXPONENT, LARGEST_EXPONENT],
         [x.min(), x.max()], BREAK_WIDTHS]
    )  # fmt: skip


BROKEN = Form(
    name="broken",
    formula="err(x) = E + B x^-c0 (1 + (x / d)^(1 / f))^(-c1 f)",
    source="Caballero et al. 2022 (broken neural scaling laws), one break",
    scale="log error",
    parameters=(
        Parameter("E", "error that no x removes", "error"),
        Parameter("B", "removable error at x = 1", "error", rests_on="c0"),
        Parameter("c0", "exponent before the break", "none", open_high=True),
        Parameter("c1", "change of the exponent", "none", open_low=True, open_high=True),
        Parameter("d", "where it breaks", "x", open_low=True, open_high=True),
        Parameter("f", "how many e-folds the break takes", "none", open_low=True, open_high=True),
    ),
    curve=broken,
    gradient=_broken_gradient,
    rescale=_broken_rescale,
    starts=_broken_starts,
    bounds=_broken_bounds,
    limits=lambda x, y, _fixed: _broken_limits(x, y.min()),
    linear=("E", "B"),
)
