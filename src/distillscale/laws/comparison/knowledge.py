"""General knowledge split into what the teacher's traces repeat and what they do not."""

import numpy as np
import pandas as pd

from distillscale.laws.points import read_replicates

SPLITS = ("rehearsed", "unrehearsed")


def with_splits(table: pd.DataFrame) -> pd.DataFrame:
    """The results table with `general_rehearsed` and `general_unrehearsed`.

    Each is the unweighted mean over the benchmarks that have the split, as `general` is over all.
    A model that lacks one of the table's benchmarks does not get it, and what is there stays.
    """
    there = set(table["metric"])
    parts = [table]
    for split in SPLITS:
        names = sorted(name for name in there if str(name).endswith(f"_{split}"))
        if names and f"general_{split}" not in there:
            parts.append(_mean(table[table["metric"].isin(names)], names, f"general_{split}"))
    return pd.concat(parts, ignore_index=True) if len(parts) > 1 else table


def _mean(rows: pd.DataFrame, names: list[str], metric: str) -> pd.DataFrame:
    """One row a model: the mean of its benchmarks, value, chance and replicates."""
    found = []
    for _, own in rows.groupby(["study", "cell", "stage"], sort=False):
        if len(own) < len(names) or own["value"].isna().any():
            continue
        replicates = [read_replicates(entry) for entry in own["replicates"]]
        count = min(len(row) for row in replicates)
        mean = np.stack([row[:count] for row in replicates]).mean(axis=0)
        found.append(
            own.iloc[0].to_dict()
            | {
                "metric": metric,
                "value": own["value"].mean(),
                "chance": own["chance"].mean(skipna=False),
                "examples": own["examples"].sum(),
                "replicates": mean.tolist(),
            }
        )
    return pd.DataFrame(found, columns=rows.columns)
