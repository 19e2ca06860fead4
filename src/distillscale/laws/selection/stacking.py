"""Combine predictions by weights that are not negative and sum to one (Breiman 1996)."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import nnls

from distillscale.errors import InputError
from distillscale.laws.arrays import Array


def stacking_weights(
    predicted: ArrayLike, measured: ArrayLike, counts: ArrayLike | None = None
) -> Array:
    """The mixture of predictions with the least squared error on points that were held out.

    With weights that sum to one, the mixture's error is R w for R = predictions - measurements. Of
    u >= 0, least squares of [R; c 1] u against [0; c] is solved at u = s w with the same w for
    every c: the best s costs c^2 |R w|^2 / (|R w|^2 + c^2), which grows with |R w|. So non-negative
    least squares, then division by the sum, is exact.

    Args:
        predicted: each member's prediction of each point, [n, members].
        measured: the points, [n].
        counts: how much each point counts, [n]; None: all alike.

    Returns:
        The weights, [members].

    Raises:
        InputError: no points, or shapes that do not fit.
    """
    predictions, values = np.asarray(predicted, float), np.asarray(measured, float)
    if predictions.ndim != 2 or len(predictions) != values.size or values.size == 0:
        raise InputError(
            f"stacking: predictions of shape {predictions.shape} for {values.size} points; it needs"
            " [points, members] and at least one point."
        )
    root = np.sqrt(np.ones(values.size) if counts is None else np.asarray(counts, float))
    errors = (predictions - values[:, None]) * root[:, None]
    scale = np.linalg.norm(errors, axis=0).min() or 1.0
    system = np.vstack([errors / scale, np.ones(predictions.shape[1])])
    found, _ = nnls(system, np.append(np.zeros(values.size), 1.0))
    return np.asarray(found / found.sum())
