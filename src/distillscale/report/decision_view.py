"""The decision's picture: what each model keeps, and what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import pandas as pd
from altair.typing import ChartType

from distillscale.laws.pareto import directions, pareto_front
from distillscale.report.decision import Decision
from distillscale.report.inputs import NotDrawn
from distillscale.report.metrics import axis_title
from distillscale.report.theme import (
    INK,
    MUTED,
    WIDTH,
    configuration_order,
    configuration_scales,
    finish,
    layered,
)

_SIZE = (WIDTH // 3 - 62, 250)
_CHOICE = "#c0267e"
_SETTING = [
    "configuration", "schedule", "stages", "dataset_size", "target", "stage", "thinking",
]  # fmt: skip
_TEACHER = "teacher"


@dataclass(frozen=True)
class _Axis:
    """What macro F1 is drawn against; `more`: it is to be large."""

    field: str
    title: str
    log: bool
    more: bool


_AXES = (
    _Axis("params", "Parameters without embeddings (log scale)", log=True, more=False),
    _Axis("general", axis_title("general"), log=False, more=True),
    _Axis("ms_per_example", f"{axis_title('ms_per_example')} (log scale)", log=True, more=False),
)


def fronts(results: pd.DataFrame, decisions: Sequence[Decision]) -> ChartType:
    """Macro F1 against size, general knowledge and time of every measured model, with the fronts.

    `results` are of one task, with the columns `configuration` and `target`; `decisions` has its
    decision, or nothing.
    """
    models = _models(results)
    axes = [axis for axis in _AXES if axis.field in models]
    panels = [_panel(models, axis, decisions) for axis in axes]
    row = alt.hconcat(*panels, spacing=30).resolve_scale(color="shared", shape="shared", y="shared")
    students = int((models["configuration"] != _TEACHER).sum())
    subtitle = [
        "Lines: students that no other student beats in both. Black: the teacher."
        + (" Ring: the answer; dashed: what the rule demands." if decisions else ""),
        f"{students} students, means over their runs.",
    ]
    return finish(row, "What each model keeps, and what it costs", subtitle)


def _models(results: pd.DataFrame) -> pd.DataFrame:
    """One row a model: its metrics by name, size and configuration.

    The teacher has a row for each depth of reasoning, which takes it different times.
    """
    wanted = ["macro_f1", *(axis.field for axis in _AXES)]
    rows = results[results["metric"].isin(wanted) & results["value"].notna()]
    teacher = rows["stage"] == 0
    keys = rows[_SETTING].fillna({"dataset_size": 0}).astype(object)
    for column, value in zip(_SETTING[:-1], (_TEACHER, "", 0, 0, 0, 0), strict=True):
        keys[column] = keys[column].where(~teacher, value)
    flat = keys.assign(metric=rows["metric"], value=rows["value"].astype(float))
    models = flat.groupby([*_SETTING, "metric"])["value"].mean().unstack("metric")
    sizes = keys.assign(params=rows["params"].astype(float)).groupby(_SETTING)["params"].mean()
    models = models.join(sizes).reset_index()
    if "macro_f1" not in models or models["macro_f1"].isna().all():
        raise NotDrawn("Macro F1 was not measured.")
    return models[models["macro_f1"].notna()].round(5)


def _panel(models: pd.DataFrame, axis: _Axis, decisions: Sequence[Decision]) -> alt.LayerChart:
    x, students = axis.field, models[models["configuration"] != _TEACHER]
    y_axis = alt.Y(
        "macro_f1:Q", title=axis_title("macro_f1"), scale=alt.Scale(zero=False),
        axis=alt.Axis(tickCount=6, domain=False, ticks=False),
    )  # fmt: skip
    ticks = alt.Axis(
        grid=False, tickCount=5, format="~s", labelOverlap="greedy", labelSeparation=8
    )  # fmt: skip
    ends = _ends(models[x].dropna(), log=axis.log)
    scale = alt.Scale(type="log" if axis.log else "linear", domain=ends, nice=False)
    x_axis = alt.X(f"{x}:Q", title=axis.title, axis=ticks, scale=scale)
    front = pareto_front(students, directions(["macro_f1", x]))
    line = alt.Chart(front[[x, "macro_f1"]].sort_values(x)).mark_line(
        interpolate="step-before" if axis.more else "step-after", color=INK, strokeWidth=1
    )
    own = models[models["configuration"] == _TEACHER]
    teacher = alt.Chart(own[[x, "macro_f1"]]).mark_point(size=60, filled=True, color=INK, opacity=1)
    layers = [
        line.encode(x_axis, y_axis),
        _students(students, x_axis, y_axis),
        teacher.encode(x_axis, y_axis),
        *_asked(decisions, x, x_axis, y_axis),
    ]
    return layered(*layers).properties(width=_SIZE[0], height=_SIZE[1])


def _students(students: pd.DataFrame, x: alt.X, y: alt.Y) -> alt.Chart:
    """A mark a student; all panels have the same data, so that the page holds them once."""
    measured = [axis.field for axis in _AXES if axis.field in students]
    shown = students[
        ["configuration", "schedule", "stage", "dataset_size", "macro_f1", *measured]
    ].astype({"stage": int, "dataset_size": int})
    colours, shapes = configuration_scales(configuration_order(students["configuration"]))
    legend = alt.Legend(orient="top", direction="horizontal", symbolOpacity=1, columns=6)
    tooltip = [
        "configuration:N", "schedule:N", "stage:Q",
        alt.Tooltip("dataset_size:Q", title="training examples", format=","), "macro_f1:Q",
        *(alt.Tooltip(f"{name}:Q", format=",.4~g") for name in measured),
    ]  # fmt: skip
    marks = alt.Chart(shown).mark_point(size=34, filled=True, opacity=0.85)
    return marks.encode(
        x, y,
        alt.Color("configuration:N", scale=colours, title=None, legend=legend),
        alt.Shape("configuration:N", scale=shapes, title=None, legend=legend),
        tooltip=tooltip,
    )  # fmt: skip


def _ends(values: pd.Series, *, log: bool) -> list[float]:
    """Where an axis begins and ends, with a little room at both sides."""
    low, high = float(values.min()), float(values.max())
    if log and low > 0:
        room = max((high / low) ** 0.06, 1.05)
        return [low / room, high * room]
    room = max(0.06 * (high - low), 1e-3)
    return [low - room, high + room]


def _asked(decisions: Sequence[Decision], x: str, x_axis: alt.X, y_axis: alt.Y) -> list[alt.Chart]:
    """What the rule demands as a dashed line, and a ring around the answer."""
    layers = []
    for decision in decisions:
        level = pd.DataFrame({"macro_f1": [round(decision.threshold, 5)]})
        layers.append(alt.Chart(level).mark_rule(color=MUTED, strokeDash=[5, 3]).encode(y=y_axis))
        for option in decision.options[:1]:
            places = {
                "params": option.params, "general": option.general,
                "ms_per_example": option.milliseconds,
            }  # fmt: skip
            ring = pd.DataFrame({x: [places[x]], "macro_f1": [option.macro_f1]})
            mark = alt.Chart(ring.astype(float).dropna()).mark_point(
                size=190, filled=False, strokeWidth=2.4, color=_CHOICE, shape="circle", opacity=1
            )
            layers.append(mark.encode(x_axis, y_axis))
    return layers
