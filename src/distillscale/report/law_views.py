"""Fitted laws as pictures: each with its data, interval band, the part beyond, and residuals."""

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import pandas as pd
from altair.typing import ChartType

from distillscale.report.inputs import NotDrawn
from distillscale.report.metrics import BENCHMARKS, axis_title, short_name
from distillscale.report.panels import LEGEND
from distillscale.report.theme import (
    MUTED,
    WIDTH,
    configuration_order,
    configuration_scales,
    finish,
    layered,
)

_HEIGHT, _RESIDUALS = 250, 110
_ROOM = 0.08  # of the measured range, above and below


@dataclass(frozen=True)
class LawKind:
    """Laws that are drawn together: their name, the column of x, the metrics, the look of x."""

    law: str
    x_name: str
    metrics: Sequence[str]
    title: str
    axis: str
    format: str


DATA = LawKind(
    "data", "dataset_size", ("macro_f1", "gold_nll"), "Data laws",
    "Training examples (log scale)", "~s",
)  # fmt: skip
SIZE = LawKind(
    "size", "params", ("macro_f1", "gold_nll"), "Size laws",
    "Parameters without embeddings (log scale)", ".2~s",
)  # fmt: skip
COLLAPSE = LawKind(
    "collapse", "prune_ratio", ("general", *BENCHMARKS), "Collapse laws",
    "Share of the teacher kept (log scale)", ".0%",
)  # fmt: skip


def laws_with_data(kind: LawKind, lines: pd.DataFrame, points: pd.DataFrame) -> ChartType:
    """One column of panels a metric: points with curves above, what the curves miss below.

    `lines` and `points` are of one task; of several laws of a configuration and metric the first
    is drawn.
    """
    lines, points = (_first_fits(_of_kind(table, kind)) for table in (lines, points))
    metrics = [name for name in kind.metrics if name in set(lines["metric"])][:3]
    if not metrics:
        raise NotDrawn(f"No {kind.law} law was fitted.")
    lines, points = (table[table["metric"].isin(metrics)] for table in (lines, points))
    names = configuration_order(lines["configuration"])
    width = WIDTH // len(metrics) - 90
    columns = [
        _column(kind, lines[lines["metric"] == name], points[points["metric"] == name], names,
                name, width)
        for name in metrics
    ]  # fmt: skip
    row = alt.hconcat(*columns, spacing=30).resolve_scale(color="shared", shape="shared")
    subtitle = [
        "Solid: fitted, band 5–95 %; dashed: beyond the points, where nothing vouches for the law.",
        "Below: measured minus fitted, in the metric's unit. Whiskers: test sampling, 5–95 %.",
    ]
    return finish(row, f"{kind.title}, with their data and residuals", subtitle)


def _of_kind(table: pd.DataFrame, kind: LawKind) -> pd.DataFrame:
    return table[(table["law"] == kind.law) & (table["x_name"] == kind.x_name)]


def _first_fits(table: pd.DataFrame) -> pd.DataFrame:
    own = table.groupby(["metric", "configuration"])["fit"].transform("min")
    return table[table["fit"] == own]


def _column(
    kind: LawKind,
    lines: pd.DataFrame,
    points: pd.DataFrame,
    names: list[str],
    metric: str,
    width: int,
) -> alt.VConcatChart:
    colour, shape = configuration_scales(names)
    colours = alt.Color("configuration:N", scale=colour, title=None, legend=LEGEND)
    shapes = alt.Shape("configuration:N", scale=shape, title=None, legend=LEGEND)
    ends = [float(lines["x"].min()) / 1.08, float(lines["x"].max()) * 1.08]
    scale = alt.Scale(type="log", domain=ends, nice=False)
    low, high = shown_range(lines, points)
    heights = alt.Scale(domain=[low, high], nice=False, zero=False)
    lines = lines.assign(low=lines["low"].clip(low, high), high=lines["high"].clip(low, high))
    digits = {"x": 5 if lines["x"].max() <= 2 else 0, "value": 4, "low": 4, "high": 4}
    shown = lines[["configuration", "part", "x", "value", "low", "high"]].round(digits)

    def x(title: str | None, labels: bool) -> alt.X:
        axis = alt.Axis(
            grid=False, labels=labels, format=kind.format, labelOverlap="greedy",
            labelSeparation=8, tickCount=6,
        )  # fmt: skip
        return alt.X("x:Q", title=title, scale=scale, axis=axis)

    y = alt.Y(
        "value:Q", title=axis_title(metric), scale=heights,
        axis=alt.Axis(tickCount=6, domain=False, ticks=False),
    )  # fmt: skip
    base = alt.Chart(shown).encode(x(None, labels=False), colours)
    band = base.mark_area(clip=True).encode(
        alt.Y("low:Q", scale=heights), alt.Y2("high"), detail="part:N",
        opacity=alt.condition("datum.part === 'fitted'", alt.value(0.1), alt.value(0.035)),
    )  # fmt: skip
    curve = base.mark_line(strokeWidth=1.8, clip=True).encode(
        y, detail="part:N",
        strokeDash=alt.condition("datum.part === 'fitted'", alt.value([1, 0]), alt.value([4, 3])),
        tooltip=["configuration:N", "part:N"],
    )  # fmt: skip
    marks = points[["configuration", "x", "value", "low", "high", "residual"]].round(digits)
    marks = marks.assign(residual=points["residual"].round(4))
    dots = alt.Chart(marks).encode(colours)
    whiskers = dots.mark_rule(strokeWidth=1.1, opacity=0.5, clip=True).encode(
        x(None, labels=False), alt.Y("low:Q", scale=heights), alt.Y2("high")
    )
    tooltip = ["configuration:N", alt.Tooltip("x:Q", title=kind.x_name), "value:Q", "residual:Q"]
    measured = dots.mark_point(size=34, filled=True, opacity=0.9, clip=True).encode(
        x(None, labels=False), y, shapes, tooltip=tooltip
    )
    drawn = [band, curve, whiskers, measured] if marks["low"].notna().any() else [
        band, curve, measured
    ]  # fmt: skip
    top = layered(*drawn).properties(width=width, height=_HEIGHT)
    zero = alt.Chart(pd.DataFrame({"residual": [0.0]})).mark_rule(color=MUTED, strokeWidth=1)
    miss = alt.Y(
        "residual:Q", title=f"Residual, {short_name(metric)}",
        axis=alt.Axis(tickCount=4, domain=False, ticks=False), scale=alt.Scale(nice=True),
    )  # fmt: skip
    residuals = dots.mark_point(size=30, filled=True, opacity=0.9).encode(
        x(kind.axis, labels=True), miss, shapes, tooltip=tooltip
    )
    bottom = layered(zero.encode(miss), residuals).properties(width=width, height=_RESIDUALS)
    return alt.vconcat(top, bottom, spacing=8)


def shown_range(lines: pd.DataFrame, points: pd.DataFrame) -> tuple[float, float]:
    """What of y is shown: all points and fitted curves, bands and the part beyond as they fit."""
    fitted = lines[lines["part"] == "fitted"]["value"]
    values = pd.concat([points["value"], fitted, points["low"].dropna(), points["high"].dropna()])
    low, high = float(values.min()), float(values.max())
    room = max(high - low, 1e-6) * _ROOM
    beyond = lines[lines["part"] != "fitted"]["value"]
    reach = (high - low) * 0.35
    low = max(min(low, float(beyond.min()) if len(beyond) else low), low - reach) - room
    high = min(max(high, float(beyond.max()) if len(beyond) else high), high + reach) + room
    return low, high
