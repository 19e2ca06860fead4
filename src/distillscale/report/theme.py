"""Colours, shapes, fonts and sizes that every figure shares."""

import zlib
from typing import Any

import altair as alt
import pandas as pd
from altair.typing import ChartType

INK, MUTED, FAINT, GRID = "#1f2933", "#5b6670", "#9aa5b1", "#e6e9ed"
SANS = "Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif"
MONO = "Menlo, Consolas, Liberation Mono, DejaVu Sans Mono, monospace"
VEGALITE = "6.4"  # of Altair 6.3's definitions, among the versions that vl-convert holds
WIDTH = 860  # pixels, of a whole figure at scale 1

PLAIN = "#4477aa"  # of marks whose colour says nothing

SEGMENT_COLOURS = {"reasoning": "#b45f06", "answer": "#2b6cb0"}

# Okabe and Ito's colour-blind safe set. Shape says the same again: circle-like for labels,
# triangles for reasoning, diamonds for blending; a cross for the control.
CONFIGURATION_STYLES: dict[str, tuple[str, str]] = {
    "logit-label": ("#0072b2", "circle"),
    "lora-label": ("#56b4e9", "square"),
    "logit-cot": ("#d55e00", "triangle-up"),
    "lora-cot": ("#e69f00", "triangle-down"),
    "logit-blended": ("#009e73", "diamond"),
    "lora-blended": ("#cc79a7", "triangle-left"),
    "pruned only": ("#6b7280", "cross"),
}
_FURTHER_STYLES = [
    ("#7a4fa3", "triangle-right"), ("#8c6d1f", "square"), ("#3d3d3d", "circle"),
    ("#a63d57", "diamond"), ("#4f7f1f", "triangle-up"), ("#1b8a8a", "triangle-down"),
]  # fmt: skip

SCHEDULE_ORDER = ("uniform", "decayed", "oneshot", "explicit")
SCHEDULE_DASHES = {
    "uniform": [1, 0],
    "decayed": [6, 3],
    "oneshot": [2, 3],
    "explicit": [9, 3, 2, 3],
}
SCHEDULE_SHAPES = {
    "uniform": "circle", "decayed": "square", "oneshot": "diamond", "explicit": "triangle-up",
}  # fmt: skip

# Paul Tol's "muted" set, then darker and lighter tones; neighbours in a list differ in lightness.
_CATEGORY_COLOURS = [
    "#332288", "#88ccee", "#117733", "#ddaa33", "#882255", "#44aa99", "#cc6677",
    "#666633", "#aa4499", "#7788aa", "#994f00", "#99bb55", "#444444", "#ee8866", "#4477aa",
]  # fmt: skip
_CATEGORY_SHAPES = ["circle", "square", "triangle-up", "diamond", "cross"]

_CONFIG: dict[str, Any] = {
    "background": "white",
    "font": SANS,
    "padding": 12,
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 12,
        "titleFontWeight": "normal", "gridColor": GRID, "domainColor": FAINT,
        "tickColor": FAINT, "titlePadding": 8,
    },
    "legend": {
        "labelColor": INK, "titleColor": MUTED, "labelFontSize": 12, "titleFontSize": 12,
        "titleFontWeight": "normal", "symbolSize": 90, "labelLimit": 260,
    },
    "header": {"labelColor": INK, "labelFontSize": 12, "titleColor": MUTED},
    "title": {
        "anchor": "start", "color": INK, "fontSize": 16, "fontWeight": "bold", "offset": 16,
        "subtitleColor": MUTED, "subtitleFontSize": 12, "subtitlePadding": 6,
        "subtitleLineHeight": 16,
    },
}  # fmt: skip


def configuration_scales(names: list[str]) -> tuple[alt.Scale, alt.Scale]:
    """The colour and shape scales for these configurations, the same in every figure."""
    styles = [_style(name) for name in names]
    colours, shapes = [style[0] for style in styles], [style[1] for style in styles]
    return alt.Scale(domain=names, range=colours), alt.Scale(domain=names, range=shapes)


def _style(name: str) -> tuple[str, str]:
    """A configuration's colour and shape; they depend on its name only."""
    base = _base(name)
    if base in CONFIGURATION_STYLES and not name.endswith("(brief)"):
        return CONFIGURATION_STYLES[base]
    return _FURTHER_STYLES[zlib.crc32(name.encode()) % len(_FURTHER_STYLES)]


def configuration_order(names: pd.Series) -> list[str]:
    """The configurations present: the paper's first, then `pruned only`, then any others."""
    rank = {name: place for place, name in enumerate(CONFIGURATION_STYLES)}
    distinct = {str(name) for name in names}
    return sorted(distinct, key=lambda name: (rank.get(_base(name), len(rank)), name))


def _base(name: str) -> str:
    """A configuration's name without its depth of thinking."""
    return name.partition(" (")[0]


def category_scales(categories: list[str]) -> tuple[alt.Scale, alt.Scale]:
    """Colour and shape scales for a task's categories, in the given order."""
    count = len(categories)
    colours = [_CATEGORY_COLOURS[i % len(_CATEGORY_COLOURS)] for i in range(count)]
    shapes = [_CATEGORY_SHAPES[i % len(_CATEGORY_SHAPES)] for i in range(count)]
    return alt.Scale(domain=categories, range=colours), alt.Scale(domain=categories, range=shapes)


def layered(*layers: alt.Chart | alt.LayerChart) -> alt.LayerChart:
    """Charts on top of each other; unlike `alt.layer` it is never a facet."""
    return alt.LayerChart(layer=list(layers))


def finish(chart: ChartType, title: str, subtitle: str | list[str]) -> ChartType:
    """Give a whole figure its title and the shared look."""
    titled = chart.properties(title=alt.TitleParams(title, subtitle=subtitle))
    return titled.configure(**_CONFIG)
