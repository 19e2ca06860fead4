"""Pairs of cells that differ in exactly one factor: the factorial design that a table holds.

A factor that has no meaning for a cell agrees with every level: label-only chains have no depth of
reasoning, and chains that are only pruned have no method, no reasoning and no examples. So a
label-only chain has a counterpart in `cot` at each depth, and the control one in every method.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from distillscale.laws.settings import merged_ratios, same_ratio, with_settings
from distillscale.results import CELL_COLUMNS

FACTORS = ("supervision", "method", "thinking", "schedule", "task", "dataset_size", "seed")

# Levels in this order; a contrast is the later level minus the earlier one.
ORDER = {
    "supervision": ("none", "label", "cot", "blended"),
    "method": ("none", "logit", "lora"),
    "thinking": ("none", "brief", "full"),
    "schedule": ("oneshot", "uniform", "decayed", "explicit"),
}

PAIR_COLUMNS = [
    "factor", "earlier", "later", "held", "context", "seed", "earlier_cell", "later_cell",
]  # fmt: skip


@dataclass(frozen=True)
class Design:
    """What a table of cells varies.

    `cells`: one row a cell, with `planned_ratio`, the prune ratio that its chain aims at, and
    `measured`, the number of its last measured stage. `pairs`: one row a matched pair, columns
    `PAIR_COLUMNS`; `held` (schedule and final ratio) tells grids apart, `context` is all else that
    the two cells share but the seed. `fixed`: factors that no matched pair varies.
    """

    cells: pd.DataFrame
    pairs: pd.DataFrame
    fixed: tuple[str, ...]

    def levels(self, factor: str) -> list[str]:
        """The levels of a factor that matched pairs have, in the order of contrasts."""
        own = self.pairs[self.pairs["factor"] == factor]
        paired = {*own["earlier"], *own["later"]}
        cells = sorted(self.cells.to_dict("records"), key=lambda cell: _rank(cell, factor))
        names = dict.fromkeys(_level_name(cell, factor) for cell in cells)
        return [name for name in names if name in paired]


def design(table: pd.DataFrame) -> Design:
    """Find every matched pair of a results table, for every factor."""
    cells = describe_cells(table)
    found = [pair for factor in FACTORS for pair in _pairs(cells, factor)]
    found.sort(key=lambda pair: pair.pop("order"))
    pairs = pd.DataFrame(found, columns=PAIR_COLUMNS)
    fixed = tuple(factor for factor in FACTORS if factor not in set(pairs["factor"]))
    return Design(cells, pairs, fixed)


def describe_cells(table: pd.DataFrame) -> pd.DataFrame:
    """One row a cell: its factors, `planned_ratio`, and `measured`, its last measured stage."""
    rows = with_settings(table)
    stages = rows[[*CELL_COLUMNS, "final_ratio", "stage", "prune_ratio"]].drop_duplicates()
    last = stages.sort_values("stage").drop_duplicates(["study", "cell"], keep="last")
    cells = last.rename(columns={"stage": "measured"}).reset_index(drop=True)
    cells = cells.astype({"dataset_size": int})
    planned = pd.Series(_planned_ratios(cells, stages), index=cells.index)
    planned[planned.notna()] = merged_ratios(planned.dropna())
    return cells.assign(planned_ratio=planned).drop(columns=["final_ratio", "prune_ratio"])


def sorted_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells by supervision, depth of reasoning and method, in the order of `ORDER`."""
    keys = ("supervision", "thinking", "method")
    return cells.iloc[
        sorted(
            range(len(cells)),
            key=lambda place: [_place(key, cells[key].iloc[place]) for key in keys],
        )
    ]


def _planned_ratios(cells: pd.DataFrame, stages: pd.DataFrame) -> list[float]:
    """The final ratio; of a chain that stopped early, that of complete ones that were on its way.

    NaN where no complete chain of its schedule passes where it stopped, or several that part.
    """
    complete = cells[cells["measured"] == cells["stages"]]
    passed = stages.merge(
        complete[["study", "cell", "final_ratio"]], on=["study", "cell"], suffixes=("_", "")
    )
    ratios = []
    for cell in cells.to_dict("records"):
        if cell["measured"] == cell["stages"]:
            ratios.append(float(cell["final_ratio"]))
            continue
        alike = passed[
            (passed["schedule"] == cell["schedule"])
            & (passed["stages"] == cell["stages"])
            & (passed["stage"] == cell["measured"])
        ]
        near = [same_ratio(cell["prune_ratio"], ratio) for ratio in alike["prune_ratio"]]
        aims = alike.loc[near, "final_ratio"].unique()
        ratios.append(float(aims[0]) if len(aims) == 1 else np.nan)
    return ratios


def _pairs(cells: pd.DataFrame, factor: str) -> Iterator[dict[str, Any]]:
    """The matched pairs of one factor, each earlier level first; `order` is their place."""
    blocks = ["study", "planned_ratio"] + (["seed"] if factor != "seed" else [])
    for _, block in cells.groupby(blocks):
        levels = {name: _levels(block, name) for name in FACTORS}
        codes = np.stack([pd.factorize(column)[0] for column in levels.values()])  # missing: -1
        differ = (codes[:, :, None] != codes[:, None, :]) & (codes[:, :, None] >= 0)
        differ &= codes[:, None, :] >= 0
        place, own = FACTORS.index(factor), block.to_dict("records")
        only = differ[place] & (differ.sum(axis=0) == 1)
        for left, right in zip(*np.nonzero(np.triu(only)), strict=True):
            first, second = sorted((left, right), key=lambda i: _rank(own[i], factor))
            if factor != "dataset_size" or _neighbours(block, only, first, second):
                yield _pair(own, levels, factor, first, second)


def _levels(cells: pd.DataFrame, factor: str) -> pd.Series:
    """The level of each cell, missing where the factor has no meaning for it."""
    values = cells[factor].astype(object)
    if factor == "schedule":
        return pd.Series(
            [_schedule(*pair) for pair in zip(cells["schedule"], cells["stages"], strict=True)],
            index=cells.index,
        )
    if factor in ("thinking", "method"):
        return values.where(values != "none", None)
    if factor == "dataset_size":
        return values.where(cells["method"] != "none", None)
    return values


def _schedule(kind: str, stages: int) -> str:
    return kind if kind == "oneshot" else f"{kind} in {stages}"


def _rank(cell: Mapping[Any, Any], factor: str) -> tuple[object, ...]:
    value = cell[factor]
    place = _place(factor, value)
    depth = _place("thinking", cell["thinking"]) if factor == "supervision" else 0
    return (place, cell["stages"] if factor == "schedule" else depth, value)


def _place(factor: str, value: str) -> int:
    """A level's place in `ORDER`; unknown ones come last, by name."""
    order = ORDER.get(factor, ())
    return order.index(value) if value in order else len(order)


def _neighbours(block: pd.DataFrame, only: np.ndarray, first: int, second: int) -> bool:
    """Whether no cell that matches both lies between two dataset sizes."""
    sizes = block["dataset_size"].to_numpy()
    between = (sizes > sizes[first]) & (sizes < sizes[second])
    return not (between & (only | only.T)[first] & (only | only.T)[second]).any()


def _pair(
    own: Sequence[Mapping[Any, Any]],
    levels: Mapping[str, pd.Series],
    factor: str,
    first: int,
    second: int,
) -> dict[str, Any]:
    """One matched pair. The context takes a level from the cell for which it has a meaning."""
    earlier, later = own[first], own[second]
    shared = {}
    for name in FACTORS:
        ours, theirs = levels[name].iloc[first], levels[name].iloc[second]
        shared[name] = theirs if ours is None or pd.isna(ours) else ours
    aim = f"to {earlier['planned_ratio']:g}"
    held = aim if factor == "schedule" else f"{shared['schedule']} {aim}"
    apart = {factor, "seed", "schedule"} | ({"thinking"} if factor == "supervision" else set())
    return {
        "factor": factor,
        "earlier": _level_name(earlier, factor),
        "later": _level_name(later, factor),
        "held": held,
        "context": ", ".join(
            f"{shared[name]:,} examples" if name == "dataset_size" else str(shared[name])
            for name in FACTORS
            if name not in apart and shared[name] is not None and not pd.isna(shared[name])
        ),
        "seed": earlier["seed"],
        "earlier_cell": (earlier["study"], earlier["cell"]),
        "later_cell": (later["study"], later["cell"]),
        "order": (
            FACTORS.index(factor),
            # Long chains come first.
            (0,) if factor == "schedule" else (-earlier["stages"], _rank(earlier, "schedule")),
            held,
            _rank(later, factor),
            _rank(earlier, factor),
            (later["task"], later["method"], later["dataset_size"], later["seed"]),
        ),
    }


def _level_name(cell: Mapping[Any, Any], factor: str) -> str:
    """A level in words; a supervision that reasons says how deeply."""
    value = cell[factor]
    if factor == "supervision" and value == "none":
        return "pruned only"
    if factor == "supervision" and cell["thinking"] != "none":
        return f"{value} ({cell['thinking']})"
    if factor == "schedule":
        return _schedule(value, cell["stages"])
    return f"{value:,}" if factor == "dataset_size" else str(value)
