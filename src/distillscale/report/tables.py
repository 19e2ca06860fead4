"""The tables of a report as rows of text, ready for the page."""

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from distillscale.report.metrics import BENCHMARKS, short_name
from distillscale.report.series import with_configurations

_MAIN_METRICS = (
    "macro_f1", "weighted_f1", "accuracy", "gold_nll", "reasoned_accuracy", "parse_failure_rate",
    "general", *BENCHMARKS, "kl_answer", "kl_reasoning", "kl_truncation_error_answer",
    "kl_truncation_error_reasoning", "ms_per_example",
)  # fmt: skip
_LAW_KEYS = ("task", "metric", "configuration", "thinking", "x")
_KEYS = {
    "task": "task", "configuration": "configuration", "schedule": "schedule",
    "dataset_size": "examples", "seed": "seed", "stage": "stage",
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A table's cell: its text, the number it sorts by, and a class for its look."""

    text: str
    order: float | None = None
    look: str = ""


@dataclass(frozen=True)
class Table:
    """A header and rows of equal length; `note` is what holds for all rows."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


def results_table(results: pd.DataFrame) -> Table:
    """One row a cell and stage, one column a main metric that was measured."""
    table = with_configurations(results)
    constant = {key for key in ("task", "seed") if table[key].nunique() == 1}
    keys = [key for key in _KEYS if key not in constant]
    metrics = [metric for metric in _MAIN_METRICS if metric in set(table["metric"])]
    groups = table.groupby(["task", "cell", "seed", "stage"], sort=False)
    rows = tuple(_result_row(rows, keys, metrics) for _, rows in groups)
    names = (*(_KEYS[key] for key in keys), "kept", "parameters", *map(short_name, metrics), "cell")
    return Table("Results", names, rows, _truncation_note(table))


def _truncation_note(results: pd.DataFrame) -> str:
    """How much of the KL the students' training did not see, where the teacher was truncated."""
    students = results[results["stage"] > 0]
    hidden = {
        segment: students.loc[students["metric"] == f"kl_truncation_error_{segment}", "value"]
        for segment in ("answer", "reasoning")
    }
    clauses = [
        f"on the {segment} {number(values.mean())} nats per token in the mean of all students "
        f"and {number(values.max())} at most"
        for segment, values in hidden.items()
        if values.notna().any()
    ]
    if not clauses:
        return ""
    return (
        "KL answer and KL reasoning compare exact distributions; students were trained on the "
        f"teacher's most likely tokens, which hid {', '.join(clauses)}"
    )


def _result_row(rows: pd.DataFrame, keys: list[str], metrics: list[str]) -> tuple[Cell, ...]:
    """The row of one cell and stage; `rows` are its metrics."""
    shared = rows.iloc[0]
    values = dict(zip(rows["metric"], rows["value"], strict=True))
    return (
        *(_key_cell(shared[key]) for key in keys),
        Cell(f"{shared['prune_ratio']:.0%}", float(shared["prune_ratio"]), "number"),
        Cell(f"{shared['params']:,.0f}", float(shared["params"]), "number"),
        *(_number_cell(values.get(metric)) for metric in metrics),
        Cell(str(shared["cell"])),
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


def with_interval(value: float, low: float | None, high: float | None, sign: str = "") -> str:
    """`value [low, high]`, the interval left out where it is missing."""
    shown = f"{sign}{number(value)}" if value > 0 else number(value)
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return shown
    return f"{shown} [{number(low)}, {number(high)}]"


def law_tables(laws: pd.DataFrame) -> list[Table]:
    """One table a law: a row for each task, configuration and metric, a column a parameter."""
    return [_law_table(str(law), own) for law, own in laws.groupby("law", sort=False)]


def _law_table(law: str, rows: pd.DataFrame) -> Table:
    parameters = [str(name) for name in rows["parameter"].unique() if name]
    keys = [key for key in _LAW_KEYS if key in rows]
    shown = [key for key in keys if key in ("metric", "configuration") or _tells_apart(rows, key)]
    common = set.intersection(*(set(_remarks(note)) for note in rows["note"]))
    body = [
        (*_names_of(fit, shown), *_parameters_of(fit, parameters), Cell(_note(fit, common)))
        for _, fit in rows.groupby(keys, sort=False)
    ]
    empty = all(not row[-1].text for row in body)
    header = (*shown, *parameters, "note")
    return Table(
        f"{law} law",
        header[:-1] if empty else header,
        tuple(row[:-1] if empty else row for row in body),
        "; ".join(remark for remark in _remarks(rows["note"].iloc[0]) if remark in common),
    )


def _tells_apart(rows: pd.DataFrame, key: str) -> bool:
    """Whether some configuration and metric was fitted with several values of `key`."""
    others = [name for name in ("metric", "configuration") if name != key]
    return bool(rows.groupby(others)[key].nunique().max() > 1)


def _names_of(fit: pd.DataFrame, keys: list[str]) -> Iterator[Cell]:
    for key in keys:
        name = str(fit[key].iloc[0])
        yield Cell(short_name(name) if key == "metric" else name)


def _parameters_of(fit: pd.DataFrame, parameters: list[str]) -> Iterator[Cell]:
    by_name = {str(row["parameter"]): row for row in fit.to_dict("records")}
    for name in parameters:
        yield _parameter_cell(by_name.get(name))


def _note(fit: pd.DataFrame, common: set[str]) -> str:
    """The remarks on one fit, with the parameters that each is about; without the common ones."""
    about: dict[str, list[str]] = {}
    for parameter, note in zip(fit["parameter"], fit["note"], strict=True):
        for remark in _remarks(note):
            if remark not in common:
                about.setdefault(remark, []).append(str(parameter))
    everywhere = len(fit)
    return "; ".join(
        remark if len(names) == everywhere else f"{', '.join(names)}: {remark}"
        for remark, names in about.items()
    )


def _remarks(note: object) -> list[str]:
    return note.split("; ") if isinstance(note, str) and note else []


def _parameter_cell(row: Mapping[Hashable, Any] | None) -> Cell:
    if row is None or pd.isna(row["estimate"]):
        return Cell("–")
    text = with_interval(row["estimate"], row["low"], row["high"])
    if row["identified"]:
        return Cell(text, float(row["estimate"]))
    return Cell(f"{text} ?", None, "unsure")


_CERTIFIED = {
    "law": "law", "task": "task", "metric": "metric", "configuration": "configuration",
    "thinking": "thinking", "x": "x", "loss": "loss", "gradient": "gradient",
    "starts": "starts", "reached": "reached", "second_basin": "second basin",
    "other_solver": "other solver", "doubts": "doubts",
}  # fmt: skip


def certificate_table(certificates: pd.DataFrame) -> Table | None:
    """One row a fitted law: the evidence that its estimate is the best fit; None without laws."""
    if certificates.empty:
        return None
    columns = [name for name in _CERTIFIED if name in certificates]
    rows = certificates[columns].to_dict("records")
    body = tuple(tuple(_certified_cell(name, row[name]) for name in columns) for row in rows)
    return Table("Certificates", tuple(_CERTIFIED[name] for name in columns), body)


def _certified_cell(name: str, value: Any) -> Cell:
    if name == "reached":
        return Cell(f"{value:.0%}", float(value), "number")
    if name == "metric":
        return Cell(short_name(str(value)))
    return (
        Cell(value or "none" if name == "doubts" else value)
        if isinstance(value, str)
        else (_number_cell(value))
    )


def recovery_tables(recovery: pd.DataFrame) -> list[Table]:
    """One table for each pair of configurations and schedule: a row a metric, a column a stage."""
    keys = [key for key in ("task", "configuration", "thinking", "against") if key in recovery]
    groups = recovery.groupby([*keys, "schedule"], sort=False)
    return [_recovery_table(rows) for _, rows in groups]


def _recovery_table(rows: pd.DataFrame) -> Table:
    """One pair's table; a stage that led to several sizes has a column for each."""
    rows = rows.sort_values(["stage", "prune_ratio"], ascending=[True, False], kind="stable")
    pairs = zip(rows["stage"], rows["prune_ratio"], strict=True)
    rows = rows.assign(column=[f"stage {stage}, {ratio:.0%} kept" for stage, ratio in pairs])
    columns = list(rows["column"].unique())
    body = []
    for _, own in rows.groupby(["metric", "dataset_size"], sort=False, dropna=False):
        by_column = {row["column"]: row for row in own.to_dict("records")}
        first = own.iloc[0]
        cells = [Cell(short_name(str(first["metric"]))), _number_cell(first["dataset_size"])]
        body.append((*cells, *(_difference_cell(by_column.get(column)) for column in columns)))
    return Table(_recovery_title(rows.iloc[0]), ("metric", "examples", *columns), tuple(body))


def _recovery_title(row: pd.Series) -> str:
    thinking = f" ({row['thinking']} thinking)" if row.get("thinking", "none") != "none" else ""
    pair = f"{row['configuration']}{thinking} − {row['against']}"
    return f"{pair}: {row['task']}, {row['schedule']} schedule"


def _difference_cell(row: Mapping[Hashable, Any] | None) -> Cell:
    if row is None:
        return Cell("–")
    look = "gain" if row["low"] > 0 else "loss" if row["high"] < 0 else ""
    text = with_interval(row["difference"], row["low"], row["high"], "+")
    return Cell(text, float(row["difference"]), look)
