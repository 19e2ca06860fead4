"""The tables of a report as rows of text, ready for the page."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from distillscale.report.metrics import BENCHMARKS, short_name
from distillscale.report.series import with_configurations

_MAIN_METRICS = (
    "macro_f1", "weighted_f1", "accuracy", "gold_nll", "reasoned_accuracy", "parse_failure_rate",
    "general", *BENCHMARKS, "kl_answer", "kl_reasoning", "ms_per_example",
)  # fmt: skip
_CELL_KEYS = ["task", "cell", "configuration", "schedule", "dataset_size", "seed", "stage"]


@dataclass(frozen=True)
class Cell:
    """A table's cell: its text, the number it sorts by, and a class for its look."""

    text: str
    order: float | None = None
    look: str = ""


@dataclass(frozen=True)
class Table:
    """A header and rows of equal length."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def results_table(results: pd.DataFrame) -> Table:
    """One row a cell and stage, one column a main metric that was measured."""
    table = with_configurations(results)
    keys = [key for key in _CELL_KEYS if key != "task" or table["task"].nunique() > 1]
    metrics = [metric for metric in _MAIN_METRICS if metric in set(table["metric"])]
    groups = table.groupby(["task", "cell", "seed", "stage"], sort=False)
    rows = tuple(_result_row(rows, keys, metrics) for _, rows in groups)
    header = (*(key.replace("_", " ") for key in keys), "kept", "parameters")
    return Table("Results", (*header, *map(short_name, metrics)), rows)


def _result_row(rows: pd.DataFrame, keys: list[str], metrics: list[str]) -> tuple[Cell, ...]:
    """The row of one cell and stage; `rows` are its metrics."""
    shared = rows.iloc[0]
    values = dict(zip(rows["metric"], rows["value"], strict=True))
    return (
        *(_key_cell(shared[key]) for key in keys),
        Cell(f"{shared['prune_ratio']:.0%}", float(shared["prune_ratio"]), "number"),
        Cell(f"{shared['params']:,.0f}", float(shared["params"]), "number"),
        *(_number_cell(values.get(metric)) for metric in metrics),
    )


def _key_cell(value: Any) -> Cell:
    return Cell(value) if isinstance(value, str) else _number_cell(value)


def _number_cell(value: float | None) -> Cell:
    if value is None or pd.isna(value):
        return Cell("–", None, "number")
    return Cell(number(value), float(value), "number")


def number(value: float) -> str:
    """A number with about three significant digits, whole from 1,000 on."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else f"{value}"
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.2e}"
    if abs(value) < 0.001:
        return f"{value:.1e}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def with_interval(value: float, low: float, high: float, sign: str = "") -> str:
    """`value [low, high]`, the interval left out where it is missing."""
    shown = f"+{number(value)}" if sign and value > 0 else number(value)
    if math.isnan(low) or math.isnan(high):
        return shown
    return f"{shown} [{number(low)}, {number(high)}]"


def law_tables(laws: pd.DataFrame) -> list[Table]:
    """One table a law: a row for each task, configuration and metric, a column a parameter."""
    return [_law_table(str(law), own) for law, own in laws.groupby("law", sort=False)]


def _law_table(law: str, rows: pd.DataFrame) -> Table:
    parameters = [str(name) for name in rows["parameter"].unique()]
    keys = ["task", "metric", "configuration"]
    body = []
    for key, fit in rows.groupby(keys, sort=False):
        by_name = {str(row["parameter"]): row for row in fit.to_dict("records")}
        notes = dict.fromkeys(str(note) for note in fit["note"] if isinstance(note, str) and note)
        cells = [Cell(str(key[0])), Cell(short_name(str(key[1]))), Cell(str(key[2]))]
        cells += [_parameter_cell(by_name.get(name)) for name in parameters]
        body.append((*cells, Cell("; ".join(notes))))
    return Table(f"{law} law", (*keys, *parameters, "note"), tuple(body))


def _parameter_cell(row: Mapping[Hashable, Any] | None) -> Cell:
    if row is None:
        return Cell("–", None, "number")
    text = with_interval(row["estimate"], row["low"], row["high"])
    if row["identified"]:
        return Cell(text, float(row["estimate"]), "number")
    return Cell(f"{text} not identified", None, "number unsure")


def recovery_tables(recovery: pd.DataFrame) -> list[Table]:
    """One table for each pair of configurations: a row a metric and schedule, a column a stage."""
    groups = recovery.groupby(["task", "configuration", "against"], sort=False)
    return [
        _recovery_table(f"{name} − {against} ({task})", rows)
        for (task, name, against), rows in groups
    ]


def _recovery_table(title: str, rows: pd.DataFrame) -> Table:
    stages = sorted(rows["stage"].unique())
    body = []
    keys = ["metric", "schedule", "dataset_size"]
    for _, own in rows.groupby(keys, sort=False, dropna=False):
        metric, schedule, size = own[keys].iloc[0]
        by_stage = {row["stage"]: row for row in own.to_dict("records")}
        cells = [Cell(short_name(str(metric))), Cell(str(schedule)), _number_cell(size)]
        body.append((*cells, *(_difference_cell(by_stage.get(stage)) for stage in stages)))
    header = ("metric", "schedule", "examples", *(f"stage {stage}" for stage in stages))
    return Table(title, header, tuple(body))


def _difference_cell(row: Mapping[Hashable, Any] | None) -> Cell:
    if row is None:
        return Cell("–", None, "number")
    look = "gain" if row["low"] > 0 else "loss" if row["high"] < 0 else ""
    text = with_interval(row["difference"], row["low"], row["high"], "+")
    text = f"{text} at {row['prune_ratio']:.0%}"
    return Cell(text, float(row["difference"]), f"number {look}".strip())
