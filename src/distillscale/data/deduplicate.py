"""Which texts of a batch to keep, given all that were kept before.

Texts are ordered: all of an earlier batch before those of a later one, and within a batch by a hash
of the normalised text, so that the order they arrive in does not matter. Then greedily: a text is
kept if its cosine with every kept text before it is under the threshold. What is kept has no two
near-duplicates; whatever is dropped is a near-duplicate of a kept text, its keeper: of all kept
texts before it the most similar, and of equally similar ones the first.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distillscale.data.near_duplicates import NearDuplicateIndex, Pairs
from distillscale.data.split import normalised

Numbers = NDArray[np.int64]

_PART = 16_384
"""Texts that are searched in the index together: every search visits most of its lists once."""
_FIRST_BLOCK = 1024
"""In a part blocks double: a flood of duplicates meets its keeper while pairs are still few."""


@dataclass(frozen=True)
class Decision:
    """What becomes of a batch.

    Attributes:
        kept: places in the batch of the kept texts, in the order in which the index now holds them
            as its last rows.
        dropped: places in the batch of the others, rising.
        keepers: for each dropped one, its keeper's row in the index.
        similarities: for each dropped one, its cosine with its keeper.
    """

    kept: Numbers
    dropped: Numbers
    keepers: Numbers
    similarities: NDArray[np.float32]


def deduplicate(
    index: NearDuplicateIndex,
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    threshold: float,
) -> Decision:
    """Decide on a batch, and add what is kept to the index, which holds all kept before.

    Args:
        texts: they decide the order; the same texts in another order give the same kept set.
        vectors: [texts, dimensions], of unit length.
        threshold: cosine, over 0 and at most 1.

    Raises:
        InputError: the threshold is out of range.
    """
    order = canonical_order(texts)
    keepers = np.full(len(texts), -1, np.int64)
    similarities = np.zeros(len(texts), np.float32)
    kept_parts: list[Numbers] = [np.empty(0, np.int64)]
    for start in range(0, len(order), _PART):
        part = order[start : start + _PART]
        kept, nearest = _decide_part(index, vectors[part], threshold)
        kept_parts.append(part[kept])
        keepers[part[nearest.left]] = nearest.right
        similarities[part[nearest.left]] = nearest.similarity
    dropped = np.flatnonzero(keepers >= 0)
    return Decision(np.concatenate(kept_parts), dropped, keepers[dropped], similarities[dropped])


def canonical_order(texts: Sequence[str]) -> Numbers:
    """Places of the texts by a hash of the normalised text, then the text, then the place."""
    keys = [
        (hashlib.blake2b(normalised(text).encode("utf-8", "surrogatepass")).digest(), text, place)
        for place, text in enumerate(texts)
    ]
    return np.array([place for _, _, place in sorted(keys)], dtype=np.int64)


def _decide_part(
    index: NearDuplicateIndex, vectors: NDArray[np.float32], threshold: float
) -> tuple[Numbers, Pairs]:
    """Places to keep of a part in order, and each other place's keeper; adds the kept rows."""
    before = index.nearest(vectors, threshold)
    free = np.ones(len(vectors), bool)
    free[before.left] = False
    kept = np.zeros(len(vectors), bool)
    found = []
    start, size = 0, _FIRST_BLOCK
    while start < len(vectors):
        block = np.arange(start, min(start + size, len(vectors)))
        near = _pairs(index, vectors, block, np.flatnonzero(kept), threshold)
        free[near.left] = False
        own = _pairs(index, vectors, block, block[free[block]], threshold)
        kept[block] = _greedy(free, own.left, own.right)[block]
        found += [near, own]
        start, size = start + size, 2 * size
    numbers = len(index) + np.cumsum(kept) - 1  # rows that the kept ones are about to have
    index.add(vectors[kept])
    within = Pairs(*map(np.concatenate, zip(*found, strict=True)))
    counts = kept[within.right]
    candidates = Pairs(
        np.concatenate([before.left, within.left[counts]]),
        np.concatenate([before.right, numbers[within.right[counts]]]),
        np.concatenate([before.similarity, within.similarity[counts]]),
    )
    return np.flatnonzero(kept), candidates.most_similar()


def _pairs(
    index: NearDuplicateIndex,
    vectors: NDArray[np.float32],
    left: Numbers,
    right: Numbers,
    threshold: float,
) -> Pairs:
    """Near-duplicates of the places `left` among those of the places `right` that are earlier."""
    found = index.compare(vectors[left], vectors[right], threshold)
    later, earlier = left[found.left], right[found.right]
    counts = earlier < later
    return Pairs(later[counts], earlier[counts], found.similarity[counts])


def _greedy(free: NDArray[np.bool_], left: Numbers, right: Numbers) -> NDArray[np.bool_]:
    """The free places, but for those that have a kept one among their earlier near-duplicates.

    Args:
        left: the later place of each pair, rising.
        right: the earlier place of each pair.
    """
    kept = free.copy()
    places, starts = np.unique(left, return_index=True)
    ends = np.append(starts, len(left))[1:]
    for place, start, end in zip(places, starts, ends, strict=True):
        if kept[place] and kept[right[start:end]].any():
            kept[place] = False
    return kept
