"""How similar the texts of a corpus are to their nearest neighbour: a look at its redundancy."""

import numpy as np
from numpy.typing import NDArray

_ROWS = 16_384
_QUERIES = 1024


def nearest_cosines(
    vectors: NDArray[np.float32], queries: NDArray[np.int64]
) -> NDArray[np.float32]:
    """For each of the rows `queries`, its cosine with the most similar other row: [queries].

    All rows are compared, so it costs `queries` times rows. A corpus of one row has none: -1.
    """
    nearest = np.full(len(queries), -1, np.float32)
    for first in range(0, len(queries), _QUERIES):
        own = queries[first : first + _QUERIES]
        for start in range(0, len(vectors), _ROWS):
            block = vectors[start : start + _ROWS]
            cosines = vectors[own] @ block.T
            inside = np.flatnonzero((own >= start) & (own < start + len(block)))
            cosines[inside, own[inside] - start] = -1
            best = nearest[first : first + _QUERIES]
            np.maximum(best, cosines.max(axis=1), out=best)
    return np.minimum(nearest, np.float32(1))
