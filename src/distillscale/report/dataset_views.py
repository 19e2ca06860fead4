"""Pictures of a corpus: categories against labels, lengths of texts, similarity of neighbours."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType
from numpy.typing import NDArray

from distillscale.report.dataset import category_order
from distillscale.report.inputs import NotDrawn
from distillscale.report.theme import FAINT, INK, MUTED, PLAIN, finish, layered

_FLAGGED = "#d55e00"
_WIDTH, _HEIGHT = 560, 260  # pixels of a histogram
_CELL, _CELL_HEIGHT = 44, 20  # pixels of the heat map
_BINS = 40
_BARS_A_UNIT = 50
_ROUNDING = 1e-6
_LIGHT_ON_DARK = 0.3
"""Share of the largest count from which numbers are written in white."""


def category_by_label(labels: pd.DataFrame) -> ChartType:
    """Examples of each label in each category as a heat map with the counts.

    `labels` has the columns label, category and count, of one task.
    """
    if labels.empty:
        raise NotDrawn("No label counts were given.")
    if (labels["label"] == labels["category"]).all():
        raise NotDrawn("Every label is its own category.")
    categories = category_order(labels)
    rank = labels["category"].map(categories.index)
    ordered = labels.assign(rank=rank).sort_values(
        ["rank", "count"], ascending=[True, False], kind="stable"
    )
    names = list(dict.fromkeys(ordered["label"]))
    cells = ordered[["label", "category", "count"]]
    top = float(cells["count"].max())
    x = alt.X("category:N", sort=categories, title=None, axis=_names(labelAngle=-40, orient="top"))
    y = alt.Y("label:N", sort=names, title=None, axis=_names(labelLimit=260))
    base = alt.Chart(cells).encode(x, y)
    colour = alt.Scale(type="sqrt", range=["#eef3f8", "#1f4e79"], domain=[0, top])
    legend = alt.Legend(
        title="Examples",
        tickCount=4,
        format=",d",
        gradientLength=min(140, max(_CELL_HEIGHT * len(names), 60)),
    )
    squares = base.mark_rect(stroke="white", strokeWidth=1.5).encode(
        alt.Color("count:Q", scale=colour, legend=legend),
        tooltip=["category:N", "label:N", alt.Tooltip("count:Q", format=",")],
    )
    dark = alt.datum["count"] > _LIGHT_ON_DARK * top
    numbers = base.mark_text(fontSize=10).encode(
        text=alt.Text("count:Q", format=","),
        color=alt.condition(dark, alt.value("white"), alt.value(INK)),
    )
    chart = layered(squares, numbers).properties(
        width=_CELL * len(categories), height=_CELL_HEIGHT * len(names)
    )
    several = labels.groupby("label")["category"].nunique().gt(1).sum()
    of = f"{several:,} of them in several" if several else "each in one category"
    subtitle = f"{len(names)} labels in {len(categories)} categories, {of}; empty cells are zero."
    return finish(chart, "Categories and their labels", subtitle)


def length_histogram(lengths: pd.DataFrame) -> ChartType:
    """How long the texts are, in characters.

    `lengths` has the columns characters and count, of one task. The longest hundredth is drawn as
    one last bar, so that a few long texts do not flatten the picture.
    """
    if lengths.empty:
        raise NotDrawn("No lengths of texts were given.")
    values = lengths["characters"].to_numpy(np.int64)
    counts = lengths["count"].to_numpy(np.int64)
    shown = _quantile(values, counts, 0.99)
    width = max(1, int(np.ceil((shown - values.min() + 1) / _BINS)))
    start = int(values.min()) // width * width
    edges = np.arange(start, shown + width + 1, width)
    inside = values < edges[-1]
    heights, _ = np.histogram(values[inside], edges, weights=counts[inside])
    bars = _bars(edges, heights)
    beyond = int(counts[~inside].sum())
    if beyond:
        last = {"low": edges[-1], "high": edges[-1] + width, "count": beyond, "kind": "longer"}
        bars = pd.concat([bars, pd.DataFrame([last])], ignore_index=True)
    bars["range"] = [
        f"over {low:,.0f}" if kind == "longer" else f"{low:,.0f} to {high - 1:,.0f}"
        for low, high, kind in zip(bars["low"], bars["high"], bars["kind"], strict=True)
    ]
    median, long = (_quantile(values, counts, share) for share in (0.5, 0.95))
    chart = layered(
        _columns(
            bars, "Length of a text (characters)", ["range:N"], {"bar": PLAIN, "longer": FAINT}
        ),
        *_marks(pd.DataFrame({"x": [median, long], "says": ["median", "95 %"]})),
    ).properties(width=_WIDTH, height=_HEIGHT)
    subtitle = [
        f"{counts.sum():,} texts of {values.min():,} to {values.max():,} characters; half have at "
        f"most {median:,}, 95 % at most {long:,}."
    ]
    if beyond:
        subtitle.append(f"The grey bar holds all {beyond:,} that are longer.")
    return finish(chart, "Lengths of texts", subtitle)


def similarity_histogram(
    similarities: NDArray[np.floating],
    *,
    total: int,
    threshold: float = 0.9,
    embedder: str = "hashed",
) -> ChartType:
    """How similar texts are to their most similar other text; near-duplicates stand out.

    Args:
        similarities: cosine of each text that was looked at with its nearest neighbour.
        total: how many texts they were compared with.
        threshold: cosine from which two texts count as near-duplicates.
        embedder: its name.
    """
    if not len(similarities) or total < 2:
        raise NotDrawn("No similarities of texts were computed.")
    first = int(np.floor(min(float(similarities.min()), threshold) * _BARS_A_UNIT))
    edges = np.arange(first, _BARS_A_UNIT + 1) / _BARS_A_UNIT
    # A cosine of single precision may lie a rounding below the edge that it stands for.
    heights, _ = np.histogram(similarities + _ROUNDING, np.append(edges[:-1], 2))
    bars = _bars(edges, heights)
    bars["kind"] = np.where(bars["low"] >= threshold - 1e-9, "near", "bar")
    bars["range"] = [f"{a:.2f} to {b:.2f}" for a, b in zip(bars["low"], bars["high"], strict=True)]
    chart = layered(
        _columns(
            bars, "Cosine with the most similar other text", ["range:N"],
            {"bar": PLAIN, "near": _FLAGGED}, format=".2f",
        ),
        *_marks(pd.DataFrame({"x": [threshold], "says": [f"threshold {threshold:g}"]})),
    ).properties(width=_WIDTH, height=_HEIGHT)  # fmt: skip
    near = float((similarities + _ROUNDING >= threshold).mean())
    sample = "" if len(similarities) == total else f"{len(similarities):,} of "
    subtitle = (
        f"{sample}{total:,} texts; {100 * near:.1f} % have a near-duplicate (cosine of at least "
        f"{threshold:g}). Embedder: {embedder}."
    )
    return finish(chart, "Similarity to the nearest text", subtitle)


def _names(**changes: Any) -> alt.Axis:
    look: dict[str, Any] = {"domain": False, "ticks": False, "labelColor": INK, "labelPadding": 6}
    return alt.Axis(**(look | changes))


def _bars(edges: NDArray, heights: NDArray) -> pd.DataFrame:
    bars = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "count": heights.astype(int)})
    return bars.assign(kind="bar")


def _columns(
    bars: pd.DataFrame, title: str, tooltip: list[str], colours: dict[str, str], format: str = ",d"
) -> alt.Chart:
    domain = [float(bars["low"].min()), float(bars["high"].max())]
    axis = alt.Axis(grid=False, tickCount=8, format=format)
    present = {kind: colour for kind, colour in colours.items() if kind in set(bars["kind"])}
    scale = alt.Scale(domain=list(present), range=list(present.values()))
    return (
        alt.Chart(bars.assign(zero=0))
        .mark_rect(stroke="white", strokeWidth=1)
        .encode(
            alt.X("low:Q", title=title, axis=axis, scale=alt.Scale(domain=domain, nice=False)),
            alt.X2("high"),
            alt.Y("count:Q", title="Texts (count)", axis=alt.Axis(format=",d", tickCount=5)),
            alt.Y2("zero"),
            alt.Color("kind:N", scale=scale, legend=None),
            tooltip=[*tooltip, alt.Tooltip("count:Q", format=",")],
        )
    )


def _marks(places: pd.DataFrame) -> list[alt.Chart]:
    """Dashed vertical lines with a name at the top."""
    base = alt.Chart(places).encode(alt.X("x:Q"))
    rules = base.mark_rule(color=MUTED, strokeDash=[4, 3])
    names = base.mark_text(align="left", baseline="bottom", dx=-2, dy=-4, color=MUTED).encode(
        y=alt.value(0), text="says:N"
    )
    return [rules, names]


def _quantile(values: NDArray[np.int64], counts: NDArray[np.int64], share: float) -> int:
    """The smallest value that at least a share of all do not exceed."""
    order = np.argsort(values)
    reached = np.cumsum(counts[order])
    return int(values[order][np.searchsorted(reached, share * reached[-1])])
