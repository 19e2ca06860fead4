"""What the report draws of laws of several inputs or groups: their lines, and the points behind."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from distillscale.laws import JointFit, joint_table, plan_joint_laws
from distillscale.laws.arrays import Array
from distillscale.laws.joint_plan import FORMAT, TEACHER_PARAMS, JointPlan
from distillscale.laws.points import read_replicates, without_repetitions
from distillscale.report.inputs import empty_table
from distillscale.results import configuration_name

_LINE_POINTS, _BEYOND_POINTS = 24, 8
_BEYOND = 2.0  # the factor that a law is drawn beyond its points
_PERCENTILES = (5.0, 95.0)
# What each law is drawn over; the other inputs are held, the dataset size at each that was run.
_DRAWN_OVER = {
    "data": "dataset_size", "additive": "params", "pruned": "prune_ratio",
    "pruned_one_teacher": "prune_ratio",
}  # fmt: skip
_SAME_PLACE = 0.03  # of ln x: runs of one target differ by so much
BY_FORMAT = "data, formats together"


@dataclass(frozen=True)
class _Line:
    """One line of a picture: what it is called, its group, and its points, usable ones only.

    `held` are the inputs that do not vary along it.
    """

    head: dict[str, Any]
    level: str | None
    held: Mapping[str, float]
    points: pd.DataFrame


def joint_laws_table(joint: Sequence[JointFit]) -> pd.DataFrame:
    """As `joint_table`; the data law of all formats has a name of its own."""
    return _named(joint_table(joint))


def with_own_name(table: pd.DataFrame, joint: Sequence[JointFit]) -> pd.DataFrame:
    """Certificates of joint laws, the data law of all formats by its own name."""
    assert len(table) == len(joint)
    return _named(table)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """Of joint laws only one of several groups is a data law."""
    return table.assign(law=table["law"].replace({"data": BY_FORMAT}))


def joint_lines(table: pd.DataFrame, joint: Sequence[JointFit]) -> pd.DataFrame:
    """Each law along one input, a line a format or dataset size.

    A line is `fitted` between the points that were measured on it, and `beyond` elsewhere: up to
    the ends of the law's range and on to twice the dataset size, or half the model.
    """
    rows = [
        line.head | {"piece": piece, "part": "beyond" if piece != "fitted" else piece}
        | dict(zip(("x", "value", "low", "high"), numbers, strict=True))
        for fit, line in _lines(table, joint)
        for piece, xs in _pieces(fit, line)
        for numbers in _along(fit, line, xs)
    ]  # fmt: skip
    return pd.DataFrame(rows) if rows else empty_table("joint_lines")


def joint_points(table: pd.DataFrame, joint: Sequence[JointFit]) -> pd.DataFrame:
    """The measured points behind each line, with what the law predicts and misses of them."""
    rows = []
    for fit, line in _lines(table, joint):
        places = line.points[list(fit.columns)].to_numpy(dtype=float).T
        predicted = fit.predict_many(places, line.level).value
        over = line.points[_DRAWN_OVER[fit.form]].to_numpy(dtype=float)
        for row, x, value in zip(line.points.to_dict("records"), over, predicted, strict=True):
            replicates = read_replicates(row["replicates"])
            low, high = np.percentile(replicates, _PERCENTILES) if len(replicates) else (None,) * 2
            rows.append(
                line.head | {"x": x, "value": row["value"], "low": low, "high": high}
                | {"predicted": value, "residual": row["value"] - value}
            )  # fmt: skip
    return pd.DataFrame(rows) if rows else empty_table("joint_points")


def _lines(table: pd.DataFrame, joint: Sequence[JointFit]) -> Iterator[tuple[JointFit, _Line]]:
    """The lines of all laws that are drawn: of sizes, those without embeddings."""
    plans = {_identity(plan): plan for plan in plan_joint_laws(table)} if joint else {}
    for number, fit in enumerate(joint):
        plan = plans.get((fit.form, fit.metric, fit.columns, tuple(sorted(fit.group.items()))))
        embedded = any(column.endswith("with_embeddings") for column in fit.columns)
        if plan is None or embedded or _DRAWN_OVER.get(fit.form) not in fit.columns:
            continue
        for line in _lines_of(fit, plan):
            yield fit, _Line(line.head | {"fit": number}, line.level, line.held, line.points)


def _identity(plan: JointPlan) -> tuple[object, ...]:
    return plan.law, plan.metric, plan.columns, tuple(sorted(plan.group.items()))


def _lines_of(fit: JointFit, plan: JointPlan) -> Iterator[_Line]:
    columns = list(fit.columns)
    rows = without_repetitions(plan.rows, columns)
    usable = np.isfinite(rows[[*columns, "value"]].to_numpy(dtype=float)).all(axis=1)
    rows = rows[usable & (rows[columns] > 0).all(axis=1).to_numpy()]
    others = [column for column in columns if column != _DRAWN_OVER[fit.form]]
    head = {
        "law": fit.form, "task": fit.group.get("task", ""), "metric": fit.metric,
        "x_name": _DRAWN_OVER[fit.form],
    }  # fmt: skip
    if fit.levels:
        for level, points in rows.groupby(FORMAT):
            first = points.iloc[0]
            named = {
                "configuration": configuration_name(first["supervision"], first["method"]),
                "thinking": first["thinking"], "panel": first["method"], "dataset_size": np.nan,
            }  # fmt: skip
            yield _Line(head | named, str(level), {}, points)
        return
    several = TEACHER_PARAMS in columns and rows[TEACHER_PARAMS].nunique() > 1
    for held, points in rows.groupby(others):
        values = {name: float(v) for name, v in zip(others, held, strict=True)}
        size = f"teacher of {values[TEACHER_PARAMS]:,.0f}" if several else ""
        named = {
            "configuration": fit.group["configuration"], "thinking": fit.group["thinking"],
            "panel": size, "dataset_size": values["dataset_size"],
        }  # fmt: skip
        yield _Line(head | named, None, values, points)


def _pieces(fit: JointFit, line: _Line) -> Iterator[tuple[str, Array]]:
    """Where a line is drawn: `below`, `fitted` and `above`, without empty pieces."""
    x = _DRAWN_OVER[fit.form]
    low, high = float(line.points[x].min()), float(line.points[x].max())
    if x == "dataset_size":
        ends = fit.ranges[x][0], high * _BEYOND
    else:
        ends = fit.ranges[x][0] / _BEYOND, fit.ranges[x][1]
    if np.log(high / low) <= _SAME_PLACE:  # one place only: nothing of the line was measured
        yield "below", np.geomspace(*ends, _LINE_POINTS)
        return
    for piece, start, end, count in (
        ("below", ends[0], low, _BEYOND_POINTS),
        ("fitted", low, high, _LINE_POINTS),
        ("above", high, ends[1], _BEYOND_POINTS),
    ):
        if np.log(end / start) > _SAME_PLACE:
            yield piece, np.geomspace(start, end, count)


def _along(fit: JointFit, line: _Line, xs: Array) -> Iterator[tuple[float, ...]]:
    """x, value and interval of the law at places along a line."""
    over = _DRAWN_OVER[fit.form]
    places = [
        xs if column == over else np.full(len(xs), line.held[column]) for column in fit.columns
    ]
    found = fit.predict_many(places, line.level)
    yield from zip(xs, found.value, found.low, found.high, strict=True)
