"""Which rows of the results a figure shows, and the value and interval of each point."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from distillscale.report.inputs import NotDrawn
from distillscale.report.metrics import short_name
from distillscale.report.theme import SCHEDULE_ORDER
from distillscale.results import configuration_name

_PERCENTILES = (5.0, 95.0)
_SAME_RATIO = 0.03  # kept ratios closer than this (relative) are called one ratio


@dataclass(frozen=True)
class View:
    """The rows that one figure draws, and a phrase on what they have in common."""

    rows: pd.DataFrame
    held_fixed: str


def with_configurations(results: pd.DataFrame) -> pd.DataFrame:
    """The results with the columns `configuration` and `target`.

    `configuration` names the depth of thinking only where it was run with several. `target` is the
    kept ratio at the end of the row's chain.
    """
    pairs = zip(results["supervision"], results["method"], strict=True)
    table = results.assign(configuration=[configuration_name(*pair) for pair in pairs])
    chain = table.groupby(["task", "cell", "seed"])
    table = table.assign(target=_clusters(chain["prune_ratio"].transform("min")))
    return name_thinking(table, several_depths(table))


def several_depths(results: pd.DataFrame) -> set[str]:
    """The configurations that were run with more than one depth of thinking."""
    pairs = zip(results["supervision"], results["method"], strict=True)
    names = pd.Series([configuration_name(*pair) for pair in pairs], results.index, dtype=object)
    depths = results.groupby(names)["thinking"].nunique()
    return set(depths[depths > 1].index)


def name_thinking(table: pd.DataFrame, several: set[str]) -> pd.DataFrame:
    """The table with the depth of thinking added to the configurations in `several`.

    A table without the column `thinking` is returned as it is.
    """
    if "thinking" not in table or table.empty:
        return table
    names = [
        f"{name} ({thinking})" if name in several else name
        for name, thinking in zip(table["configuration"], table["thinking"], strict=True)
    ]
    return table.assign(configuration=names)


def summarise(rows: pd.DataFrame, metrics: Sequence[str], by: Sequence[str]) -> pd.DataFrame:
    """One point per metric, configuration and value of the columns `by`: the mean over its runs.

    The interval [low, high] holds the middle 90 % of the replicates of all the point's runs
    together, so it covers test sampling and, where there are several, the spread between seeds.
    Without replicates it is missing.

    Raises:
        NotDrawn: none of `metrics` was measured.
    """
    keys = ["metric", "configuration", *by]
    measured = rows[rows["metric"].isin(metrics) & np.isfinite(rows["value"].astype(float))]
    if measured.empty:
        raise NotDrawn(f"None of {', '.join(map(short_name, metrics))} was measured.")
    return pd.DataFrame(
        [_point(dict(zip(keys, key, strict=True)), group) for key, group in measured.groupby(keys)]
    )


def teacher_params(points: pd.DataFrame) -> float:
    """The teacher's parameters without embeddings, from any of its students' sizes."""
    return float((points["params"] / points["prune_ratio"]).median())


def measured_in(points: pd.DataFrame, metrics: Sequence[str]) -> list[str]:
    """Those of `metrics` that have points, in their order."""
    return [metric for metric in metrics if metric in set(points["metric"])]


def _point(key: dict[str, object], group: pd.DataFrame) -> dict[str, object]:
    drawn = [np.asarray(r, dtype=float) for r in group["replicates"] if _has_values(r)]
    pooled = np.concatenate(drawn) if drawn else np.array([])
    pooled = pooled[np.isfinite(pooled)]
    low, high = np.percentile(pooled, _PERCENTILES) if pooled.size else (np.nan, np.nan)
    means = {c: group[c].mean() for c in ("value", "chance", "params", "prune_ratio", "examples")}
    return {**means, "low": low, "high": high, "seeds": group["seed"].nunique(), **key}


def _has_values(replicates: object) -> bool:
    return isinstance(replicates, list | tuple | np.ndarray) and len(replicates) > 0


def by_dataset_size(results: pd.DataFrame) -> View:
    """The rows at the schedule, stage and kept ratio that were run with most dataset sizes."""
    trained = results[(results["stage"] >= 1) & (results["method"] != "none")]
    trained = trained.assign(ratio=_clusters(trained["prune_ratio"]))
    groups = [rows for _, rows in trained.groupby(["schedule", "stage", "ratio"])]
    rows = max(groups, key=_richness, default=trained)
    if _richness(rows)[0] < 2:
        raise NotDrawn("No kept ratio was run with more than one dataset size.")
    first = rows.iloc[0]
    held = f"{first['ratio']:.0%} of the teacher kept, {first['schedule']} schedule"
    return View(rows, f"{held}, stage {first['stage']}")


def _richness(rows: pd.DataFrame) -> tuple[int, int, float]:
    """How good a group is for comparing dataset sizes: sizes of a configuration, cells, depth."""
    if rows.empty:
        return 0, 0, 0.0
    sizes = rows.groupby("configuration")["dataset_size"].nunique().max()
    return int(sizes), rows["cell"].nunique(), -float(rows["ratio"].iloc[0])


def _clusters(ratios: pd.Series) -> pd.Series:
    """Each kept ratio replaced by the smallest of the ratios that are practically equal to it."""
    if ratios.empty:
        return ratios
    distinct = np.sort(ratios.unique())
    starts = distinct[np.insert(np.diff(distinct) > _SAME_RATIO * distinct[:-1], 0, True)]
    return pd.Series(starts[np.searchsorted(starts, ratios, side="right") - 1], ratios.index)


def by_model_size(results: pd.DataFrame) -> View:
    """The chains of the uniform schedule at one dataset size, the pruned-only control with them."""
    chains = results[(results["schedule"] == "uniform") & (results["stages"] > 1)]
    trained = chains[chains["method"] != "none"]
    if trained.empty:
        raise NotDrawn("No chain of the uniform schedule has more than one stage.")
    size = _most_common(trained, "dataset_size")
    stages = _most_common(trained[trained["dataset_size"] == size], "stages")
    control = (chains["method"] == "none") & (chains["stages"] == stages)
    chosen = (chains["dataset_size"] == size) & (chains["stages"] == stages)
    held = f"uniform schedule of {stages} stages, {size:,.0f} training examples"
    return View(chains[control | chosen], held)


def by_schedule(results: pd.DataFrame) -> View:
    """The chains of configurations that were run under several schedules at one dataset size."""
    known = results[results["schedule"].isin(SCHEDULE_ORDER[:3])]
    longest = known.groupby("schedule")["stages"].transform("max")
    known = known[known["stages"] == longest]
    group = known.groupby(["configuration", "dataset_size"], dropna=False)
    compared = known[group["schedule"].transform("nunique") > 1]
    if compared.empty:
        raise NotDrawn("No configuration was run under more than one schedule.")
    trained = compared[compared["method"] != "none"]
    size = _most_common(trained if len(trained) else compared, "dataset_size")
    rows = compared[(compared["dataset_size"] == size) | (compared["method"] == "none")]
    return View(rows, f"{size:,.0f} training examples")


def _most_common(rows: pd.DataFrame, key: str) -> int:
    """The value of column `key` shared by most configurations; among equals, the largest."""
    counts = rows.groupby(key)["configuration"].nunique()
    return int(max(counts.index, key=lambda value: (counts[value], value)))


def control_at(results: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The pruned-only rows with the schedule, stage and kept ratio of `rows`."""
    first = rows.iloc[0]
    close = (results["prune_ratio"] / rows["prune_ratio"].mean() - 1).abs() <= _SAME_RATIO
    same = (results["stage"] == first["stage"]) & (results["schedule"] == first["schedule"])
    return results[(results["method"] == "none") & same & close]
