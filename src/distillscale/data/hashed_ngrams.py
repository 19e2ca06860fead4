"""Vectors of texts by their words and pieces of words, without a vocabulary or a download.

A text's features are its words, its pairs of neighbouring words, and the pieces of three to five
characters of the whole, all after `normalised`. Each feature is hashed to a sparse random direction
(`_COPIES` signed coordinates), so directions of different features are nearly at right angles and

    cosine(a, b)  ~  0.5 words in common + 0.15 word pairs in common + 0.35 pieces in common,

"in common" being the cosine of the counts. Nothing is learned from a corpus: a text's vector
depends on that text alone, and on the constants here, which are therefore part of a stored index.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from distillscale.data.split import normalised

DIMENSIONS = 384
_WORDS, _WORD_PAIRS, _PIECES = 0.5, 0.15, 0.35
_PIECE_LENGTHS = (3, 4, 5)
_COPIES = 4
_TEXTS = 2048
_SPACE = ord(" ")

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]


def hashed_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors of texts, [texts, 384]; only a text of white space has the zero vector."""
    blocks = [_block(texts[start : start + _TEXTS]) for start in range(0, len(texts), _TEXTS)]
    return np.concatenate([np.empty((0, DIMENSIONS), np.float32), *blocks])


def _block(texts: Sequence[str]) -> NDArray[np.float32]:
    sums = np.zeros(len(texts) * DIMENSIONS)
    for rows, features, share in _features(texts):
        counts = np.bincount(rows, minlength=len(texts))
        weights = np.sqrt(share / np.maximum(counts, 1))[rows]
        for copy in range(_COPIES):
            hashes = _mixed(features + np.uint64(copy))
            coordinates = rows * DIMENSIONS + (hashes >> np.uint64(32)).astype(int) % DIMENSIONS
            signed = np.where(hashes & np.uint64(1), weights, -weights)
            sums += np.bincount(coordinates, weights=signed, minlength=len(sums))
    vectors = sums.reshape(len(texts), DIMENSIONS)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=vectors, where=lengths > 0).astype(np.float32)


def _features(texts: Sequence[str]) -> Iterator[tuple[Places, Hashes, float]]:
    """Each kind of feature of all texts: row of the text, hash, share of the squared length."""
    padded = [f" {normalised(text) or ' '.join(text.split())} " for text in texts]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), "<u4")
    rows = np.repeat(np.arange(len(texts)), [len(text) for text in padded])
    spans = _Spans(codes)
    blank = codes == _SPACE
    starts = np.flatnonzero(blank[:-1] & ~blank[1:]) + 1
    ends = np.flatnonzero(~blank[:-1] & blank[1:]) + 1
    yield rows[starts], spans.hashes(starts, ends, kind=0), _WORDS
    inside = rows[starts[:-1]] == rows[starts[1:]]
    firsts, seconds = starts[:-1][inside], ends[1:][inside]
    yield rows[firsts], spans.hashes(firsts, seconds, kind=1), _WORD_PAIRS
    owners, pieces = [], []
    for length in _PIECE_LENGTHS:
        count = max(0, len(rows) - length + 1)
        at = np.flatnonzero(rows[:count] == rows[len(rows) - count :])
        at = at[~blank[at + 1]]  # two spaces in a row: a text of white space
        owners.append(rows[at])
        pieces.append(spans.hashes(at, at + length, kind=length))
    yield np.concatenate(owners), np.concatenate(pieces), _PIECES


class _Spans:
    """Hashes of any spans of a sequence of character codes, all at once.

    The polynomial sum of code[i] m^i modulo 2^64 over a span is a difference of two prefix sums;
    times m^-start it depends on the characters alone, not on where they stand.
    """

    _BASE = 0x9E3779B97F4A7C15

    def __init__(self, codes: NDArray[np.uint32]) -> None:
        powers = _powers(self._BASE, len(codes))
        self._inverse_powers = _powers(pow(self._BASE, -1, 2**64), len(codes))
        terms = (codes.astype(np.uint64) + np.uint64(1)) * powers
        self._sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms)])

    def hashes(self, starts: Places, ends: Places, *, kind: int) -> Hashes:
        """Hashes of the spans from `starts` up to, without, `ends`; kinds never meet."""
        sums = self._sums[ends] - self._sums[starts]
        return _mixed(sums * self._inverse_powers[starts] + np.uint64(kind << 32))


def _powers(base: int, count: int) -> Hashes:
    """base^0, base^1, ... modulo 2^64."""
    factors = np.full(count, base, np.uint64)
    factors[:1] = 1
    return np.multiply.accumulate(factors)


def _mixed(hashes: Hashes) -> Hashes:
    """The finalizer of SplitMix64: every input bit sways every output bit."""
    hashes = hashes + np.uint64(0x9E3779B97F4A7C15)
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))
