"""The page of a corpus: its figures as one self-contained HTML file, and as pictures."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from altair.typing import ChartType
from markupsafe import Markup
from numpy.typing import NDArray

from distillscale.report.dataset import embedding_view, label_distribution
from distillscale.report.dataset_views import (
    category_by_label,
    length_histogram,
    similarity_histogram,
)
from distillscale.report.inputs import NotDrawn
from distillscale.report.page import asset, vega_bundle
from distillscale.report.render import specification, write_pictures

VIEW_PAGE = "view.html"


@dataclass(frozen=True)
class CorpusView:
    """What a corpus's figures are drawn from.

    `labels` has the columns label, category and count, `lengths` characters and count, `points`
    x, y, label, category and text, perhaps of a sample of the
    `texts` that there are. `similarities` are cosines with the nearest of `compared`
    texts; `threshold` is the cosine of near-duplicates. `method` says how points were placed.
    """

    title: str
    facts: Mapping[str, str]
    labels: pd.DataFrame
    lengths: pd.DataFrame
    points: pd.DataFrame
    texts: int
    method: str
    similarities: NDArray[np.float32]
    compared: int
    threshold: float
    embedder: str
    command: str


@dataclass(frozen=True)
class _Entry:
    """A figure as the page shows it; `spec` is missing where it was left out."""

    name: str
    heading: str
    caption: str
    spec: Mapping[str, Any] | None
    reason: str = ""


_Draw = Callable[[CorpusView], ChartType]
_FIGURES: tuple[tuple[str, str, str, _Draw], ...] = (
    (
        "label-distribution", "Label distribution", "How often each label occurs.",
        lambda view: label_distribution(view.labels),
    ),
    (
        "category-by-label", "Categories and their labels",
        "How the labels share out each category.",
        lambda view: category_by_label(view.labels),
    ),
    (
        "lengths", "Lengths of texts", "What a context of a given length would cut off.",
        lambda view: length_histogram(view.lengths),
    ),
    (
        "similarities", "Similarity to the nearest text",
        "Orange: near-duplicates. `distillscale data dedup` drops them; `data split` keeps them "
        "together.",
        lambda view: similarity_histogram(
            view.similarities, total=view.compared, threshold=view.threshold,
            embedder=view.embedder,
        ),
    ),
    (
        "embedding", "The corpus in two dimensions",
        "Hover for the text; click a category in the legend to see it alone.",
        lambda view: embedding_view(view.points, view.method, view.texts),
    ),
)  # fmt: skip


def render_view(view: CorpusView, folder: Path) -> None:
    """Write `view.html` and each figure as PNG and SVG into a folder that is there."""
    entries = list(_entries(view))
    write_pictures({entry.name: dict(entry.spec) for entry in entries if entry.spec}, folder)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(asset("dataset.html.j2")).render(
        title=view.title,
        facts=view.facts,
        figures=entries,
        command=view.command,
        css=Markup(asset("report.css")),  # noqa: S704 (our own files)
        script=Markup(asset("report.js")),  # noqa: S704
        bundle=Markup(vega_bundle()),  # noqa: S704
    )
    (folder / VIEW_PAGE).write_text(page, encoding="utf-8")


def _entries(view: CorpusView) -> Iterator[_Entry]:
    for name, heading, caption, draw in _FIGURES:
        try:
            yield _Entry(name, heading, caption, specification(draw(view)))
        except NotDrawn as reason:
            yield _Entry(name, heading, caption, None, str(reason))
