"""The panel that most figures are made of: a metric against a size, one series a configuration."""

import math
from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from distillscale.report.metrics import axis_title
from distillscale.report.series import teacher_params
from distillscale.report.theme import (
    INK,
    MUTED,
    configuration_order,
    configuration_scales,
    layered,
)

LEGEND = alt.Legend(orient="top", direction="horizontal", symbolOpacity=1, columnPadding=18)
_DIGITS = 5  # decimals that the page carries
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

    @property
    def domain(self) -> tuple[float, float]:
        """Where the axis begins and ends."""
        return min(self.ticks) / 1.15, max(self.ticks) * self.room

    def encoding(self) -> alt.X:
        """The axis as an Altair channel, for data whose column `x` is the size."""
        axis = alt.Axis(
            values=list(self.ticks),
            labelExpr=self.label,
            grid=False,
            labelOverlap="greedy",
            labelSeparation=8,
        )
        scale = alt.Scale(type="log", domain=list(self.domain), nice=False)
        return alt.X("x:Q", title=self.title, axis=axis, scale=scale)

    def placed(self, points: pd.DataFrame, by: str, order: list[str], width: int) -> pd.DataFrame:
        """The points with a column `x`, a few pixels apart in the order of their column `by`.

        So that intervals at one size can be told apart; a tooltip still has the true size. The
        teacher (stage 0) stays in its place.
        """
        pixel = math.log(self.domain[1] / self.domain[0]) / width
        steps = points[by].map(order.index).astype(float) - (len(order) - 1) / 2
        if "stage" in points:
            steps = steps.where(points["stage"] > 0, 0.0)
        x = points[self.field] * np.exp(_DODGE * pixel * steps)
        return points.assign(x=x).round(_DIGITS)


def dataset_axis(points: pd.DataFrame) -> SizeAxis:
    """Training examples, a tick at each size that was run."""
    ticks = tuple(sorted(float(x) for x in points["dataset_size"].unique()))
    return SizeAxis("dataset_size", "Training examples (log scale)", ticks, _shortened())


def params_axis(points: pd.DataFrame, short: bool = False) -> SizeAxis:
    """Parameters without embeddings, a tick at each size reached, the kept share below it."""
    teacher = teacher_params(points)
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
    all configurations share is drawn once, what the `control` reaches as a dashed line. `size` is
    the panel's width and height in pixels.
    """
    names = configuration_order(points["configuration"])
    placed = axis.placed(points, "configuration", names, size[0])
    teacher, students = _shared_teacher(placed)
    scales = Channels.of(metric, axis, names)
    unfitted = placed[~placed["configuration"].isin(curves["configuration"])]
    layers = [
        *_level_layers(points, control, size[0]),
        *_curve_layers(curves, scales),
        *_point_layers(unfitted, students, scales),
        *_teacher_layers(teacher, scales),
    ]
    return layered(*layers).properties(width=size[0], height=size[1])


@dataclass(frozen=True)
class Channels:
    """The encodings that all layers of a panel share, so that their axes and legends are one."""

    x: alt.X
    y: alt.Y
    low: alt.Y
    colour: alt.Color
    shape: alt.Shape

    @classmethod
    def of(cls, metric: str, axis: SizeAxis, names: list[str]) -> "Channels":
        """The encodings for one metric against one size, of these configurations."""
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
            axis.encoding(),
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


def _curve_layers(curves: pd.DataFrame, scales: Channels) -> list[alt.Chart]:
    if curves.empty:
        return []
    columns = ["configuration", "law", "x", "value", "low", "high"]
    base = alt.Chart(curves[columns].round(_DIGITS)).encode(scales.x, scales.colour)
    band = base.mark_area(opacity=0.13).encode(scales.low, alt.Y2("high"))
    tooltip = [alt.Tooltip("configuration:N"), alt.Tooltip("law:N", title="fitted law")]
    return [band, base.mark_line(strokeWidth=1.8, opacity=0.9).encode(scales.y, tooltip=tooltip)]


def _point_layers(joined: pd.DataFrame, points: pd.DataFrame, scales: Channels) -> list[alt.Chart]:
    """Thin lines through the points of `joined`; an interval and a mark for each of `points`."""
    base = alt.Chart(points).encode(scales.x, scales.colour)
    intervals = base.mark_rule(strokeWidth=1.4, opacity=0.75)
    marks = base.mark_point(size=52, filled=True, opacity=1)
    layers = [marks.encode(scales.y, scales.shape, tooltip=point_tooltip(points))]
    if points["low"].notna().any():
        layers.insert(0, intervals.encode(scales.low, alt.Y2("high")))
    if not joined.empty:
        lines = alt.Chart(joined[["configuration", "x", "value"]]).encode(scales.x, scales.colour)
        layers.insert(0, lines.mark_line(strokeWidth=1.3, opacity=0.65).encode(scales.y))
    return layers


def _teacher_layers(teacher: pd.DataFrame, scales: Channels) -> list[alt.Chart]:
    if teacher.empty:
        return []
    base = alt.Chart(teacher.assign(configuration="teacher")).encode(scales.x)
    intervals = base.mark_rule(strokeWidth=1.6, color=INK).encode(scales.low, alt.Y2("high"))
    marks = base.mark_point(size=70, filled=True, opacity=1, color=INK)
    text = base.mark_text(align="left", dx=8, fontSize=11, color=INK, text="teacher")
    tooltip = point_tooltip(teacher)
    return [intervals, marks.encode(scales.y, tooltip=tooltip), text.encode(scales.y)]


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


_TOOLTIPS = (
    alt.Tooltip("configuration:N"),
    alt.Tooltip("schedule:N"),
    alt.Tooltip("stage:Q"),
    alt.Tooltip("dataset_size:Q", title="training examples", format=",.0f"),
    alt.Tooltip("value:Q", format=".4f"),
    alt.Tooltip("low:Q", title="5 %", format=".4f"),
    alt.Tooltip("high:Q", title="95 %", format=".4f"),
    alt.Tooltip("params:Q", title="parameters", format=",.0f"),
    alt.Tooltip("prune_ratio:Q", title="share kept", format=".1%"),
    alt.Tooltip("seeds:Q"),
    alt.Tooltip("examples:Q", title="test examples", format=",.0f"),
)


def point_tooltip(points: pd.DataFrame) -> list[alt.Tooltip]:
    """What hovering over a measured point shows, as far as `points` has the columns."""
    names = {tooltip.shorthand.split(":")[0]: tooltip for tooltip in _TOOLTIPS}
    return [tooltip for name, tooltip in names.items() if name in points.columns]
