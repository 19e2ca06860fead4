"""Matched pairs of chains, measured: their difference over stages, and which pairs are independent.

Stages are compared at the same prune ratio. Test examples are the same for all cells of a task, so
the difference is taken on every bootstrap resample of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from distillscale.laws.arrays import Array
from distillscale.laws.points import read_replicates
from distillscale.laws.settings import same_ratio

CellName = tuple[str, str]  # study, cell
Measured = tuple[str, str, str]  # study, cell, metric


@dataclass(frozen=True)
class Chain:
    """The measured stages of one cell and metric after the teacher, [stages] each."""

    ratios: Array
    values: Array
    replicates: tuple[Array, ...]


@dataclass(frozen=True)
class Pair:
    """Two chains that differ in one factor, compared in one metric.

    Attributes:
        context: what they share, in words.
        cells: the earlier level's and the later level's.
        earlier, later: their values, mean over the common stages.
        mean: later minus earlier, mean over the common stages; `replicates` the same on each
            resample of the test examples.
        end: the difference at the planned last ratio; NaN where either did not get there.
    """

    context: str
    cells: tuple[CellName, CellName]
    earlier: float
    later: float
    mean: float
    replicates: Array
    end: float
    end_replicates: Array


@dataclass(frozen=True)
class Unit:
    """Pairs that share a chain, averaged: one independent piece of evidence (up to the tests)."""

    context: str
    mean: float
    replicates: Array
    end: float
    end_replicates: Array


def read_chains(table: pd.DataFrame, metrics: Iterable[str]) -> dict[Measured, Chain]:
    """The chains of a results table by study, cell and metric."""
    rows = table[table["metric"].isin(list(metrics)) & np.isfinite(table["value"].astype(float))]
    rows = rows[rows["stage"] > 0].sort_values("stage")
    return {
        (str(study), str(cell), str(name)): Chain(
            own["prune_ratio"].to_numpy(dtype=float),
            own["value"].to_numpy(dtype=float),
            tuple(read_replicates(entry) for entry in own["replicates"]),
        )
        for (study, cell, name), own in rows.groupby(["study", "cell", "metric"])
    }


def compare_pairs(
    pairs: Iterable[Mapping[Any, Any]],
    metric: str,
    measured: Mapping[Measured, Chain],
    planned: Mapping[CellName, float],
) -> list[Pair]:
    """The matched pairs (rows of `Design.pairs`) that were both measured at some common ratio."""
    found = []
    for pair in pairs:
        cells = (pair["earlier_cell"], pair["later_cell"])
        chains = [measured.get((*cell, metric)) for cell in cells]
        if chains[0] is not None and chains[1] is not None:
            aim = planned[cells[1]]
            compared = _compare(pair["context"], cells, chains[0], chains[1], aim)
            found += [compared] if compared else []
    return found


def _compare(
    context: str, cells: tuple[CellName, CellName], earlier: Chain, later: Chain, planned: float
) -> Pair | None:
    """Later minus earlier, where both have a stage at the same prune ratio."""
    common = [
        (i, j)
        for i, ours in enumerate(earlier.ratios)
        for j, theirs in enumerate(later.ratios)
        if same_ratio(ours, theirs)
    ]
    if not common:
        return None
    left, right = (list(places) for places in zip(*common, strict=True))
    deltas = later.values[right] - earlier.values[left]
    resampled = [_resampled(earlier.replicates[i], later.replicates[j]) for i, j in common]
    reached = same_ratio(float(later.ratios[right[-1]]), planned)
    return Pair(
        context=context,
        cells=cells,
        earlier=float(earlier.values[left].mean()),
        later=float(later.values[right].mean()),
        mean=float(deltas.mean()),
        replicates=_mean_rows(resampled),
        end=float(deltas[-1]) if reached else float("nan"),
        end_replicates=resampled[-1],
    )


def _resampled(earlier: Array, later: Array) -> Array:
    count = min(len(earlier), len(later))
    return later[:count] - earlier[:count]


def independent_units(pairs: Sequence[Pair]) -> list[Unit]:
    """The pairs in groups that share no chain with one another, each group averaged."""
    group = list(range(len(pairs)))
    first: dict[tuple[int, CellName], int] = {}
    for place, pair in enumerate(pairs):
        for side, cell in enumerate(pair.cells):
            other = group[first.setdefault((side, cell), place)]
            if other != group[place]:
                group = [other if member == group[place] else member for member in group]
    return [
        _averaged([pair for pair, member in zip(pairs, group, strict=True) if member == name])
        for name in dict.fromkeys(group)
    ]


def _averaged(pairs: Sequence[Pair]) -> Unit:
    return Unit(
        context="; ".join(sorted(pair.context for pair in pairs)),
        mean=float(np.mean([pair.mean for pair in pairs])),
        replicates=_mean_rows([pair.replicates for pair in pairs]),
        end=float(np.mean([pair.end for pair in pairs])),
        end_replicates=_mean_rows([pair.end_replicates for pair in pairs]),
    )


def _mean_rows(rows: Sequence[Array]) -> Array:
    """The mean of several replicate vectors, as far as all go."""
    count = min(len(row) for row in rows)
    return np.stack([row[:count] for row in rows]).mean(axis=0)
