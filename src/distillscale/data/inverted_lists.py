"""Unit vectors dealt into lists, and which lists a query must visit to find its near-duplicates.

A vector belongs to the list of the centre that has the largest inner product with it (spherical
k-means). Let y be a query, m its own centre and x a vector within the angle a of y: x is
proportional to y + s with a step s at right angles to y, |s| <= tan(a). For x to lie in list c the
step must cross the plane between m and c, whose distance from y is <y, m - c> / |m - c|. So lists
with a plane farther than tan(a) hold no near-duplicate of y: that is certain, but of a step in d
dimensions without a preferred direction only about tan(a) / sqrt(d) points towards any one plane.
`_REACH` says how many times that is allowed for, `_MOST_PROBES` how many lists at most, the nearest
planes first. Texts do prefer directions (an exchanged word), so both are set by measurement on
them; `bench/dedup.py` checks what recall comes of it.
"""

import math
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

Vectors = NDArray[np.float32]
Numbers = NDArray[np.int64]
Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_LISTS = 4096
ROUNDING = 1e-6
"""Cosines of float32 unit vectors are right to this: a pair counts from `threshold - ROUNDING`."""
_SAMPLE_A_CENTRE = 8
_ROUNDS = 3
_REACH = 10.0
_MOST_PROBES = 128
_PREFIX = 96
_ROWS_A_CHUNK = 1024


@dataclass(frozen=True)
class InvertedLists:
    """Centres of the lists, [lists, dimensions], and the first principal axes, [dimensions, p].

    The axes serve the bound of `prefixes`; both come from one sample of the stored vectors.
    """

    centres: Vectors
    axes: Vectors
    _inverse_distances: Vectors = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Tabulate 1 / |centre - centre|, [lists, lists]; 0 for a list and itself."""
        cosines = self.centres @ self.centres.T
        squares = np.maximum(2 - 2 * cosines, 1e-12)
        np.fill_diagonal(squares, np.inf)
        object.__setattr__(self, "_inverse_distances", 1 / np.sqrt(squares))

    def __len__(self) -> int:
        """How many lists there are."""
        return len(self.centres)

    def list_of(self, vectors: Vectors) -> NDArray[np.uint16]:
        """The list of each vector."""
        return _nearest(self.centres, vectors)

    def prefixes(self, vectors: Vectors) -> Vectors:
        """Vectors [n, p + 1] whose inner products are never below those of the vectors.

        The first p entries are along the axes; the last is the length of what is left of the
        vector, since two leftovers' inner product is at most the product of their lengths.
        """
        along = vectors @ self.axes
        rest = np.einsum("ij,ij->i", vectors, vectors) - np.einsum("ij,ij->i", along, along)
        return np.column_stack([along, np.sqrt(np.maximum(rest, 0))])

    def visits(self, vectors: Vectors, threshold: float) -> tuple[Numbers, Numbers]:
        """Which query visits which list, as (queries, lists) in the lists' order."""
        starts = range(0, len(vectors), _ROWS_A_CHUNK)
        found = in_parallel(partial(self._visits_of_chunk, threshold=threshold), _chunks(vectors))
        queries = np.concatenate(
            [own + start for (own, _), start in zip(found, starts, strict=True)]
        )
        lists = np.concatenate([own for _, own in found])
        order = np.argsort(lists.astype(np.uint16), kind="stable")
        return queries[order], lists[order]

    def _visits_of_chunk(self, vectors: Vectors, threshold: float) -> tuple[Numbers, Numbers]:
        away = vectors @ self.centres.T
        own = away.argmax(1)
        np.subtract(away[np.arange(len(own)), own][:, None], away, out=away)
        away *= self._inverse_distances[own]
        step = math.tan(math.acos(threshold - ROUNDING))
        reach = step * min(1.0, _REACH / math.sqrt(vectors.shape[1]))
        near = away <= reach
        crowded = np.flatnonzero(near.sum(1) > _MOST_PROBES)
        if len(crowded):
            rows = away[crowded]
            farthest = np.partition(rows, _MOST_PROBES - 1, axis=1)[:, _MOST_PROBES - 1, None]
            near[crowded] &= rows <= farthest
        return np.nonzero(near)  # type: ignore[return-value]


def draw_lists(vectors: Vectors, count: int, seed: int) -> InvertedLists:
    """Centres by a few rounds of spherical k-means on a sample of the vectors.

    Args:
        vectors: [n, dimensions] of unit length, n >= count.
        count: lists, at most `MOST_LISTS`; empty ones keep the vector that they began with.
    """
    generator = np.random.default_rng(seed)
    size = min(len(vectors), max(count * _SAMPLE_A_CENTRE, 4 * _PREFIX))
    sample = vectors[np.sort(generator.choice(len(vectors), size, replace=False))]
    centres = sample[np.sort(generator.choice(size, count, replace=False))]
    for _ in range(_ROUNDS):
        nearest = _nearest(centres, sample)
        order = np.argsort(nearest, kind="stable")
        filled, first = np.unique(nearest[order], return_index=True)
        sums = np.add.reduceat(sample[order], first, axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres[filled] = sums / np.maximum(lengths, 1e-12)
    return InvertedLists(centres, _principal_axes(sample))


def _nearest(centres: Vectors, vectors: Vectors) -> NDArray[np.uint16]:
    found = in_parallel(lambda chunk: (chunk @ centres.T).argmax(1), _chunks(vectors))
    return np.concatenate(found).astype(np.uint16)


def _principal_axes(sample: Vectors) -> Vectors:
    """The directions of the largest second moments, [dimensions, p]."""
    _, axes = np.linalg.eigh(sample.T.astype(np.float64) @ sample)
    return np.ascontiguousarray(axes[:, ::-1][:, :_PREFIX], dtype=np.float32)


def _chunks(vectors: Vectors) -> list[Vectors]:
    return [vectors[at : at + _ROWS_A_CHUNK] for at in range(0, len(vectors), _ROWS_A_CHUNK)]


def in_parallel(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Results in the items' order, from one thread a core.

    Every thread computes its own matrix products: two threads in one small product mostly wait for
    each other.
    """
    work = list(items)
    workers = min(len(work), _cores())
    if workers <= 1:
        return [function(item) for item in work]
    with _thread_pools().limit(limits=1, user_api="blas"), ThreadPoolExecutor(workers) as threads:
        return list(threads.map(function, work))


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries, which takes milliseconds
