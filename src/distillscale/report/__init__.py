"""One self-contained HTML page, and its figures as PNG and SVG, from the tables of a study."""

from distillscale.report.inputs import ReportInputs, Segment, TraceSample, empty_table
from distillscale.report.render import render_report

__all__ = ["ReportInputs", "Segment", "TraceSample", "empty_table", "render_report"]
