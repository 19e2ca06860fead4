"""Variable projection: the best linear parameters for given exponents, without a search.

In E + A N^-alpha + B D^-beta only the exponents are hard to find; for given ones E, A and B follow
from linear least squares (Golub and Pereyra 1973). Residuals are taken relative to y, to first
order the same as residuals of the logarithm, and the linear parameters are held at or above zero.
"""

from collections.abc import Callable

import numpy as np

from distillscale.laws.arrays import Array

RIDGE = 1e-12


def project(
    curve: Callable[[Array, Array], Array],
    gradient: Callable[[Array, Array], Array],
    linear: int,
    shapes: Array,
    x: Array,
    y: Array,
) -> Array:
    """Starting points: each row of `shapes` with the linear parameters that suit it best.

    Args:
        curve: of the form.
        gradient: of the form; its derivative by a linear parameter is the term that it multiplies.
        linear: how many parameters are linear; they come first.
        shapes: values of the other parameters, [s, p - linear].
        x: inputs, [n] or [k, n].
        y: targets, positive, [b, n].

    Returns:
        [b, s, p].
    """
    without = np.concatenate([np.zeros((len(shapes), linear)), shapes], axis=1)
    terms = gradient(without, x)[:, :linear, :]
    target = (y[:, None, :] - curve(without, x)) / y[:, None, :]
    scaled = terms / y[:, None, None, :]
    factors = _nonnegative(scaled @ scaled.swapaxes(-1, -2), (scaled @ target[..., None])[..., 0])
    repeated = np.broadcast_to(shapes, (len(y), *shapes.shape))
    return np.concatenate([factors, repeated], axis=-1)


def _nonnegative(normal: Array, right: Array) -> Array:
    """Least squares with factors >= 0: those that come out negative are dropped, one at a time."""
    count = right.shape[-1]
    kept = np.ones(right.shape, dtype=bool)
    diagonal = np.einsum("...kk->...k", normal)
    identity = np.eye(count)
    factors = right
    for _ in range(count):
        both = kept[..., :, None] & kept[..., None, :]
        ridge = np.where(kept, RIDGE * diagonal + 1e-300, 1.0)
        system = normal * both + ridge[..., None] * identity
        factors = np.asarray(np.linalg.solve(system, (right * kept)[..., None])[..., 0], float)
        worst = (factors * np.sqrt(diagonal)).argmin(axis=-1)
        negative = factors.min(axis=-1) < 0
        if not negative.any():
            break
        kept &= ~(negative[..., None] & (np.arange(count) == worst[..., None]))
    return factors.clip(0)
