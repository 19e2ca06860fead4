"""docs/findings.md says what bench/findings.py makes of the stored results, and its rules hold."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def findings() -> ModuleType:
    spec = importlib.util.spec_from_file_location("findings", ROOT / "bench" / "findings.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["findings"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_page_is_what_the_stored_results_say(findings: ModuleType) -> None:
    """It was written by `make findings`; run that again if laws or results changed on purpose."""
    if not findings.RESULTS.exists():
        pytest.skip("docs/results/lab.parquet is not there yet")
    made = findings.page(findings.read_results(findings.RESULTS))
    assert findings.PAGE.read_text(encoding="utf-8") == made


def contrast(difference: float, half: float, p: float | None, metric: str = "general"):
    shared = {
        "factor": "supervision", "held": "uniform in 5 to 0.16", "metric": metric,
        "contrast": "cot (full) - label", "at_end": np.nan, "at_end_low": np.nan,
        "at_end_high": np.nan, "units": 12, "p": p, "p_holm": p,
    }  # fmt: skip
    spread = {"difference": difference, "low": difference - half, "high": difference + half}
    whole = shared | spread | {"context": "all"}
    return pd.DataFrame([whole, whole | {"context": "one task", "p": None, "p_holm": None}])


@pytest.mark.parametrize(
    ("sign", "difference", "p", "verdict"),
    [
        (+1, 0.1, 0.01, "reproduced at lab scale"),
        (+1, -0.1, 0.01, "not reproduced (the opposite)"),
        (-1, -0.1, 0.01, "reproduced at lab scale"),
        (+1, 0.1, 0.06, "not reproduced (undecided)"),
        (+1, 0.1, None, "not tested"),
    ],
)
def test_verdicts_of_differences(findings, sign, difference, p, verdict) -> None:
    claim = findings.Claim("Says", "supervision", "cot (full) - label", "general", sign)
    row = findings._row(claim, contrast(difference, 0.05, p))
    assert f"*{verdict}*" in row
    if p is not None:
        assert f"{difference:+.3f} [{difference - 0.05:+.3f}, {difference + 0.05:+.3f}]" in row


@pytest.mark.parametrize(
    ("difference", "verdict"), [(-0.1, "reproduced at lab scale"), (0.0, "not reproduced")]
)
def test_a_margin_must_hold_for_the_whole_interval(findings, difference, verdict) -> None:
    claim = findings.Claim("Says", "supervision", "cot (full) - label", "macro_f1", 0, within=0.02)
    row = findings._row(claim, contrast(difference, 0.05, 0.5, "macro_f1"))
    assert f"*{verdict}*" in row


def test_what_the_table_lacks_is_not_tested(findings) -> None:
    claim = findings.Claim("Says", "thinking", "full - brief", "general", +1)
    assert "*not tested*" in findings._row(claim, contrast(0.1, 0.05, 0.01))
