"""The HTML page: figures, tables and text joined into one self-contained file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from distillscale.report import answers, tables
from distillscale.report.catalogue import Figure
from distillscale.report.decision_table import decision_table
from distillscale.report.inputs import ReportInputs
from distillscale.report.theme import VEGALITE

_EXPORTS = "window.vegaEmbed = vegaEmbed;"
_SECTIONS = {
    "decision": "Decision",
    "dataset": "Dataset",
    "method": "Method",
    "quality": "Quality on the task",
    "knowledge": "General knowledge",
    "stability": "Stability",
    "comparison": "Factors compared",
    "laws": "Fitted laws",
    "answers": "Single examples",
}
_OWN_PLACE = ("decision", "laws", "answers")  # sections that hold more than figures


@dataclass(frozen=True)
class _Entry:
    """A figure as the page shows it; `spec` is missing where it was left out."""

    name: str
    label: str
    task: str
    number: int
    caption: str
    reason: str
    spec: Mapping[str, Any] | None


@dataclass(frozen=True)
class _Section:
    id: str
    heading: str
    figures: tuple[_Entry, ...]


def page(inputs: ReportInputs, figures: Iterable[Figure], specs: Mapping[str, Any]) -> str:
    """The page as HTML; `specs` maps the name of each drawn figure to its Vega-Lite definition.

    Everything that comes from `inputs` is escaped: text by Jinja's autoescape, the definitions by
    its `tojson`, which leaves no `<` that could end their script element.
    """
    sections = _sections(list(figures), specs, several=len(inputs.tasks) > 1)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(asset("report.html.j2")).render(
        title=inputs.title,
        facts=inputs.facts,
        notes=inputs.notes,
        recommendation=inputs.recommendation,
        command=inputs.command,
        sections=[section for section in sections if section.id not in _OWN_PLACE],
        own={section.id: section for section in sections if section.id in _OWN_PLACE},
        several=len(inputs.tasks) > 1,
        decisions=[(entry, decision_table(entry)) for entry in inputs.decisions],
        sheets=[(sheet, answers.as_json(sheet)) for sheet in inputs.sheets],
        most_examples=answers.MOST_EXAMPLES,
        laws=tables.law_tables(inputs.laws),
        certificates=tables.certificate_table(inputs.certificates),
        recovery=tables.recovery_tables(inputs.recovery),
        results=tables.results_table(inputs.results),
        css=Markup(asset("report.css")),  # noqa: S704 (our own files)
        script=Markup(asset("report.js")),  # noqa: S704
        bundle=Markup(vega_bundle()),  # noqa: S704
    )


def _sections(
    figures: list[Figure], specs: Mapping[str, Any], several: bool
) -> tuple[_Section, ...]:
    numbers = {name: place for place, name in enumerate(specs, start=1)}
    entries = {
        figure.name: _Entry(
            name=figure.name,
            label=figure.plan.heading + (f" ({figure.task})" if several and figure.task else ""),
            task=figure.task if several else "",
            number=numbers.get(figure.name, 0),
            caption=figure.plan.caption,
            reason=figure.reason,
            spec=specs.get(figure.name),
        )
        for figure in figures
    }
    return tuple(
        _Section(key, heading, tuple(entries[f.name] for f in figures if f.plan.section == key))
        for key, heading in _SECTIONS.items()
    )


def asset(name: str) -> str:
    """The text of one of the files that pages are made of."""
    return (files("distillscale.report") / "page" / name).read_text(encoding="utf-8")


@cache
def vega_bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that defines `vegaEmbed`."""
    return vl_convert.javascript_bundle(_EXPORTS, vl_version=VEGALITE)
