"""Uniform against decayed and oneshot pruning."""

import altair as alt
import pandas as pd
from altair.typing import ChartType

from distillscale.report import series
from distillscale.report.comparisons import INTERVALS, present, sentence
from distillscale.report.panels import LEGEND, Channels, SizeAxis, params_axis, point_tooltip
from distillscale.report.theme import (
    INK,
    SCHEDULE_DASHES,
    SCHEDULE_ORDER,
    SCHEDULE_SHAPES,
    WIDTH,
    configuration_order,
    finish,
    layered,
)


def against_schedule(
    results: pd.DataFrame, _curves: pd.DataFrame, metrics: list[str], what: str
) -> ChartType:
    """Uniform against decayed and oneshot pruning, one column a configuration.

    No curves are drawn: laws are fitted along one schedule.
    """
    view = series.by_schedule(results)
    points = series.summarise(view.rows, ["configuration", "schedule", "stage", "metric"])
    drawn = present(points, metrics)
    names = configuration_order(points["configuration"])
    beside = len(names) == 1
    width = WIDTH // 2 - 100 if beside else min(300, (WIDTH - 90) // len(names) - 16)
    compared = [s for s in SCHEDULE_ORDER if s in set(points["schedule"])]
    axis = params_axis(points[points["schedule"] == compared[0]], short=True)
    rows = [
        _schedule_row(points[points["metric"] == metric], metric, axis, names, width)
        for metric in drawn
    ]
    joined = alt.hconcat(*rows) if beside else alt.vconcat(*rows, spacing=24)
    shared = joined.resolve_scale(strokeDash="shared", shape="shared")
    title = f"{what}: {', '.join(compared[:-1])} and {compared[-1]} pruning"
    return finish(shared, title, [sentence(view.held_fixed), sentence(INTERVALS)])


def _schedule_row(
    points: pd.DataFrame, metric: str, axis: SizeAxis, names: list[str], width: int
) -> alt.FacetChart:
    schedules = [s for s in SCHEDULE_ORDER if s in set(points["schedule"])]
    layers = [
        layer
        for place, schedule in enumerate(schedules)
        for layer in _schedule_layers(schedule, schedules, Channels.of(metric, names), place)
    ]
    teacher = (
        alt.Chart()
        .transform_filter(alt.datum.stage == 0)
        .mark_point(size=70, filled=True, opacity=1, color=INK)
    )
    layers.append(teacher.encode(Channels.of(metric, names).y, tooltip=point_tooltip()))
    panel = layered(*layers).properties(data=points).encode(x=axis.encoding())
    return panel.properties(width=width, height=190).facet(
        column=alt.Column("configuration:N", sort=names, title=None), spacing=16
    )


def _schedule_layers(
    schedule: str, schedules: list[str], scales: Channels, place: int
) -> list[alt.Chart]:
    dash = alt.Scale(domain=schedules, range=[SCHEDULE_DASHES[s] for s in schedules])
    form = alt.Scale(domain=schedules, range=[SCHEDULE_SHAPES[s] for s in schedules])
    offset, hue = 4 * (place - 1), scales.colour.legend(None)
    base = alt.Chart().transform_filter(alt.datum.schedule == schedule).encode(color=hue)
    lines = base.mark_line(strokeWidth=1.6, xOffset=offset).encode(
        scales.y, alt.StrokeDash("schedule:N", scale=dash, title=None, legend=LEGEND)
    )
    intervals = base.mark_rule(strokeWidth=1.3, xOffset=offset, opacity=0.7).encode(
        scales.low, alt.Y2("high")
    )
    marks = base.mark_point(size=55, filled=True, opacity=1, xOffset=offset).encode(
        scales.y,
        alt.Shape("schedule:N", scale=form, title=None, legend=LEGEND),
        tooltip=[alt.Tooltip("schedule:N"), *point_tooltip()],
    )
    students = alt.datum.stage > 0
    return [lines, intervals.transform_filter(students), marks.transform_filter(students)]
