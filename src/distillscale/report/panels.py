"""The panel that most figures are made of: a metric against a size, one series a configuration."""

from dataclasses import dataclass

import altair as alt
import pandas as pd

from distillscale.report.metrics import axis_title
from distillscale.report.theme import (
    INK,
    MUTED,
    configuration_order,
    configuration_scales,
    layered,
)

LEGEND = alt.Legend(orient="top", direction="horizontal", symbolOpacity=1, columnPadding=18)
_DODGE = 2.5  # pixels between the intervals of two configurations at one x


@dataclass(frozen=True)
class SizeAxis:
    """A logarithmic x axis: its column, title, ticks where something was measured, and labels.

    `label` is the Vega expression that writes a tick; `room` is the factor by which the axis goes
    on beyond its last tick.
    """

    field: str
    title: str
    ticks: tuple[float, ...]
    label: str
    room: float = 1.15

    def encoding(self) -> alt.X:
        """The axis as an Altair channel."""
        domain = [min(self.ticks) / 1.15, max(self.ticks) * self.room]
        axis = alt.Axis(
            values=list(self.ticks),
            labelExpr=self.label,
            grid=False,
            labelOverlap="greedy",
            labelSeparation=8,
        )
        scale = alt.Scale(type="log", domain=domain, nice=False)
        return alt.X(self.field, type="quantitative", title=self.title, axis=axis, scale=scale)


def dataset_axis(points: pd.DataFrame) -> SizeAxis:
    """Training examples, a tick at each size that was run."""
    ticks = tuple(sorted(float(x) for x in points["dataset_size"].unique()))
    return SizeAxis("dataset_size", "Training examples (log scale)", ticks, _shortened())


def params_axis(points: pd.DataFrame, short: bool = False) -> SizeAxis:
    """Parameters without embeddings, a tick at each size reached, the kept share below it."""
    teacher = float((points["params"] / points["prune_ratio"]).median())
    sizes = sorted((float(x) for x in points["params"].unique()), reverse=True)
    ticks = [x for i, x in enumerate(sizes) if i == 0 or x < 0.93 * sizes[i - 1]]
    share = f"format(datum.value / {teacher}, '.0%')"
    title = (
        "Parameters kept" if short else "Parameters without embeddings, and share kept (log scale)"
    )
    label = share if short else f"[{_shortened()}, {share}]"
    room = 1.45 if sizes[0] > 0.95 * teacher and not short else 1.15
    return SizeAxis("params", title, tuple(ticks), label, room)


def _shortened() -> str:
    return "format(datum.value, datum.value < 1000 ? 'd' : '.2~s')"


def metric_panel(
    points: pd.DataFrame,
    curves: pd.DataFrame,
    metric: str,
    axis: SizeAxis,
    size: tuple[int, int],
    control: float | None = None,
) -> alt.LayerChart:
    """One metric against one size.

    `points` and `curves` hold this metric only; a configuration with a fitted curve is drawn as
    that curve with its band, any other as thin lines between its points. A teacher (stage 0) that
    all configurations share is drawn once, and what the `control` reaches as a dashed line. `size` is
    the panel's width and height in pixels.
    """
    names = configuration_order(points["configuration"])
    x, scales = axis.encoding(), Channels.of(metric, names)
    teacher, students = _shared_teacher(points)
    width, height = size
    layers = [*_level_layers(points, control, width), *_curve_layers(curves, x, scales)]
    for place, name in enumerate(names):
        offset = _DODGE * (place - (len(names) - 1) / 2)
        if name not in set(curves["configuration"]):
            own = points[points["configuration"] == name]
            layers.append(_line(own, x, scales, offset))
        layers += _marks(students[students["configuration"] == name], x, scales, offset)
    layers += _teacher_layers(teacher, x, scales)
    return layered(*layers).properties(width=width, height=height)


@dataclass(frozen=True)
class Channels:
    """The encodings that all layers of a panel share, so that their axes and legends are one."""

    y: alt.Y
    low: alt.Y
    colour: alt.Color
    shape: alt.Shape

    @classmethod
    def of(cls, metric: str, names: list[str]) -> "Channels":
        """The encodings for one metric and these configurations."""
        colour, shape = configuration_scales(names)
        value, low = (
            alt.Y(
                f"{field}:Q",
                title=axis_title(metric),
                scale=alt.Scale(zero=False, nice=True),
                axis=alt.Axis(tickCount=6, domain=False, ticks=False),
            )
            for field in ("value", "low")
        )
        return cls(
            value,
            low,
            alt.Color("configuration:N", scale=colour, title=None, legend=LEGEND),
            alt.Shape("configuration:N", scale=shape, title=None, legend=LEGEND),
        )


def _shared_teacher(points: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The one teacher that all chains start from (else no row), and the rest."""
    if "stage" not in points:
        return points.head(0), points
    teachers = points[points["stage"] == 0]
    if teachers["value"].round(6).nunique() != 1:
        return points.head(0), points
    return teachers.head(1), points[points["stage"] > 0]


def _curve_layers(curves: pd.DataFrame, x: alt.X, scales: Channels) -> list[alt.Chart]:
    if curves.empty:
        return []
    base = alt.Chart(curves).encode(x=x, color=scales.colour)
    band = base.mark_area(opacity=0.13).encode(scales.low, alt.Y2("high"))
    tooltip = [alt.Tooltip("configuration:N"), alt.Tooltip("law:N", title="fitted law")]
    return [band, base.mark_line(strokeWidth=1.8, opacity=0.9).encode(scales.y, tooltip=tooltip)]


def _line(points: pd.DataFrame, x: alt.X, scales: Channels, offset: float) -> alt.Chart:
    base = alt.Chart(points).encode(x, scales.y, scales.colour)
    return base.mark_line(strokeWidth=1.3, opacity=0.65, xOffset=offset)


def _marks(points: pd.DataFrame, x: alt.X, scales: Channels, offset: float) -> list[alt.Chart]:
    base = alt.Chart(points).encode(x, scales.colour)
    intervals = base.mark_rule(strokeWidth=1.4, xOffset=offset, opacity=0.75)
    marks = base.mark_point(size=52, filled=True, opacity=1, xOffset=offset)
    return [
        intervals.encode(scales.low, alt.Y2("high")),
        marks.encode(scales.y, scales.shape, tooltip=point_tooltip()),
    ]


def _teacher_layers(teacher: pd.DataFrame, x: alt.X, scales: Channels) -> list[alt.Chart]:
    if teacher.empty:
        return []
    base = alt.Chart(teacher.assign(configuration="teacher")).encode(x)
    intervals = base.mark_rule(strokeWidth=1.6, color=INK).encode(scales.low, alt.Y2("high"))
    marks = base.mark_point(size=70, filled=True, opacity=1, color=INK)
    text = base.mark_text(align="left", dx=8, fontSize=11, color=INK, text="teacher")
    return [intervals, marks.encode(scales.y, tooltip=point_tooltip()), text.encode(scales.y)]


def _level_layers(points: pd.DataFrame, control: float | None, width: int) -> list[alt.Chart]:
    """Lines across the panel: the chance level, where the metric has one, and the control."""
    layers = []
    chance = points["chance"].dropna()
    if len(chance):
        layers += _level_line(float(chance.iloc[0]), "chance", [2, 3], width)
    if control is not None:
        layers += _level_line(control, "pruned only", [6, 3], width)
    return layers


def _level_line(value: float, name: str, dash: list[int], width: int) -> list[alt.Chart]:
    """A horizontal line with its name and value at the right end."""
    data = pd.DataFrame({"value": [value], "text": [f"{name} {value:.2f}"]})
    base = alt.Chart(data).encode(alt.Y("value:Q"))
    text = base.mark_text(align="right", baseline="bottom", dy=-3, color=MUTED, fontSize=11)
    rule = base.mark_rule(strokeDash=dash, color=MUTED)
    return [rule, text.encode(x=alt.value(width), text="text:N")]


def point_tooltip() -> list[alt.Tooltip]:
    """What hovering over a measured point shows."""
    return [
        alt.Tooltip("configuration:N"),
        alt.Tooltip("value:Q", format=".4f"),
        alt.Tooltip("low:Q", title="5 %", format=".4f"),
        alt.Tooltip("high:Q", title="95 %", format=".4f"),
        alt.Tooltip("params:Q", format=",.0f"),
        alt.Tooltip("prune_ratio:Q", title="share kept", format=".1%"),
        alt.Tooltip("runs:Q"),
        alt.Tooltip("examples:Q", title="test examples", format=",.0f"),
    ]
