"""Which accepted examples a generator is shown: the outermost of each category, without oddities.

A generator that is shown typical examples writes more of the same. Shown those that lie far from
the centre of their category, it widens the corpus; but what lies farthest of all is often noise.
"""

import numpy as np
from numpy.typing import NDArray

ODD_QUANTILE = 0.95
"""Examples beyond this quantile of the distances count as noise. Assumption: one in twenty."""
_DECIMALS = 5


def outermost_rows(
    vectors: NDArray[np.float32],
    categories: NDArray[np.int64],
    *,
    count: int,
    odd_quantile: float = ODD_QUANTILE,
) -> dict[int, tuple[int, ...]]:
    """The rows of each category that are farthest from its centroid, the farthest first.

    Args:
        vectors: [rows, dimensions], of unit length.
        categories: [rows], the number of each row's category.
        count: rows wanted of each category; a small category has fewer.
        odd_quantile: rows with a distance above this quantile of their category's are left out.

    Returns:
        Row numbers by category; distance is 1 - cosine with the centroid, ties go to the earlier.
    """
    return {
        int(category): tuple(
            _outermost(vectors, np.flatnonzero(categories == category), count, odd_quantile)
        )
        for category in np.unique(categories)
    }


def _outermost(
    vectors: NDArray[np.float32], rows: NDArray[np.int64], count: int, odd_quantile: float
) -> list[int]:
    own = vectors[rows]
    centroid = own.mean(axis=0, dtype=np.float64)
    length = max(float(np.linalg.norm(centroid)), 1e-12)
    cosines = np.vecdot(own, (centroid / length).astype(np.float32))
    distances = np.round(1 - cosines, _DECIMALS)  # rounding errors decide nothing
    usual = distances <= np.quantile(distances, odd_quantile)
    order = np.lexsort((rows[usual], -distances[usual]))[:count]
    return [int(row) for row in rows[usual][order]]
