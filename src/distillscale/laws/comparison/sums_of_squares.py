"""Sums of squares by rank: what each factor adds to all others, and what none can claim alone.

Two factors are aliased where a combination of one's levels is a combination of the other's, as
when one format was run with one method only. Then the design matrix loses rank, and the sum of
squares of that combination belongs to neither: it is kept apart, once, instead of being credited to
each in full.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from distillscale.laws.arrays import Array

# Of a column's length: what other columns leave of it, if they span it, is rounding.
TOLERANCE = 1e-8


@dataclass(frozen=True)
class Effect:
    """What one factor, or several that are aliased, add to all others.

    Attributes:
        factors: one factor, or those of which this is the undistinguished part.
        squares: sum of squares, at least 0.
        degrees: degrees of freedom: by how much the rank of the design grows.
        aliased_with: the other factors with which a factor shares degrees of freedom; empty for
            one that has all its own, and for an undistinguished part.
    """

    factors: tuple[str, ...]
    squares: float
    degrees: int
    aliased_with: tuple[str, ...] = ()


def partial_effects(value: Array, factors: Mapping[str, Sequence[str]]) -> list[Effect]:
    """Sums of squares of type II of main effects, each factor given all others.

    For each factor the squared length of the values' projection on what its columns add to those
    of all others (Langsrud 2003), with the dimension of that space as degrees of freedom. Then for
    each set of aliased factors the part that the set adds to the rest and no member alone:
    the projection on the set's space without those of its members.

    Args:
        value: what was measured, [n].
        factors: the level of each of the n values, by factor.
    """
    columns = {name: _indicators(levels) for name, levels in factors.items()}
    centred = value - value.mean()
    groups = aliased_sets(columns)
    others = {name: [c for n, c in columns.items() if n != name] for name in columns}
    own = {name: _added(columns[name], others[name]) for name in columns}
    effects = []
    for name, basis in own.items():
        partners = next((set(group) - {name} for group in groups if name in group), set())
        names = tuple(n for n in columns if n in partners)
        effects.append(Effect((name,), _squares(basis, centred), basis.shape[1], names))
    for group in groups:
        outside = [c for name, c in columns.items() if name not in group]
        space = _added(np.hstack([columns[name] for name in group]), outside)
        claimed = _basis(np.hstack([own[name] for name in group]))
        # What members claim lies in the space, so that the rest of it is a space of its own.
        rest = _added(space, [claimed])
        effects.append(Effect(group, _squares(rest, centred), rest.shape[1]))
    return effects


def aliased_sets(columns: Mapping[str, Array]) -> list[tuple[str, ...]]:
    """The smallest sets of factors that share no degree of freedom with the others, if not single.

    Args:
        columns: of each factor, centred, [n, levels].
    """
    names = list(columns)
    total = _rank(columns, names)
    if total == sum(_rank(columns, [name]) for name in names):
        return []
    apart = [
        set(chosen)
        for count in range(1, len(names) + 1)
        for chosen in combinations(names, count)
        if _rank(columns, chosen) + _rank(columns, [n for n in names if n not in chosen]) == total
    ]
    smallest = [set.intersection(*(s for s in apart if name in s)) for name in names]
    found = dict.fromkeys(tuple(n for n in names if n in one) for one in smallest)
    return [group for group in found if len(group) > 1]


def _indicators(levels: Sequence[str]) -> Array:
    """One centred column a level, [n, levels]."""
    codes, names = pd.factorize(np.asarray(levels))
    columns = np.eye(len(names))[codes]
    return np.asarray(columns - columns.mean(axis=0))


def _rank(columns: Mapping[str, Array], names: Iterable[str]) -> int:
    chosen = [columns[name] for name in names]
    return _basis(np.hstack(chosen)).shape[1] if chosen else 0


def _basis(columns: Array, size: float | None = None) -> Array:
    """An orthonormal basis of the columns' span, [n, rank].

    Args:
        columns: [n, k].
        size: the length against which a column is nothing; None: that of the longest direction.
    """
    if columns.shape[1] == 0:
        return columns
    left, lengths, _ = np.linalg.svd(columns, full_matrices=False)
    reference = lengths[0] if size is None else size
    return np.asarray(left[:, lengths > TOLERANCE * max(reference, 1e-300)])


def _added(columns: Array, others: Sequence[Array]) -> Array:
    """An orthonormal basis of what columns add to others, [n, added rank]."""
    size = float(np.linalg.norm(columns))
    if not others or columns.shape[1] == 0:
        return _basis(columns)
    basis = _basis(np.hstack(others))
    return _basis(columns - basis @ (basis.T @ columns), size)


def _squares(basis: Array, value: Array) -> float:
    return float(((basis.T @ value) ** 2).sum())
