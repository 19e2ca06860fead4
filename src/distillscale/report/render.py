"""Writing a report: the page and its figures, whole or not at all."""

import os
import shutil
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

PAGE_NAME = "index.html"
_PNG_SCALE = 2.0


def render_report(inputs: ReportInputs, folder: Path) -> Path:
    """Write `index.html` and `figures/*.png|svg` into `folder`; returns the page's path.

    The folder appears under its name when complete. A report that lies there is replaced.

    Raises:
        InputError: the results are empty, or `folder` holds something that is not a report.
    """
    if inputs.results.empty:
        raise InputError("the results table has no rows, so there is nothing to report.")
    if folder.exists() and not _replaceable(folder):
        raise InputError(f"{folder}: exists and is not a report; name a new or empty folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.parent / f".{folder.name}.{os.getpid()}"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        _write(inputs, beside)
        _replace(folder, beside)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder / PAGE_NAME


def _replaceable(folder: Path) -> bool:
    return folder.is_dir() and ((folder / PAGE_NAME).is_file() or not any(folder.iterdir()))


def _write(inputs: ReportInputs, folder: Path) -> None:
    pictures = folder / "figures"
    pictures.mkdir(parents=True)
    figures = draw_all(inputs)
    specs = {figure.name: specification(figure.chart) for figure in figures if figure.chart}
    for name, spec in specs.items():
        svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGALITE)
        (pictures / f"{name}.svg").write_text(svg, encoding="utf-8")
        (pictures / f"{name}.png").write_bytes(vl_convert.svg_to_png(svg, scale=_PNG_SCALE))
    (folder / PAGE_NAME).write_text(page(inputs, figures, specs), encoding="utf-8")


def specification(chart: ChartType) -> dict[str, Any]:
    """The chart as a Vega-Lite definition that holds its own data."""
    with alt.data_transformers.enable("default", max_rows=None):
        return chart.to_dict()


def _replace(folder: Path, complete: Path) -> None:
    """Put `complete` where `folder` is; the old report is set aside first, then deleted."""
    old = complete.with_name(complete.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    complete.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
