"""Pictures of one model's decisions: confusion, reliability, accuracy at coverage."""

from typing import Any

import altair as alt
import pandas as pd
from altair.typing import ChartType

from distillscale.report.inputs import NotDrawn
from distillscale.report.theme import FAINT, INK, MUTED, PLAIN, finish, layered

_SIDE = 420  # pixels of a square plot
_LARGEST_CELL, _CONFUSION_SIDE = 30, 900  # pixels of a cell and of the whole heat map
_SMALLEST_NUMBERED_CELL = 16
_LIGHT_ON_DARK = 0.5
_WRONG = "#d55e00"


def confusion_view(confusion: pd.DataFrame) -> ChartType:
    """Which class was taken for which, as a heat map.

    Args:
        confusion: counts; gold classes are the index, predicted classes the columns, in one order.
            Classes without any example or prediction are left out of the picture.
    """
    empty = (confusion.sum(axis=1) == 0) & (confusion.sum(axis=0) == 0)
    kept = confusion.loc[~empty, ~empty]
    if kept.empty:
        raise NotDrawn("No decisions were given.")
    names = [str(name) for name in kept.index]
    cells = _cells(kept, names)
    side = max(6, min(_LARGEST_CELL, _CONFUSION_SIDE // len(names)))
    font = min(11, side)
    x = alt.X("predicted:N", sort=names, title="Predicted", axis=_names(font, labelAngle=-60))
    y = alt.Y("gold:N", sort=names, title="Gold", axis=_names(font))
    colour = alt.Color(
        "share:Q",
        scale=alt.Scale(range=["#eef3f8", "#1f4e79"], domain=[0, 1]),
        legend=alt.Legend(title="Share of the gold class", format=".0%", tickCount=3),
    )
    base = alt.Chart(cells)
    squares = base.mark_rect().encode(x, y, colour, tooltip=["gold:N", "predicted:N", "count:Q"])
    layers: list[alt.Chart | alt.LayerChart] = [squares]
    if side >= _SMALLEST_NUMBERED_CELL:
        dark = alt.datum["share"] > _LIGHT_ON_DARK
        layers.append(
            base.mark_text(fontSize=9).encode(
                x, y, text="count:Q", color=alt.condition(dark, alt.value("white"), alt.value(INK))
            )
        )
    chart = layered(*layers).properties(width=side * len(names), height=side * len(names))
    right = int(sum(confusion.to_numpy().diagonal()))
    total = int(confusion.to_numpy().sum())
    left_out = int(empty.sum())
    subtitle = f"{right:,} of {total:,} decisions are right; empty cells are zero." + (
        f" Classes without examples and predictions, not shown: {left_out}." if left_out else ""
    )
    return finish(chart, "Which class was taken for which", subtitle)


def reliability_view(bins: pd.DataFrame, error: float) -> ChartType:
    """Accuracy against confidence in each bin; a calibrated model's bars end on the diagonal.

    Args:
        bins: columns low, high, examples, confidence and accuracy.
        error: the expected calibration error.
    """
    if bins.empty:
        raise NotDrawn("No decisions were given.")
    unit = alt.Scale(domain=[0, 1], nice=False)
    axis = alt.Axis(format=".0%", tickCount=5)
    x = alt.X("low:Q", title="Confidence (probability of the decision)", scale=unit, axis=axis)
    bars = (
        alt.Chart(bins.assign(zero=0.0))
        .mark_rect(color=PLAIN, stroke="white")
        .encode(
            x,
            alt.X2("high"),
            alt.Y("zero:Q", title="Accuracy", scale=unit, axis=axis),
            alt.Y2("accuracy"),
            alt.Opacity("examples:Q", scale=alt.Scale(range=[0.35, 1]), legend=None),
            tooltip=["examples:Q", alt.Tooltip("accuracy:Q", format=".3f")],
        )
    )
    means = (
        alt.Chart(bins)
        .mark_tick(color=_WRONG, thickness=2, orient="horizontal", size=12)
        .encode(alt.X("confidence:Q", scale=unit), alt.Y("confidence:Q", scale=unit))
    )
    numbers = (
        alt.Chart(bins.assign(middle=(bins["low"] + bins["high"]) / 2))
        .mark_text(fontSize=9, color=MUTED, baseline="bottom", dy=-3)
        .encode(
            alt.X("middle:Q", scale=unit),
            alt.Y("accuracy:Q", scale=unit),
            text=alt.Text("examples:Q", format=","),
        )
    )
    diagonal = (
        alt.Chart(pd.DataFrame({"x": [0, 1], "y": [0, 1]}))
        .mark_line(color=FAINT, strokeDash=[4, 3])
        .encode(alt.X("x:Q", scale=unit), alt.Y("y:Q", scale=unit))
    )
    chart = layered(bars, diagonal, means, numbers).properties(width=_SIDE, height=_SIDE)
    subtitle = [
        f"Expected calibration error {error:.3f}; {int(bins['examples'].sum()):,} decisions.",
        "A bar is a bin's accuracy with its number of decisions, the tick its mean confidence.",
    ]
    return finish(chart, "Is the model as right as it says?", subtitle)


def risk_coverage_view(curves: pd.DataFrame) -> ChartType:
    """Accuracy on the decisions that a model is most sure of, against the share of these.

    Args:
        curves: columns model, coverage, accuracy and threshold.
    """
    if curves.empty:
        raise NotDrawn("No decisions were given.")
    models = list(dict.fromkeys(curves["model"]))
    colour = alt.Color(
        "model:N",
        scale=alt.Scale(domain=models, range=[PLAIN, _WRONG][: len(models)]),
        legend=alt.Legend(title=None, orient="bottom") if len(models) > 1 else None,
    )
    lowest = float(curves["accuracy"].min())
    heights = alt.Scale(domain=[max(0.0, lowest - 0.05), 1])
    share = alt.Axis(format=".0%")
    chart = (
        alt.Chart(curves)
        .mark_line(point=True)
        .encode(
            alt.X("coverage:Q", title="Coverage (share answered)", axis=share,
                  scale=alt.Scale(domain=[0, 1])),
            alt.Y("accuracy:Q", title="Accuracy of what is answered", axis=share, scale=heights),
            colour,
            tooltip=["model:N", alt.Tooltip("coverage:Q", format=".1%"),
                     alt.Tooltip("accuracy:Q", format=".3f"),
                     alt.Tooltip("threshold:Q", format=".3f")],
        )
        .properties(width=_SIDE, height=_SIDE * 2 // 3)
    )  # fmt: skip
    subtitle = "The model answers where its confidence reaches a threshold and leaves the rest."
    return finish(chart, "Accuracy at coverage", subtitle)


def _cells(confusion: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The counts that are not zero: gold, predicted, count, share of the gold class."""
    counts = confusion.to_numpy()
    gold, predicted = counts.nonzero()
    return pd.DataFrame(
        {
            "gold": [names[row] for row in gold],
            "predicted": [names[column] for column in predicted],
            "count": counts[gold, predicted],
            "share": counts[gold, predicted] / counts.sum(axis=1)[gold],
        }
    )


def _names(font: int, **changes: Any) -> alt.Axis:
    return alt.Axis(
        domain=False, ticks=False, labelColor=INK, labelFontSize=font, labelLimit=220, **changes
    )
