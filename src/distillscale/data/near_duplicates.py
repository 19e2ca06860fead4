"""An index of unit vectors that finds those above a cosine, and grows batch by batch.

Rows are numbered in the order they are added and never embedded again. Which rows a query is
compared with is decided by `inverted_lists`; there a bound that is certain excludes nearly all of
them by a product of a quarter of the width, and the exact cosine decides on the rest. So what is
found is always right; what can be missed is a row in a list that is not visited (`bench/dedup.py`
measures how rare that is). Up to `_EXACT` rows there are no lists and nothing is missed.
"""

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from distillscale.data.inverted_lists import (
    MOST_LISTS,
    ROUNDING,
    InvertedLists,
    Numbers,
    Vectors,
    draw_lists,
    in_parallel,
)
from distillscale.errors import DamagedArtifact, InputError

_EXACT = 8192
_ROWS_A_LIST = 128
"""Mean length of a list when the centres are drawn; they are drawn anew when it has doubled."""
_BOUND_SLACK = 1e-4
_QUERIES = 16_384
_TILE = 1024
"""Queries and rows in one product of all with all, so that it stays in the cache."""
_PAIRS = 1 << 14
"""Candidate pairs whose vectors are gathered at a time."""


class Pairs(NamedTuple):
    """Near-duplicates: query `left[i]` and row `right[i]` have the cosine `similarity[i]`.

    Sorted by `left`, then `right`.
    """

    left: Numbers
    right: Numbers
    similarity: Vectors

    def most_similar(self) -> "Pairs":
        """Each query's most similar row only; of equally similar ones the first."""
        order = np.lexsort((self.right, -self.similarity, self.left))
        chosen = order[np.unique(self.left[order], return_index=True)[1]]
        return Pairs(self.left[chosen], self.right[chosen], self.similarity[chosen])


class NearDuplicateIndex:
    """Rows of unit length (or zero: never similar to anything), searched by a cosine threshold.

    The same calls in the same order give the same answers. `seed` draws the lists' centres.
    """

    def __init__(self, dimensions: int, *, seed: int = 0) -> None:
        self.dimensions = dimensions
        self._seed = seed
        self._size = 0
        self._rows = np.empty((0, dimensions), np.float32)
        self._prefixes = np.empty((0, 0), np.float32)
        self._list_of = np.empty(0, np.uint16)
        self._lists: InvertedLists | None = None
        self._drawn_at = _EXACT // 2
        self._saved: tuple[Path, int] | None = None

    def __len__(self) -> int:
        """How many rows are stored."""
        return self._size

    @property
    def vectors(self) -> Vectors:
        """All rows, [rows, dimensions]; not to be written to."""
        return self._rows[: self._size]

    def add(self, vectors: Vectors) -> range:
        """Store rows; returns their numbers."""
        _check(vectors, self.dimensions)
        first, self._size = self._size, self._size + len(vectors)
        self._rows = _with_room(self._rows, first, self._size)
        self._rows[first : self._size] = vectors
        if self._size >= 2 * self._drawn_at:
            self._draw_lists()
        elif self._lists is not None:
            self._list_rows(self._lists, first)
        return range(first, self._size)

    def search(self, vectors: Vectors, threshold: float) -> Pairs:
        """All stored rows with a cosine of at least `threshold` (over 0, at most 1) to a query."""
        return _sorted(_stacked(self._found(vectors, threshold)))

    def nearest(self, vectors: Vectors, threshold: float) -> Pairs:
        """As `search`, but only the most similar row of each query that has any."""
        return _stacked(own.most_similar() for own in self._found(vectors, threshold))

    def compare(self, queries: Vectors, rows: Vectors, threshold: float) -> Pairs:
        """Near-duplicates of some vectors among others that are not stored, none missed."""
        return pairs_between(queries, rows, threshold, self._lists)

    def save(self, folder: Path) -> None:
        """Write what is not in the folder yet, so that a checkpoint costs what the batch did.

        Rows go to a file for each call that is never changed, the lists to one that is written
        last and named by the count of rows. The state of the call before stays readable.
        """
        folder.mkdir(parents=True, exist_ok=True)
        first = self._saved[1] if self._saved and self._saved[0] == folder else 0
        if first < self._size:
            tensors = {"vectors": self.vectors[first:]}
            _write(tensors, {}, folder / f"rows-{first:09d}.safetensors")
        tensors = {"list_of": self._list_of[: self._size].astype(np.int32)}
        if self._lists is not None:
            tensors |= {"centres": self._lists.centres, "axes": self._lists.axes}
        facts = {
            "rows": self._size,
            "dimensions": self.dimensions,
            "seed": self._seed,
            "drawn_at": self._drawn_at,
        }
        path = _lists_file(folder, self._size)
        _write(tensors, {name: str(value) for name, value in facts.items()}, path)
        for old in sorted(folder.glob("lists-*.safetensors")):
            if old not in (path, _lists_file(folder, first)):
                old.unlink()
        self._saved = (folder, self._size)

    @classmethod
    def load(cls, folder: Path, rows: int | None = None) -> "NearDuplicateIndex":
        """Read what `save` wrote: the newest state, or the one of a given count of rows.

        Raises:
            InputError: there is no such state.
            DamagedArtifact: a file is not what was written.
        """
        states = sorted(folder.glob("lists-*.safetensors"))
        path = states[-1] if states and rows is None else _lists_file(folder, rows or 0)
        if not path.is_file():
            raise InputError(f"{folder}: no index of near-duplicates with {rows or 'any'} rows.")
        tensors, facts = _read(path)
        index = cls(int(facts["dimensions"]), seed=int(facts["seed"]))
        index._drawn_at = int(facts["drawn_at"])
        index._size = int(facts["rows"])
        index._rows = _read_rows(folder, index._size, index.dimensions)
        if "centres" in tensors:
            index._lists = InvertedLists(tensors["centres"], tensors["axes"])
            index._list_of = tensors["list_of"].astype(np.uint16)
            index._prefixes = index._lists.prefixes(index._rows)
        index._saved = (folder, index._size)
        return index

    def _draw_lists(self) -> None:
        """New centres, as many as the rows now need; a draw for each doubling of the rows."""
        self._drawn_at = self._size
        count = min(self._size // _ROWS_A_LIST, MOST_LISTS)
        self._lists = draw_lists(self.vectors, count, self._seed)
        self._prefixes = np.empty((0, self._lists.axes.shape[1] + 1), np.float32)
        self._list_of = np.empty(0, np.uint16)
        self._list_rows(self._lists, 0)

    def _list_rows(self, lists: InvertedLists, first: int) -> None:
        """Deal the rows from `first` on into the lists."""
        own = slice(first, self._size)
        self._list_of = _with_room(self._list_of, first, self._size)
        self._prefixes = _with_room(self._prefixes, first, self._size)
        self._list_of[own] = lists.list_of(self._rows[own])
        for start in range(first, self._size, _QUERIES):
            block = slice(start, min(start + _QUERIES, self._size))
            self._prefixes[block] = lists.prefixes(self._rows[block])

    def _found(self, vectors: Vectors, threshold: float) -> Iterator[Pairs]:
        """Near-duplicates of blocks of queries, in the queries' order, unsorted within a block."""
        _check(vectors, self.dimensions)
        check_threshold(threshold)
        members: list[Numbers] = []
        if self._lists is not None:
            order = np.argsort(self._list_of[: self._size], kind="stable")
            sizes = np.bincount(self._list_of[: self._size], minlength=len(self._lists))
            members = np.split(order, np.cumsum(sizes)[:-1])
        for first in range(0, len(vectors), _QUERIES):
            block = vectors[first : first + _QUERIES]
            if self._lists is None:
                found = pairs_between(block, self.vectors, threshold)
            else:
                found = self._found_in_lists(self._lists, members, block, threshold)
            yield Pairs(found.left + first, found.right, found.similarity)

    def _found_in_lists(
        self, lists: InvertedLists, members: list[Numbers], queries: Vectors, threshold: float
    ) -> Pairs:
        prefixes = lists.prefixes(queries)
        visitors, visited = lists.visits(queries, threshold)
        numbers, starts = np.unique(visited, return_index=True)

        def visit(item: tuple[int, Numbers]) -> Pairs:
            number, left = item
            candidates = self._candidates(prefixes, left, members[number], threshold)
            return _stacked(_confirmed(queries, self._rows, *own, threshold) for own in candidates)

        work = zip(numbers.tolist(), np.split(visitors, starts[1:]), strict=True)
        return _stacked(in_parallel(visit, work))

    def _candidates(
        self, prefixes: Vectors, left: Numbers, right: Numbers, threshold: float
    ) -> Iterator[tuple[Numbers, Numbers]]:
        """Pairs of the queries `left` and the rows `right` that the bound does not exclude."""
        if not len(right):
            return
        rows = self._prefixes[right]
        step = max(1, _TILE * _TILE // len(right))
        for start in range(0, len(left), step):
            own = left[start : start + step]
            bound = prefixes[own] @ rows.T
            places = np.flatnonzero(bound >= np.float32(threshold - _BOUND_SLACK))
            if len(places):
                yield own[places // len(right)], right[places % len(right)]


def pairs_between(
    queries: Vectors, rows: Vectors, threshold: float, lists: InvertedLists | None = None
) -> Pairs:
    """All near-duplicates of some queries among some rows, by comparing all with all.

    Args:
        lists: whose bound may exclude pairs before their cosine is computed; it loses none.
    """
    lefts, rights = (lists.prefixes(own) if lists else own for own in (queries, rows))

    def compare(tile: tuple[int, ...]) -> Pairs:
        first, second = tile
        bound = lefts[first : first + _TILE] @ rights[second : second + _TILE].T
        places = np.flatnonzero(bound >= np.float32(threshold - _BOUND_SLACK))
        left, right = np.divmod(places, bound.shape[1])
        return _confirmed(queries, rows, left + first, right + second, threshold)

    starts = (range(0, len(part), _TILE) for part in (queries, rows))
    return _sorted(_stacked(in_parallel(compare, itertools.product(*starts))))


def near_duplicate_pairs(vectors: Vectors, threshold: float) -> Pairs:
    """All near-duplicates among some vectors, each pair once, `left` < `right`."""
    index = NearDuplicateIndex(vectors.shape[1])
    index.add(vectors)
    found = index.search(vectors, threshold)
    low, high = np.minimum(found.left, found.right), np.maximum(found.left, found.right)
    other = low < high
    keys, first = np.unique(low[other] * len(vectors) + high[other], return_index=True)
    return Pairs(keys // len(vectors), keys % len(vectors), found.similarity[other][first])


def check_threshold(threshold: float) -> None:
    """Make sure that a cosine threshold is in range.

    Raises:
        InputError: it is not.
    """
    if not 0 < threshold <= 1:
        raise InputError(f"threshold {threshold}: it must be a cosine over 0 and at most 1.")


def _confirmed(
    queries: Vectors, rows: Vectors, left: Numbers, right: Numbers, threshold: float
) -> Pairs:
    """Those of the candidate pairs whose exact cosine is high enough.

    A pair's cosine depends on its two vectors alone, not on what else is compared with them.
    """
    similarity = np.empty(len(left), np.float32)
    for start in range(0, len(left), _PAIRS):
        part = slice(start, start + _PAIRS)
        similarity[part] = np.vecdot(queries[left[part]], rows[right[part]])
    close = similarity >= np.float32(threshold - ROUNDING)
    return Pairs(left[close], right[close], np.minimum(similarity[close], np.float32(1)))


def _stacked(parts: Iterable[Pairs]) -> Pairs:
    parts = [part for part in parts if len(part.left)]
    if not parts:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    return Pairs(*map(np.concatenate, zip(*parts, strict=True)))


def _sorted(pairs: Pairs) -> Pairs:
    order = np.lexsort((pairs.right, pairs.left))
    return Pairs(pairs.left[order], pairs.right[order], pairs.similarity[order])


def _check(vectors: Vectors, dimensions: int) -> None:
    if vectors.ndim != 2 or vectors.shape[1] != dimensions or vectors.dtype != np.float32:
        raise ValueError(
            f"vectors are {vectors.dtype} {vectors.shape}, not float32 [n, {dimensions}]"
        )
    squares = np.einsum("ij,ij->i", vectors, vectors)
    if not (np.isclose(squares, 1, atol=1e-3) | (squares == 0)).all():
        raise ValueError("vectors must have unit length, or be zero")


def _with_room(rows: NDArray, used: int, needed: int) -> NDArray:
    """The array itself if it is long enough, else a copy of its used part that can double."""
    if len(rows) >= needed:
        return rows
    longer = np.empty((max(needed, 2 * used), *rows.shape[1:]), rows.dtype)
    longer[:used] = rows[:used]
    return longer


def _lists_file(folder: Path, rows: int) -> Path:
    return folder / f"lists-{rows:09d}.safetensors"


def _write(tensors: dict[str, NDArray], facts: dict[str, str], path: Path) -> None:
    """Write under another name, then rename: a file of the right name is a whole one."""
    sums = {f"sha256 {name}": _checksum(tensor) for name, tensor in tensors.items()}
    unfinished = path.with_suffix(".unfinished")
    save_file(tensors, unfinished, {**facts, **sums})
    unfinished.replace(path)


def _read(path: Path) -> tuple[dict[str, NDArray], dict[str, str]]:
    try:
        with safe_open(path, "numpy") as file:
            facts = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DamagedArtifact(f"{path}: it cannot be read ({error}).") from error
    for name, tensor in tensors.items():
        if _checksum(tensor) != facts[f"sha256 {name}"]:
            raise DamagedArtifact(f"{path}: `{name}` is not what was written.")
    return tensors, facts


def _checksum(tensor: NDArray) -> str:
    return hashlib.sha256(np.ascontiguousarray(tensor).data).hexdigest()


def _read_rows(folder: Path, count: int, dimensions: int) -> Vectors:
    """The first `count` rows, from the files that follow each other from row 0."""
    rows, end = np.empty((count, dimensions), np.float32), 0
    while end < count:
        vectors = _read(folder / f"rows-{end:09d}.safetensors")[0]["vectors"]
        part = vectors[: count - end]
        rows[end : end + len(part)] = part
        end += len(part)
    return rows
