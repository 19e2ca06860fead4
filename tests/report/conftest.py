"""The synthetic study as fixtures; its report is rendered once for all tests."""

from pathlib import Path

import pytest
from synthetic_study import make_inputs

from distillscale.report import ReportInputs, render_report


@pytest.fixture(scope="session")
def report_inputs() -> ReportInputs:
    return make_inputs()


@pytest.fixture(scope="session")
def report_page(report_inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the rendered page."""
    return render_report(report_inputs, tmp_path_factory.mktemp("study") / "report")
