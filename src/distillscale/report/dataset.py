"""Pictures of the dataset: how often each label occurs, and where its texts lie."""

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from distillscale.report.inputs import NotDrawn
from distillscale.report.theme import FAINT, INK, MUTED, PLAIN, category_scales, finish, layered

_ROW, _BAR, _GAP, _LETTER = 17, 11, 7, 6  # pixels of the label distribution
_WIDTH, _HEIGHT = 620, 460  # pixels of the embedding view
MOST_POINTS = 3000  # more would make the page slow and large
MOST_CATEGORIES = 14  # with a look of their own; more are hard to tell apart


def label_distribution(labels: pd.DataFrame) -> ChartType:
    """Examples of each label as bars, grouped and coloured by category where there are any.

    `labels` has the columns label, category and count, of one task.
    """
    if labels.empty:
        raise NotDrawn("No label counts were given.")
    flat = bool((labels["label"] == labels["category"]).all())
    if flat:
        labels = labels.assign(category="all")
    categories = category_order(labels)
    rows = _bar_places(labels, categories)
    height = float(rows["y2"].max()) + _GAP
    colour = alt.Color("category:N", scale=category_scales(categories)[0], legend=None)
    axis = alt.Axis(tickCount=6, domain=False, ticks=False, labelFlush=False)
    x = alt.X("count:Q", title="Examples (count)", axis=axis)
    scale = alt.Scale(domain=[height, 0], nice=False)
    bars = (
        alt.Chart(rows)
        .mark_rect()
        .encode(
            x,
            alt.X2("zero"),
            alt.Y("y:Q", axis=None, scale=scale),
            alt.Y2("y2"),
            color=alt.value(PLAIN) if flat else colour,
            tooltip=[*([] if flat else ["category:N"]), "label:N", _count_tip()],
        )
    )
    base = alt.Chart(rows).encode(alt.Y("middle:Q", axis=None, scale=scale))
    names = base.mark_text(align="right", fontSize=11, color=MUTED).encode(
        x=alt.value(-6), text="label:N"
    )
    values = base.mark_text(align="left", dx=5, fontSize=11, color=MUTED).encode(
        x, text=alt.Text("count:Q", format=",")
    )
    headings = [] if flat else [_category_headings(rows, scale)]
    chart = layered(bars, values, names, *headings).properties(width=480, height=height)
    return finish(chart, "Label distribution", _spread(labels, flat))


def _count_tip() -> alt.Tooltip:
    return alt.Tooltip("count:Q", format=",")


def _bar_places(labels: pd.DataFrame, categories: list[str]) -> pd.DataFrame:
    """The labels with the upper, lower and middle y of their bars, in pixels from the top."""
    place = labels["category"].map(categories.index)
    rows = labels.assign(place=place, zero=0)
    rows = rows.sort_values(["place", "count"], ascending=[True, False], kind="stable")
    middle = _ROW * (np.arange(len(rows)) + 0.5) + _GAP * rows["place"]
    return rows.assign(y=middle - _BAR / 2, y2=middle + _BAR / 2, middle=middle)


def _category_headings(rows: pd.DataFrame, scale: alt.Scale) -> alt.Chart:
    """Each category's name, left of its labels and at their middle."""
    middles = rows.groupby("category", as_index=False)["middle"].mean()
    left = -16 - _LETTER * int(rows["label"].str.len().max())
    text = alt.Chart(middles).mark_text(align="right", fontSize=12, fontWeight="bold", color=INK)
    y = alt.Y("middle:Q", axis=None, scale=scale)
    return text.encode(y, x=alt.value(left), text="category:N")


def _spread(labels: pd.DataFrame, flat: bool) -> str:
    counts = labels["count"]
    present = counts[counts > 0]
    skew = f"{present.max() / present.min():,.0f}" if len(present) else "no"
    grouped = "" if flat else f" in {labels['category'].nunique()} categories"
    return (
        f"{counts.sum():,.0f} examples, {len(labels)} labels{grouped}; the most frequent label "
        f"occurs {skew} times as often as the rarest."
    )


def category_order(rows: pd.DataFrame) -> list[str]:
    """Categories by the number of examples, the largest first."""
    weights = rows["count"] if "count" in rows else pd.Series(1, rows.index)
    totals = weights.groupby(rows["category"]).sum()
    return [str(name) for name in totals.sort_values(ascending=False, kind="stable").index]


def embedding_view(
    points: pd.DataFrame, method: str = "t-SNE of TF-IDF vectors", total: int | None = None
) -> ChartType:
    """The dataset's texts on a plane, coloured and shaped by category.

    Args:
        points: columns x, y, label, category and text, of one task. Of more than `MOST_POINTS` a
            fixed random sample is drawn. Categories beyond the largest share one look.
        method: how the texts were placed.
        total: how many texts there are, where the points are a sample of them.
    """
    if points.empty:
        raise NotDrawn("No two-dimensional embedding was computed.")
    shown = points.sample(MOST_POINTS, random_state=0) if len(points) > MOST_POINTS else points
    shown = shown.round({"x": 3, "y": 3})
    named = category_order(shown)
    others = named[MOST_CATEGORIES:] if len(named) > MOST_CATEGORIES + 1 else []
    named = [name for name in named if name not in others]
    chosen = alt.selection_point(fields=["look"], bind="legend")
    looks, colour, shape = list(named), *category_scales(named)
    if others:
        looks.append(f"{len(others)} others")
        for scale, own in ((colour, FAINT), (shape, "circle")):
            scale.domain, scale.range = looks, [*scale.range, own]
    rest = shown["category"].isin(others)
    shown = shown.assign(look=shown["category"].mask(rest, looks[-1]))
    shown = shown.iloc[np.argsort(~rest, kind="stable")]  # the others lie under the named ones
    legend = alt.Legend(title=None, orient="right", symbolOpacity=1)
    marks = alt.Chart(shown[["x", "y", "label", "category", "look", "text"]]).mark_point(
        filled=True, size=26
    )
    dots = marks.encode(
        _axis("x", "First embedding dimension (no unit)"),
        _axis("y", "Second embedding dimension (no unit)"),
        alt.Color("look:N", scale=colour, legend=legend),
        alt.Shape("look:N", scale=shape, legend=legend),
        opacity=alt.when(chosen).then(alt.value(0.75)).otherwise(alt.value(0.06)),
        tooltip=["text:N", "label:N", "category:N"],
    ).add_params(chosen)
    total = total or len(points)
    of = f" of {total:,}" if len(shown) < total else ""
    subtitle = (
        f"{len(shown):,}{of} texts by {method}; near points are similar texts, distances have no "
        "unit."
    )
    chart = dots.properties(width=_WIDTH, height=_HEIGHT)
    return finish(chart, "The dataset in two dimensions", subtitle)


def _axis(field: str, title: str) -> alt.X | alt.Y:
    channel = alt.X if field == "x" else alt.Y
    axis = alt.Axis(labels=False, ticks=False, grid=False, domainColor=FAINT)
    return channel(f"{field}:Q", title=title, axis=axis, scale=alt.Scale(zero=False, padding=14))
