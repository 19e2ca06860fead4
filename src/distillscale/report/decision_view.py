"""The decision's picture: what each model keeps, and what it costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from distillscale.laws.cost import COST_METRIC, TIME_METRIC, cost_per_million, with_cost
from distillscale.laws.pareto import directions, pareto_front
from distillscale.report.decision import Decision, Option
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

_SIZE, _ALONE = (WIDTH // 3 - 62, 250), (620, 300)
_LINE = 13  # pixels from one line of text to the next
_CHOICE, _BASELINE = "#c0267e", "#8a1c1c"
_STAR = (
    "M0,-1.1L0.26,-0.36L1.05,-0.34L0.42,0.14L0.65,0.89L0,0.44L-0.65,0.89L-0.42,0.14L-1.05,-0.34"
    "L-0.26,-0.36Z"
)
_SETTING = [
    "configuration", "schedule", "stages", "dataset_size", "target", "stage", "thinking",
]  # fmt: skip
_TEACHER = "teacher"


@dataclass(frozen=True)
class _Axis:
    """What macro F1 is drawn against; `more`: it is to be large. `of` reads it from an option.

    `ticks` is the format of their labels; SI prefixes (`~s`) suit large numbers only.
    """

    field: str
    title: str
    log: bool
    more: bool
    of: Callable[[Option], float | None]
    ticks: str = "~s"


_AXES = (
    _Axis(
        "params", "Parameters without embeddings (log scale)", log=True, more=False,
        of=lambda option: option.params,
    ),
    _Axis(
        "general", axis_title("general"), log=False, more=True, of=lambda option: option.general
    ),
    _Axis(
        "ms_per_example", f"{axis_title('ms_per_example')} (log scale)", log=True, more=False,
        of=lambda option: option.milliseconds, ticks=",.3~g",
    ),
)  # fmt: skip


def fronts(
    results: pd.DataFrame, decisions: Sequence[Decision], baselines: pd.DataFrame
) -> ChartType:
    """Macro F1 against size, general knowledge and time of every measured model, with the fronts.

    `results` are of one task, with the columns `configuration` and `target`; `decisions` has its
    decision, or nothing, `baselines` its rows of the table of baselines.
    """
    return _pictures(
        results, decisions, baselines, _AXES, _SIZE, "What each model keeps, and what it costs"
    )


def money(
    results: pd.DataFrame,
    decisions: Sequence[Decision],
    baselines: pd.DataFrame,
    hourly_price: float,
) -> ChartType:
    """Macro F1 against money for a million texts in batches of 32; tables as for `fronts`."""
    unit = cost_per_million(1.0, hourly_price)

    def of(option: Option) -> float | None:
        time = option.batch_milliseconds
        return None if time is None else unit * time

    title = f"Money for a million texts, at {hourly_price:g} an hour (log scale)"
    axis = _Axis(COST_METRIC, title, log=True, more=False, of=of, ticks=",.3~g")
    if results.loc[results["metric"] == TIME_METRIC, "value"].dropna().empty:
        raise NotDrawn("Times in batches of 32 were not measured.")
    priced, others = with_cost(results, hourly_price), with_cost(baselines, hourly_price)
    return _pictures(priced, decisions, others, (axis,), _ALONE, "What a million texts cost")


def _pictures(
    results: pd.DataFrame,
    decisions: Sequence[Decision],
    baselines: pd.DataFrame,
    wanted: Sequence[_Axis],
    size: tuple[int, int],
    title: str,
) -> ChartType:
    """One panel for each of the axes that were measured."""
    models, others = _models(results, wanted), _baselines(baselines, wanted)
    axes = [axis for axis in wanted if axis.field in models]
    panels = [_panel(models, others, axis, axes, decisions, size) for axis in axes]
    row = alt.hconcat(*panels, spacing=30).resolve_scale(color="shared", shape="shared", y="shared")
    students = int((models["configuration"] != _TEACHER).sum())
    who = "students that no other student beats" if others.empty else "models that no other beats"
    subtitle = [
        f"Lines: {who} in both. Black: the teacher."
        + (" Ring: the answer; dashed: what the rule demands." if decisions else "")
        + ("" if others.empty else " Stars: what one would use instead."),
        f"{students} students, means over their runs.",
    ]
    return finish(row, title, subtitle)


def _baselines(table: pd.DataFrame, axes: Sequence[_Axis]) -> pd.DataFrame:
    """One row a baseline: the means over its seeds of macro F1 and of what the axes show."""
    fields = [axis.field for axis in axes]
    values = table.groupby(["baseline", "metric"], sort=False)["value"].mean().unstack("metric")
    sizes = table.groupby("baseline")["params"].mean()
    models = values.join(sizes).reindex(columns=["macro_f1", *fields]).astype(float)
    return models[models["macro_f1"].notna()].round(5).reset_index(names="baseline")


def _models(results: pd.DataFrame, axes: Sequence[_Axis]) -> pd.DataFrame:
    """One row a model: its metrics by name, size and configuration.

    The teacher has a row for each depth of reasoning, which takes it different times.
    """
    wanted = ["macro_f1", *(axis.field for axis in axes)]
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


def _panel(
    models: pd.DataFrame,
    baselines: pd.DataFrame,
    axis: _Axis,
    axes: Sequence[_Axis],
    decisions: Sequence[Decision],
    size: tuple[int, int],
) -> alt.LayerChart:
    x, students = axis.field, models[models["configuration"] != _TEACHER]
    others = baselines[baselines[x].notna()]
    y_axis = alt.Y(
        "macro_f1:Q", title=axis_title("macro_f1"), scale=alt.Scale(zero=False),
        axis=alt.Axis(tickCount=6, domain=False, ticks=False),
    )  # fmt: skip
    ticks = alt.Axis(
        grid=False, tickCount=5, format=axis.ticks, labelOverlap="greedy", labelSeparation=8
    )  # fmt: skip
    ends = _ends(pd.concat([models[x].dropna(), others[x]]), log=axis.log)
    scale = alt.Scale(type="log" if axis.log else "linear", domain=ends, nice=False)
    x_axis = alt.X(f"{x}:Q", title=axis.title, axis=ticks, scale=scale)
    compared = pd.concat([frame[[x, "macro_f1"]] for frame in (students, others)])
    front = pareto_front(compared, directions(["macro_f1", x]))
    line = alt.Chart(front.sort_values(x)).mark_line(
        interpolate="step-before" if axis.more else "step-after", color=INK, strokeWidth=1
    )
    own = models[models["configuration"] == _TEACHER]
    teacher = alt.Chart(own[[x, "macro_f1"]]).mark_point(size=60, filled=True, color=INK, opacity=1)
    layers = [
        line.encode(x_axis, y_axis),
        _students(students, axes, x_axis, y_axis),
        teacher.encode(x_axis, y_axis),
        *_stars(others, axis, ends, _pixels(others, models, size[1]), x_axis, y_axis),
        *_asked(decisions, axis, x_axis, y_axis),
    ]
    return layered(*layers).properties(width=size[0], height=size[1])


def _students(students: pd.DataFrame, axes: Sequence[_Axis], x: alt.X, y: alt.Y) -> alt.Chart:
    """A mark a student; all panels have the same data, so that the page holds them once."""
    measured = [axis.field for axis in axes]
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


def _pixels(baselines: pd.DataFrame, models: pd.DataFrame, height: int) -> pd.Series:
    """How far below its star each baseline's name stands, so that no two are on one line."""
    values = pd.concat([models["macro_f1"], baselines["macro_f1"]])
    unit = height / max(float(values.max() - values.min()), 1e-6)
    ordered = baselines["macro_f1"].sort_values(ascending=False)
    places, last = [], -np.inf
    for own in (values.max() - ordered) * unit:
        last = max(own - _LINE / 2, last + _LINE)
        places.append(last - own)
    return pd.Series(places, ordered.index, dtype=float)


def _stars(
    baselines: pd.DataFrame,
    axis: _Axis,
    ends: list[float],
    below: pd.Series,
    x: alt.X,
    y: alt.Y,
) -> list[alt.Chart]:
    """A star a baseline, with its name on the side where there is more room."""
    field = axis.field
    middle = (ends[0] * ends[1]) ** 0.5 if axis.log and ends[0] > 0 else sum(ends) / 2
    tooltip = ["baseline:N", "macro_f1:Q", alt.Tooltip(f"{field}:Q", format=",.4~g")]
    stars, names = [], []
    for row in baselines.index:
        own = baselines.loc[[row], ["baseline", field, "macro_f1"]]
        base = alt.Chart(own).encode(x, y)
        star = base.mark_point(shape=_STAR, size=110, filled=True, color=_BASELINE, opacity=1)
        stars.append(star.encode(tooltip=tooltip))
        left = bool(own[field].iloc[0] < middle)
        for rim in (3, 0):  # a white rim, where a line passes behind
            name = base.mark_text(
                align="left" if left else "right", dx=9 if left else -9, dy=float(below[row]),
                fontSize=11, color=_BASELINE, stroke="white", strokeWidth=rim,
            )  # fmt: skip
            names.append(name.encode(text="baseline:N"))
    return stars + names


def _ends(values: pd.Series, *, log: bool) -> list[float]:
    """Where an axis begins and ends, with a little room at both sides."""
    low, high = float(values.min()), float(values.max())
    if log and low > 0:
        room = max((high / low) ** 0.06, 1.05)
        return [low / room, high * room]
    room = max(0.06 * (high - low), 1e-3)
    return [low - room, high + room]


def _asked(
    decisions: Sequence[Decision], axis: _Axis, x_axis: alt.X, y_axis: alt.Y
) -> list[alt.Chart]:
    """What the rule demands as a dashed line, and a ring around the answer."""
    layers = []
    for decision in decisions:
        level = pd.DataFrame({"macro_f1": [round(decision.threshold, 5)]})
        layers.append(alt.Chart(level).mark_rule(color=MUTED, strokeDash=[5, 3]).encode(y=y_axis))
        for option in decision.options[:1]:
            ring = pd.DataFrame({axis.field: [axis.of(option)], "macro_f1": [option.macro_f1]})
            mark = alt.Chart(ring.astype(float).dropna()).mark_point(
                size=190, filled=False, strokeWidth=2.4, color=_CHOICE, shape="circle", opacity=1
            )
            layers.append(mark.encode(x_axis, y_axis))
    return layers
