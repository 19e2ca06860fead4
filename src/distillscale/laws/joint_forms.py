"""Forms of several inputs: how size, data and pruning act together.

All are sums of non-negative terms, so the linear parameters come first and are projected out of
the search for starting points.
"""

from collections.abc import Mapping
from itertools import product

import numpy as np

from distillscale.laws.arrays import Array
from distillscale.laws.form import LARGEST_EXPONENT, Form, Parameter
from distillscale.laws.projection import project

EXPONENTS = (0.05, 0.12, 0.22, 0.35, 0.5, 0.75, 1.1, 1.8)


def additive(parameters: Array, x: Array) -> Array:
    """Size and data limit a model apart from each other: E + A N^-alpha + B D^-beta.

    Intuition: what a small model cannot hold and what a small dataset cannot teach add up.
    Source: Hoffmann et al. 2022 ("Chinchilla"), approach 3.
    Bounds: E in [0, largest y], A and B >= 0, exponents in [0, 5].
    Units: E, A, B in y's unit (A and B at N = 1 and D = 1, far outside any range).
    """
    floor, of_size, of_data, alpha, beta = np.moveaxis(parameters[..., None, :], -1, 0)
    size, data = np.log(x)
    return floor + of_size * np.exp(-alpha * size) + of_data * np.exp(-beta * data)


def _additive_gradient(parameters: Array, x: Array) -> Array:
    _, of_size, of_data, alpha, beta = np.moveaxis(parameters[..., None, :], -1, 0)
    size, data = np.log(x)
    gradient = np.empty((*parameters.shape, x.shape[-1]))
    gradient[..., 0, :] = 1
    gradient[..., 1, :] = np.exp(-alpha * size)
    gradient[..., 2, :] = np.exp(-beta * data)
    gradient[..., 3, :] = -of_size * size * gradient[..., 1, :]
    gradient[..., 4, :] = -of_data * data * gradient[..., 2, :]
    return gradient


def _additive_rescale(parameters: Array, factor: Array) -> Array:
    scaled = parameters.copy()
    scaled[..., 1] *= factor[0] ** parameters[..., 3]
    scaled[..., 2] *= factor[1] ** parameters[..., 4]
    return scaled


def _additive_starts(x: Array, y: Array) -> Array:
    shapes = np.array(list(product(EXPONENTS, EXPONENTS)))
    return project(additive, _additive_gradient, 3, shapes, x, y)


def _additive_limits(highest: float) -> Array:
    free, exponent = [0, np.inf], [0, LARGEST_EXPONENT]
    return np.array([[0, highest], free, free, exponent, exponent])


ADDITIVE = Form(
    name="additive",
    formula="L(N, D) = E + A N^-alpha + B D^-beta",
    source="Hoffmann et al. 2022 (Chinchilla), approach 3",
    scale="log error",
    parameters=(
        Parameter("E", "what neither size nor data remove", "error"),
        Parameter("A", "removed by size, at N = 1", "error", rests_on="alpha"),
        Parameter("B", "removed by data, at D = 1", "error", rests_on="beta"),
        Parameter("alpha", "how fast it falls with size", "none", open_high=True),
        Parameter("beta", "how fast it falls with data", "none", open_high=True),
    ),
    curve=additive,
    gradient=_additive_gradient,
    rescale=_additive_rescale,
    starts=_additive_starts,
    bounds=lambda _x, y, _fixed: _additive_limits(y.max()),
    limits=lambda _x, y, _fixed: _additive_limits(y.min()),
    inputs=("N", "D"),
    linear=("E", "A", "B"),
)


def multiplicative(parameters: Array, x: Array) -> Array:
    """Size and data work through each other: E + A N^-alpha D^-beta.

    Intuition: a larger model gets more out of each example, by the same share everywhere.
    Source: Zhang et al. 2024 ("When scaling meets LLM finetuning"), for fine-tuning.
    Bounds and units: as the additive law.
    """
    floor, factor, alpha, beta = np.moveaxis(parameters[..., None, :], -1, 0)
    size, data = np.log(x)
    return floor + factor * np.exp(-alpha * size - beta * data)


def _multiplicative_gradient(parameters: Array, x: Array) -> Array:
    _, factor, alpha, beta = np.moveaxis(parameters[..., None, :], -1, 0)
    size, data = np.log(x)
    term = np.exp(-alpha * size - beta * data)
    slope = factor * term
    return np.stack([np.ones_like(term), term, -slope * size, -slope * data], axis=-2)


def _multiplicative_rescale(parameters: Array, factor: Array) -> Array:
    scaled = parameters.copy()
    scaled[..., 1] *= factor[0] ** parameters[..., 2] * factor[1] ** parameters[..., 3]
    return scaled


def _multiplicative_starts(x: Array, y: Array) -> Array:
    shapes = np.array(list(product(EXPONENTS, EXPONENTS)))
    return project(multiplicative, _multiplicative_gradient, 2, shapes, x, y)


def _multiplicative_limits(highest: float) -> Array:
    return np.array([[0, highest], [0, np.inf], [0, LARGEST_EXPONENT], [0, LARGEST_EXPONENT]])


MULTIPLICATIVE = Form(
    name="multiplicative",
    formula="L(N, D) = E + A N^-alpha D^-beta",
    source="Zhang et al. 2024 (When scaling meets LLM finetuning)",
    scale="log error",
    parameters=(
        Parameter("E", "what neither size nor data remove", "error"),
        Parameter("A", "removable error at N = D = 1", "error", rests_on="alpha"),
        Parameter("alpha", "how fast it falls with size", "none", open_high=True),
        Parameter("beta", "how fast it falls with data", "none", open_high=True),
    ),
    curve=multiplicative,
    gradient=_multiplicative_gradient,
    rescale=_multiplicative_rescale,
    starts=_multiplicative_starts,
    bounds=lambda _x, y, _fixed: _multiplicative_limits(y.max()),
    limits=lambda _x, y, _fixed: _multiplicative_limits(y.min()),
    inputs=("N", "D"),
    linear=("E", "A"),
)


def pruned(parameters: Array, x: Array) -> Array:
    """Loss after pruning and training again: L0 + r^-gamma N0^-delta (A N0^-alpha + B D^-beta + E).

    Intuition: pruning opens a gap above the intact model's loss L0; training on D tokens closes
    part of it; the gap is wider the less is kept and the smaller the model was.
    Source: Chen et al. 2024, arXiv 2411.10272 ("P2 law"), form L_1, who write the pruning rate
    where we write the share kept r (an assumption: the power law is in either; ours makes gamma
    positive where a deeper cut costs more).
    Inputs: N0 parameters before pruning, D tokens, r share kept, L0 loss before pruning.
    Bounds: A, B, E >= 0; alpha, beta in [0, 5]; gamma, delta in [-5, 5].
    """
    floor, of_size, of_data, alpha, beta, gamma, delta = np.moveaxis(
        parameters[..., None, :], -1, 0
    )
    size, data, kept = np.log(x[:3])
    gap = floor + of_size * np.exp(-alpha * size) + of_data * np.exp(-beta * data)
    return x[3] + np.exp(-gamma * kept - delta * size) * gap


def _pruned_gradient(parameters: Array, x: Array) -> Array:
    floor, of_size, of_data, alpha, beta, gamma, delta = np.moveaxis(
        parameters[..., None, :], -1, 0
    )
    size, data, kept = np.log(x[:3])
    width = np.exp(-gamma * kept - delta * size)
    by_size, by_data = width * np.exp(-alpha * size), width * np.exp(-beta * data)
    gap = floor * width + of_size * by_size + of_data * by_data
    return np.stack(
        [width, by_size, by_data, -of_size * size * by_size, -of_data * data * by_data,
         -gap * kept, -gap * size],
        axis=-2,
    )  # fmt: skip


def _pruned_rescale(parameters: Array, factor: Array) -> Array:
    alpha, beta, gamma, delta = (parameters[..., j] for j in range(3, 7))
    common = factor[2] ** gamma * factor[0] ** delta
    scaled = parameters.copy()
    scaled[..., 0] *= common
    scaled[..., 1] *= common * factor[0] ** alpha
    scaled[..., 2] *= common * factor[1] ** beta
    return scaled


def _pruned_starts(x: Array, y: Array) -> Array:
    shapes = np.array(
        list(product((0.2, 0.6), (0.15, 0.4, 0.8), (-1.0, 0.3, 1.0, 2.0), (-0.3, 0.0, 0.3)))
    )
    return project(pruned, _pruned_gradient, 3, shapes, x, y)


def _pruned_bounds(_x: Array, _y: Array, _fixed: Mapping[str, float]) -> Array:
    free, exponent, either = [0, np.inf], [0, LARGEST_EXPONENT], [-LARGEST_EXPONENT, 5]
    return np.array([free, free, free, exponent, exponent, either, either])


PRUNED = Form(
    name="pruned",
    formula="L = L0 + r^-gamma N0^-delta (A N0^-alpha + B D^-beta + E)",
    source="Chen et al. 2024 (P2 law), arXiv 2411.10272",
    scale="log error",
    parameters=(
        Parameter("E", "gap that training does not close", "loss", rests_on="delta"),
        Parameter("A", "gap that depends on size", "loss", rests_on="alpha"),
        Parameter("B", "gap that data close", "loss", rests_on="beta"),
        Parameter("alpha", "how fast the gap falls with size", "none", open_high=True),
        Parameter("beta", "how fast the gap falls with data", "none", open_high=True),
        Parameter("gamma", "how the gap grows with the cut", "none", open_low=True, open_high=True),
        Parameter("delta", "how the whole gap falls with size", "none", open_low=True,
                  open_high=True),
    ),
    curve=pruned,
    gradient=_pruned_gradient,
    rescale=_pruned_rescale,
    starts=_pruned_starts,
    bounds=_pruned_bounds,
    limits=_pruned_bounds,
    inputs=("N0", "D", "r", "L0"),
    unscaled=("L0",),
    linear=("E", "A", "B"),
)  # fmt: skip


def pruned_one_teacher(parameters: Array, x: Array) -> Array:
    """Loss after pruning one teacher and training again: L0 + r^-gamma (E + B D^-beta).

    Intuition: `pruned` for models cut from one teacher, whose size says nothing then: what hangs on
    N0 is part of E and B.
    Source: Chen et al. 2024, arXiv 2411.10272 ("P2 law"), form L_1 at one N0; r as in `pruned`.
    Inputs: D tokens or examples, r share kept, L0 the teacher's loss.
    Bounds: E in [0, largest y] at the middle r, B >= 0; beta in [0, 5]; gamma in [-5, 5].
    """
    floor, of_data, beta, gamma = np.moveaxis(parameters[..., None, :], -1, 0)
    data, kept = np.log(x[:2])
    return x[2] + np.exp(-gamma * kept) * (floor + of_data * np.exp(-beta * data))


def _one_teacher_gradient(parameters: Array, x: Array) -> Array:
    floor, of_data, beta, gamma = np.moveaxis(parameters[..., None, :], -1, 0)
    data, kept = np.log(x[:2])
    width = np.exp(-gamma * kept)
    by_data = width * np.exp(-beta * data)
    gap = floor * width + of_data * by_data
    return np.stack([width, by_data, -of_data * data * by_data, -gap * kept], axis=-2)


def _one_teacher_rescale(parameters: Array, factor: Array) -> Array:
    common = factor[1] ** parameters[..., 3]
    scaled = parameters.copy()
    scaled[..., 0] *= common
    scaled[..., 1] *= common * factor[0] ** parameters[..., 2]
    return scaled


def _one_teacher_starts(x: Array, y: Array) -> Array:
    shapes = np.array(list(product(EXPONENTS, (-1.0, 0.3, 0.7, 1.2, 2.0, 3.0))))
    return project(pruned_one_teacher, _one_teacher_gradient, 2, shapes, x, y)


def _one_teacher_bounds(_x: Array, y: Array, _fixed: Mapping[str, float]) -> Array:
    either = [-LARGEST_EXPONENT, LARGEST_EXPONENT]
    return np.array([[0, y.max()], [0, np.inf], [0, LARGEST_EXPONENT], either])


PRUNED_ONE_TEACHER = Form(
    name="pruned_one_teacher",
    formula="L = L0 + r^-gamma (E + B D^-beta)",
    source="Chen et al. 2024 (P2 law), arXiv 2411.10272, for one teacher",
    scale="log error",
    parameters=(
        Parameter("E", "gap that training does not close, at r = 1", "loss"),
        Parameter("B", "gap that data close, at r = D = 1", "loss", rests_on="beta"),
        Parameter("beta", "how fast the gap falls with data", "none", open_high=True),
        Parameter("gamma", "how the gap grows with the cut", "none", open_low=True, open_high=True),
    ),
    curve=pruned_one_teacher,
    gradient=_one_teacher_gradient,
    rescale=_one_teacher_rescale,
    starts=_one_teacher_starts,
    bounds=_one_teacher_bounds,
    limits=_one_teacher_bounds,
    inputs=("D", "r", "L0"),
    unscaled=("L0",),
    linear=("E", "B"),
)
