"""Uniform against decayed and oneshot pruning."""

import altair as alt
import pandas as pd
from altair.typing import ChartType

from distillscale.report import series
from distillscale.report.comparisons import sentence, whiskers
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
    points = series.summarise(view.rows, metrics, ["schedule", "target", "stage"])
    drawn = series.measured_in(points, metrics)
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
    return finish(shared, title, [sentence(view.held_fixed), sentence(whiskers(points))])


def _schedule_row(
    points: pd.DataFrame, metric: str, axis: SizeAxis, names: list[str], width: int
) -> alt.FacetChart:
    schedules = [s for s in SCHEDULE_ORDER if s in set(points["schedule"])]
    placed = axis.placed(points, "schedule", schedules, width)
    layers = _layers(schedules, Channels.of(metric, axis, names), point_tooltip(points))
    panel = layered(*layers).properties(data=placed, width=width, height=190)
    return panel.facet(column=alt.Column("configuration:N", sort=names, title=None), spacing=16)


def _layers(schedules: list[str], scales: Channels, tooltip: list[alt.Tooltip]) -> list[alt.Chart]:
    """Lines, intervals and marks, for data that the facet hands down; the teacher drawn once."""
    dash = alt.Scale(domain=schedules, range=[SCHEDULE_DASHES[s] for s in schedules])
    form = alt.Scale(domain=schedules, range=[SCHEDULE_SHAPES[s] for s in schedules])
    base = alt.Chart().encode(scales.x, scales.colour.legend(None))
    students, teacher = base.transform_filter("datum.stage > 0"), "datum.stage == 0"
    return [
        base.mark_line(strokeWidth=1.6).encode(
            scales.y,
            alt.StrokeDash("schedule:N", scale=dash, title=None, legend=LEGEND),
            alt.Detail("target:N"),
        ),
        students.mark_rule(strokeWidth=1.3, opacity=0.7).encode(scales.low, alt.Y2("high")),
        students.mark_point(size=55, filled=True, opacity=1).encode(
            scales.y,
            alt.Shape("schedule:N", scale=form, title=None, legend=LEGEND),
            tooltip=tooltip,
        ),
        alt.Chart()
        .transform_filter(teacher)
        .mark_point(size=70, filled=True, opacity=1, color=INK)
        .encode(scales.x, scales.y, tooltip=tooltip),
    ]
