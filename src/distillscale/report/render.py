"""Writing a report: the page and its figures, whole or not at all."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from altair.typing import ChartType

from distillscale.errors import InputError
from distillscale.report.catalogue import draw_all
from distillscale.report.inputs import ReportInputs
from distillscale.report.page import page
from distillscale.report.theme import VEGALITE

PAGE_NAME = "report.html"
_PICTURES = "figures"
_PNG_SCALE = 2.0


def render_report(inputs: ReportInputs, folder: Path) -> Path:
    """Write `report.html` and `figures/*.png|svg` into `folder`; returns the page's path.

    A report that lies there is replaced, any other file is left alone. Both are made under a
    temporary name and moved when complete, the page last.

    Raises:
        InputError: the results are empty, or `folder/figures` is not a report's.
    """
    if inputs.results.empty:
        raise InputError("the results table has no rows, so there is nothing to report.")
    page_path, pictures = folder / PAGE_NAME, folder / _PICTURES
    if pictures.exists() and not page_path.is_file():
        raise InputError(f"{pictures}: exists without a {PAGE_NAME}; name another folder.")
    beside = folder / f".report.{os.getpid()}"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        _write(inputs, beside)
        if pictures.exists():
            pictures.rename(beside / "old")
        (beside / _PICTURES).rename(pictures)
        (beside / PAGE_NAME).replace(page_path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return page_path


def _write(inputs: ReportInputs, folder: Path) -> None:
    pictures = folder / _PICTURES
    pictures.mkdir(parents=True)
    figures = draw_all(inputs)
    specs = {figure.name: specification(figure.chart) for figure in figures if figure.chart}
    write_pictures(specs, pictures)
    (folder / PAGE_NAME).write_text(page(inputs, figures, specs), encoding="utf-8")


def write_pictures(specs: Mapping[str, dict[str, Any]], folder: Path) -> None:
    """Draw each Vega-Lite definition as `NAME.svg` and `NAME.png`."""
    for name, spec in specs.items():
        svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGALITE)
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
        (folder / f"{name}.png").write_bytes(vl_convert.svg_to_png(svg, scale=_PNG_SCALE))


def specification(chart: ChartType) -> dict[str, Any]:
    """The chart as a Vega-Lite definition that holds its own data."""
    with alt.data_transformers.enable("default", max_rows=None):
        return chart.to_dict()
