"""Estimates as rows: a point with its interval, an arrow where only a bound is known."""

from collections.abc import Callable, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from distillscale.report.theme import FAINT, INK, MUTED, layered

ARROW = 0.1  # length of an arrow, as a share of the axis
_KINDS = (("unidentified", 0.35, False), ("value", 1.0, True))  # with opacity, and whether filled

Layer = alt.Chart | alt.LayerChart


def interval_layers(
    rows: pd.DataFrame,
    x: Callable[[str], alt.X],
    domain: tuple[float, float],
    shared: dict[str, Any],
    tooltip: Sequence[str | alt.Tooltip] = (),
    *,
    log: bool = False,
) -> list[Layer]:
    """Layers for rows with value, low, high and `kind` (value, <, >, unidentified, unknown).

    An estimate that the data do not identify is a hollow point with a faint interval; what is
    unknown says so.

    Args:
        rows: one an estimate.
        x: the channel of a field.
        domain: where the axis begins and ends.
        shared: the other channels, by name.
        tooltip: what hovering shows.
        log: whether the axis is logarithmic.
    """
    layers: list[Layer] = []
    for kind, opacity, filled in _KINDS:
        own = rows[rows["kind"] == kind]
        if own.empty:
            continue
        base = alt.Chart(own).encode(**shared)
        if own["low"].notna().any():
            rule = base.mark_rule(strokeWidth=2, opacity=opacity, clip=True)
            layers.append(rule.encode(x("low"), alt.X2("high")))
        point = base.mark_point(
            size=60, filled=filled, opacity=max(opacity, 0.6), strokeWidth=1.6, clip=True
        )
        layers.append(point.encode(x("value"), tooltip=list(tooltip)))
    bounds = arrows(rows, domain, log)
    for kind, shape in (("<", "triangle-left"), (">", "triangle-right")):
        own = bounds[bounds["kind"] == kind]
        if own.empty:
            continue
        base = alt.Chart(own).encode(**shared)
        tick = base.mark_tick(orient="vertical", thickness=2.4, size=11, opacity=1)
        tip = base.mark_point(shape=shape, size=70, filled=True, opacity=1)
        layers += [
            base.mark_rule(strokeWidth=2).encode(x("bound"), alt.X2("tip")),
            tick.encode(x("bound")),
            tip.encode(x("tip"), tooltip=list(tooltip)),
        ]
    unknown = rows[rows["kind"] == "unknown"]
    if len(unknown):
        text = alt.Chart(unknown).mark_text(
            align="left", fontSize=11, color=MUTED, text="not known"
        )
        layers.append(
            text.encode(x=alt.value(4), **{k: v for k, v in shared.items() if k[0] == "y"})
        )
    return layers or [alt.Chart(rows).mark_point(opacity=0).encode(x("value"), **shared)]


def arrows(rows: pd.DataFrame, domain: tuple[float, float], log: bool = False) -> pd.DataFrame:
    """The rows that are bounds, with the columns `bound` and `tip`, where their arrow ends.

    `<` points to smaller values from `high`, `>` to larger ones from `low`. Bounds outside the axis
    are drawn at its end.
    """
    own = rows[rows["kind"].isin(["<", ">"])]
    down = (own["kind"] == "<").to_numpy()
    bound = own["high"].where(down, own["low"]).astype(float).clip(*domain).to_numpy()
    start, end = np.log(domain) if log else np.array(domain)
    step = np.where(down, -ARROW, ARROW) * (end - start)
    tip = np.clip((np.log(bound) if log else bound) + step, start, end)
    return own.assign(bound=bound, tip=np.exp(tip) if log else tip)


def zero_line() -> alt.Chart:
    """A vertical line at zero of the field `value`."""
    return (
        alt.Chart(pd.DataFrame({"value": [0.0]}))
        .mark_rule(color=FAINT, strokeWidth=1.4)
        .encode(alt.X("value:Q"))
    )


def row_axis(labels: Sequence[str], *, labelled: bool = True) -> alt.Y:
    """One row a label, in this order; the names may be left to a neighbouring panel."""
    axis = alt.Axis(
        domain=False, ticks=False, grid=True, labels=labelled, labelLimit=340, labelFontSize=11.5,
        labelColor=INK,
    )  # fmt: skip
    scale = alt.Scale(domain=list(labels))
    return alt.Y("label:N", sort=list(labels), title=None, axis=axis, scale=scale)


def titled(layers: Sequence[Layer], title: str, width: int, height: int) -> alt.LayerChart:
    """A panel of rows with its heading."""
    heading = alt.TitleParams(title, fontSize=12.5, fontWeight="normal", anchor="start", offset=8)
    return layered(*layers).properties(width=width, height=height, title=heading)
