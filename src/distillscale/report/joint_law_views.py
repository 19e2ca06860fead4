"""Laws of several inputs or groups as pictures: lines with bands, data, and residuals."""

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import pandas as pd
from altair.typing import ChartType

from distillscale.report.inputs import NotDrawn
from distillscale.report.law_views import shown_range
from distillscale.report.metrics import short_name
from distillscale.report.panels import LEGEND
from distillscale.report.theme import (
    MUTED,
    PLAIN,
    WIDTH,
    configuration_order,
    configuration_scales,
    finish,
    layered,
)

_HEIGHT, _RESIDUALS = 170, 110
_COLUMNS = 2
_WIDTH = WIDTH // _COLUMNS - 90
_DASH = alt.condition("datum.part === 'fitted'", alt.value([1, 0]), alt.value([4, 3]))


@dataclass(frozen=True)
class JointKind:
    """Laws that are drawn together: their names, and what the picture and its x axis are called."""

    laws: Sequence[str]
    metrics: Sequence[str]
    title: str
    axis: str
    format: str


FORMATS = JointKind(
    ("data",), ("macro_f1", "gold_nll"), "Data laws of all formats, with one floor",
    "Training examples (log scale)", "~s",
)  # fmt: skip
ADDITIVE = JointKind(
    ("additive",), ("macro_f1", "gold_nll"), "Size and data together",
    "Parameters without embeddings (log scale)", ".2~s",
)  # fmt: skip
PRUNED = JointKind(
    ("pruned", "pruned_one_teacher"), ("gold_nll",), "Loss after pruning and training (P2 law)",
    "Share of the teacher kept (log scale)", ".0%",
)  # fmt: skip
KINDS = {"laws-formats": FORMATS, "laws-joint": ADDITIVE, "laws-pruned": PRUNED}


def joint_laws_with_data(kind: JointKind, lines: pd.DataFrame, points: pd.DataFrame) -> ChartType:
    """Panels of one task, a metric and configuration (of formats: method) each; then residuals.

    Lines are formats by their colours, or dataset sizes from light to dark.
    """
    lines, points = (_of_kind(table, kind) for table in (lines, points))
    metrics = [name for name in kind.metrics if name in set(lines["metric"])]
    if not metrics:
        raise NotDrawn(f"No law for “{kind.title.lower()}” was fitted.")
    colour = _colours(kind, lines)
    rows: list[ChartType] = []
    panels = [
        _panel(kind, own, points[points["fit"] == own["fit"].iloc[0]], metric, title, colour)
        for metric, title, own in _panels(kind, lines, metrics)
    ]
    rows = [
        alt.hconcat(*panels[start : start + _COLUMNS], spacing=30)
        for start in range(0, len(panels), _COLUMNS)
    ]
    residuals = [_residuals(points[points["metric"] == name], name) for name in metrics]
    rows.append(alt.hconcat(*residuals, spacing=30))
    chart = alt.vconcat(*rows, spacing=16).resolve_scale(color="shared")
    subtitle = [
        "Solid: between the points of a line, band 5–95 %; dashed: where none was measured on it.",
        "Whiskers: test sampling, 5–95 %. Last row: measured minus fitted of all these laws.",
    ]
    return finish(chart, f"{kind.title}: data and residuals", subtitle)


def _of_kind(table: pd.DataFrame, kind: JointKind) -> pd.DataFrame:
    own = table[table["law"].isin(kind.laws)]
    return own.assign(
        line=own["configuration"] if kind is FORMATS else own["dataset_size"].astype(float)
    )


def _panels(
    kind: JointKind, lines: pd.DataFrame, metrics: Sequence[str]
) -> list[tuple[str, str, pd.DataFrame]]:
    """Metric, title and lines of each panel; one row of the picture a configuration."""
    found = []
    names = configuration_order(lines["configuration"])
    groups = [
        (str(panel), rows[rows["panel"] == panel])
        for rows in ([lines] if kind is FORMATS else
                     [lines[lines["configuration"] == name] for name in names])
        for panel in rows["panel"].unique()
    ]  # fmt: skip
    for panel, rows in groups:
        for metric in metrics:
            own = rows[rows["metric"] == metric]
            if own.empty:
                continue
            title = panel if kind is FORMATS else str(own["configuration"].iloc[0])
            if kind is not FORMATS and panel:
                title = f"{title}, {panel}"
            # Of several laws of a panel the first is drawn.
            found.append((metric, title, own[own["fit"] == own["fit"].min()]))
    return found


def _colours(kind: JointKind, lines: pd.DataFrame) -> alt.Color:
    if kind is FORMATS:
        scale = configuration_scales(configuration_order(lines["configuration"]))[0]
        return alt.Color("line:N", scale=scale, title=None, legend=LEGEND)
    sizes = sorted(lines["line"].unique())
    scale = alt.Scale(domain=sizes, scheme=alt.SchemeParams("viridis", extent=[0.95, 0.1]))
    legend = alt.Legend(orient="top", direction="horizontal", format=",d", symbolOpacity=1)
    return alt.Color("line:O", scale=scale, title="Training examples", legend=legend)


def _panel(
    kind: JointKind,
    lines: pd.DataFrame,
    points: pd.DataFrame,
    metric: str,
    title: str,
    colour: alt.Color,
) -> ChartType:
    points = points[points["panel"] == lines["panel"].iloc[0]]
    low, high = shown_range(lines, points)
    heights = alt.Scale(domain=[low, high], nice=False, zero=False)
    ends = [float(lines["x"].min()) / 1.08, float(lines["x"].max()) * 1.08]
    axis = alt.Axis(grid=False, format=kind.format, labelOverlap="greedy", tickCount=6,
                    labelSeparation=8)  # fmt: skip
    x = alt.X("x:Q", title=kind.axis, axis=axis,
              scale=alt.Scale(type="log", domain=ends, nice=False))  # fmt: skip
    y = alt.Y("value:Q", title=short_name(metric), scale=heights,
              axis=alt.Axis(tickCount=5, domain=False, ticks=False))  # fmt: skip
    digits = {"x": 5 if lines["x"].max() <= 2 else 0, "value": 4, "low": 4, "high": 4}
    lines = lines.assign(low=lines["low"].clip(low, high), high=lines["high"].clip(low, high))
    columns = ["line", "piece", "part", "x", "value", "low", "high"]
    base = alt.Chart(lines[columns].round(digits)).encode(x, colour)
    detail = ["line:N", "piece:N"]
    band = base.mark_area(clip=True).encode(
        alt.Y("low:Q", scale=heights), alt.Y2("high"), detail=detail,
        opacity=alt.condition("datum.part === 'fitted'", alt.value(0.12), alt.value(0.04)),
    )  # fmt: skip
    curve = base.mark_line(strokeWidth=1.6, clip=True).encode(
        y, detail=detail, strokeDash=_DASH, tooltip=["line:N", "part:N"]
    )
    marks = points[["line", "x", "value", "low", "high", "residual"]].round(digits)
    dots = alt.Chart(marks).encode(x, colour)
    whiskers = dots.mark_rule(strokeWidth=1, opacity=0.45, clip=True).encode(
        alt.Y("low:Q", scale=heights), alt.Y2("high")
    )
    measured = dots.mark_point(size=26, filled=True, opacity=0.9, clip=True).encode(
        y, tooltip=["line:N", "x:Q", "value:Q", "residual:Q"]
    )
    known = [whiskers] if marks["low"].notna().any() else []
    heading = alt.TitleParams(title, anchor="start", fontSize=12, fontWeight="normal", offset=4)
    chart = layered(band, curve, *known, measured)
    return chart.properties(width=_WIDTH, height=_HEIGHT, title=heading)


def _residuals(points: pd.DataFrame, metric: str) -> ChartType:
    """Measured minus fitted of all laws of one metric, over what they predict."""
    zero = alt.Chart(pd.DataFrame({"residual": [0.0]})).mark_rule(color=MUTED, strokeWidth=1)
    miss = alt.Y("residual:Q", title="Residual", axis=alt.Axis(tickCount=4, domain=False,
                 ticks=False), scale=alt.Scale(nice=True))  # fmt: skip
    shown = points[["configuration", "line", "predicted", "residual"]].round(4)
    dots = alt.Chart(shown).mark_point(size=22, filled=True, opacity=0.6, color=PLAIN)
    place = alt.X("predicted:Q", title=f"Fitted {short_name(metric)}",
                  scale=alt.Scale(zero=False, padding=6),
                  axis=alt.Axis(grid=False, tickCount=6))  # fmt: skip
    tooltip = ["configuration:N", "line:N", "predicted:Q", "residual:Q"]
    chart = layered(zero.encode(miss), dots.encode(place, miss, tooltip=tooltip))
    return chart.properties(width=_WIDTH, height=_RESIDUALS)
