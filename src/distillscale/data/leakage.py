"""Texts on one side of a split that are near-duplicates of texts on the other.

Two texts are the same if their normal forms are, and near-duplicates if the cosine of their
vectors reaches a threshold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from distillscale.data.embedding import Embedder
from distillscale.data.near_duplicates import (
    NearDuplicateIndex,
    near_duplicate_pairs,
    pairs_between,
)
from distillscale.data.split import deal, in_parts, normalised
from distillscale.tasks import Example, Split

Vectors = NDArray[np.float32]
Numbers = NDArray[np.int64]

THRESHOLD = 0.9
"""Cosine of near-duplicates, as in the deduplication of the paper's corpus."""
_TEXTS = 8192


@dataclass(frozen=True)
class Leak:
    """Text number `left` of one side has a near-duplicate, number `right`, on the other side.

    Numbers count from 0. Of several near-duplicates it is the most similar. `exact` tells that
    both have the same normal form.
    """

    left: int
    right: int
    similarity: float
    exact: bool


@dataclass(frozen=True)
class GroupedSplit:
    """Examples dealt into splits, and the groups of near-duplicates that were kept together."""

    examples: tuple[Example, ...]
    groups: int
    grouped: int
    largest: int


def find_leaks(
    left: Sequence[str], right: Sequence[str], embedder: Embedder, threshold: float = THRESHOLD
) -> list[Leak]:
    """The texts of `left` that have a near-duplicate in `right`, in the order of `left`.

    Raises:
        InputError: the threshold is out of range.
    """
    first: dict[str, int] = {}
    for place, text in enumerate(right):
        first.setdefault(normalised(text), place)
    exact = {
        place: first[form] for place, text in enumerate(left) if (form := normalised(text)) in first
    }
    others = [place for place in range(len(left)) if place not in exact]
    index = NearDuplicateIndex(embedder.dimensions)
    for start in range(0, len(right), _TEXTS):
        index.add(embedder.encode(right[start : start + _TEXTS]))
    leaks = [Leak(place, other, 1.0, exact=True) for place, other in exact.items()]
    for start in range(0, len(others), _TEXTS):
        block = others[start : start + _TEXTS]
        found = index.nearest(embedder.encode([left[place] for place in block]), threshold)
        leaks += [
            Leak(block[query], int(row), float(similarity), exact=False)
            for query, row, similarity in zip(*found, strict=True)
        ]
    return sorted(leaks, key=lambda leak: leak.left)


def grouped_split(
    examples: Sequence[Example],
    embedder: Embedder,
    *,
    validation: int,
    test: int,
    seed: int,
    threshold: float = THRESHOLD,
) -> GroupedSplit:
    """`stratified_split` with near-duplicates kept together.

    Near-duplicates of near-duplicates are of one group. The index that finds them may miss one
    pair in a thousand, so what is held out is then compared with everything else, without an
    index, and split anew where something was missed: no near-duplicate straddles the result.

    Raises:
        InputError: there are too few texts, or the groups are too large for the parts.
    """
    labels = [example.label for example in examples]
    vectors = encode_all([example.text for example in examples], embedder)
    left, right, _ = near_duplicate_pairs(vectors, threshold)
    while True:
        groups = _groups(len(examples), left, right)
        parts = deal(labels, validation=validation, test=test, seed=seed, groups=groups.tolist())
        more = _straddling(parts, vectors, threshold)
        if not len(more):
            break
        left, right = np.concatenate([[left, right], more.T], axis=1)
    sizes = np.bincount(groups)
    several = sizes[sizes > 1]
    return GroupedSplit(
        tuple(in_parts(examples, parts)),
        groups=len(several),
        grouped=int(several.sum()),
        largest=int(several.max(initial=0)),
    )


def encode_all(texts: Sequence[str], embedder: Embedder) -> Vectors:
    """Vectors of many texts, [texts, dimensions], embedded block by block."""
    vectors = np.empty((len(texts), embedder.dimensions), np.float32)
    for start in range(0, len(texts), _TEXTS):
        vectors[start : start + _TEXTS] = embedder.encode(texts[start : start + _TEXTS])
    return vectors


def _groups(count: int, left: Numbers, right: Numbers) -> Numbers:
    """Numbers of the connected components of a graph of near-duplicates."""
    edges = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(count, count))
    return connected_components(edges, directed=False)[1].astype(np.int64)


def _straddling(
    parts: Mapping[Split, Sequence[int]], vectors: Vectors, threshold: float
) -> Numbers:
    """All pairs of places of near-duplicates that stand in different parts, [pairs, 2]."""
    found = [np.empty((0, 2), np.int64)]
    train, validation, test = (
        np.array(places, np.int64)
        for places in (parts["train"], parts["validation"], parts["test"])
    )
    for held_out, others in (
        (validation, train),
        (test, np.concatenate([train, validation])),
    ):
        pairs = pairs_between(vectors[held_out], vectors[others], threshold)
        found.append(np.stack([held_out[pairs.left], others[pairs.right]], axis=1))
    return np.concatenate(found)
