"""The setting of a cell: all that its chain was made with, apart from the seed.

Cells of one setting are repetitions of one another; laws and comparisons group by it.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from distillscale.results import configuration_name

# Measured ratios of one target differ a little between seeds (whole layers, rounded widths); wider
# apart than this share, they are different targets.
SAME_RATIO = 0.03

SETTING = [
    "task", "supervision", "thinking", "method", "schedule", "stages", "dataset_size",
    "final_ratio",
]  # fmt: skip


def with_settings(table: pd.DataFrame) -> pd.DataFrame:
    """The results table with the columns `configuration` and `final_ratio`.

    `final_ratio` is the prune ratio at the end of the cell's chain, equal for cells that aim at
    the same one: it tells apart explicit schedules of equally many stages. A missing dataset size
    (chains that are only pruned) becomes 0.
    """
    pairs = zip(table["supervision"], table["method"], strict=True)
    return table.assign(
        configuration=[configuration_name(*pair) for pair in pairs],
        dataset_size=table["dataset_size"].fillna(0),
        final_ratio=_final_ratio(table),
    )


def chain_label(setting: Mapping[str, Any]) -> str:
    """A setting in words: what distinguishes its chain, for messages."""
    configuration = configuration_label(setting["configuration"], setting["thinking"])
    return (
        f"{configuration}, {setting['schedule']} in {setting['stages']} stages, "
        f"{setting['dataset_size']:,.0f} examples"
    )


def configuration_label(configuration: str, thinking: str) -> str:
    """A configuration's name with the depth of the teacher's reasoning, where there is any."""
    return configuration if thinking == "none" else f"{configuration} ({thinking} thinking)"


def same_ratio(left: float, right: float) -> bool:
    """Whether two measured prune ratios aim at the same one."""
    return abs(left - right) <= SAME_RATIO * max(left, right)


def _final_ratio(table: pd.DataFrame) -> pd.Series:
    cell = [table["study"], table["cell"]]
    ends = table["prune_ratio"].where(
        table["stage"] == table.groupby(cell)["stage"].transform("max")
    )
    ratio = ends.groupby(cell).transform("mean")
    return ratio.groupby(table["task"]).transform(merged_ratios)


def merged_ratios(ratios: pd.Series) -> pd.Series:
    """Each ratio replaced by the mean of those that aim at the same one."""
    values = pd.Series(sorted(ratios.unique()))
    cluster = (values > values.shift() * (1 + SAME_RATIO)).cumsum()
    means = values.groupby(cluster).transform("mean").round(3)
    return ratios.map(dict(zip(values, means, strict=True)))
