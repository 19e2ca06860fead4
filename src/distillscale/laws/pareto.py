"""Which models are worth choosing from: those that no other model beats in everything."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from distillscale.errors import InputError
from distillscale.laws.metrics import metric

Better = Literal["higher", "lower"]

SIZES = ("params", "params_with_embeddings", "prune_ratio")
"""Columns of a results table that may stand beside metrics; smaller is better."""


def pareto_front(points: pd.DataFrame, better: Mapping[str, Better]) -> pd.DataFrame:
    """The points that no other point dominates, in their order, with all their columns.

    A point dominates another that it equals or betters in every column of `better`, and betters
    in one. So points with equal values stay or go together, and of points that agree in one
    column only the best in the others stay. A point with a missing value (NaN) in one of the
    columns is never on the front and dominates none: nothing is known about it there.

    Args:
        points: one row a model.
        better: for each column that counts, which direction is better.

    Raises:
        InputError: no column is given, or one is not in the table.
    """
    if not better:
        raise InputError("pareto front: name at least one column; there is none to compare.")
    for name in better:
        if name not in points.columns:
            known = ", ".join(map(str, points.columns))
            raise InputError(f"pareto front: there is no column `{name}`; the table has {known}.")
    signs = np.array([-1.0 if direction == "higher" else 1.0 for direction in better.values()])
    losses = points[list(better)].to_numpy(dtype=float) * signs  # smaller is better
    return points[_undominated(losses)]


def directions(names: Sequence[str]) -> dict[str, Better]:
    """Which direction is better, for metrics (as laws read them) and sizes (smaller)."""
    return {name: "lower" if name in SIZES else metric(name).better for name in names}


def _undominated(losses: np.ndarray) -> np.ndarray:
    """Which rows no other row dominates, shape [points]; rows with NaN are none of them."""
    kept = np.zeros(len(losses), dtype=bool)
    front = np.empty((0, losses.shape[1]))
    for row in np.lexsort(losses.T[::-1]):  # whatever dominates a row comes before it
        own = losses[row]
        if np.isnan(own).any():
            continue
        dominates = (front <= own).all(axis=1) & (front < own).any(axis=1)
        if not dominates.any():
            kept[row] = True
            front = np.vstack([front, own])
    return kept
