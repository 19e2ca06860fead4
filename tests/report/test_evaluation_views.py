"""Pictures of decisions: what they hold, and that awkward names stay text."""

import numpy as np
import pandas as pd
import pytest

from distillscale.report.evaluation_views import (
    confusion_view,
    reliability_view,
    risk_coverage_view,
)
from distillscale.report.inputs import NotDrawn
from distillscale.report.render import specification, write_pictures


def datasets(chart) -> list[list[dict]]:
    return list(specification(chart)["datasets"].values())


def subtitle(chart) -> str:
    text = specification(chart)["title"]["subtitle"]
    return text if isinstance(text, str) else " ".join(text)


def confusion(counts, names) -> pd.DataFrame:
    return pd.DataFrame(np.array(counts), index=names, columns=names)


def test_the_heat_map_has_a_cell_for_each_count():
    chart = confusion_view(confusion([[8, 2, 0], [0, 5, 0], [0, 0, 0]], ["up", "down", "flat"]))
    [cells] = datasets(chart)
    found = {(c["gold"], c["predicted"], c["count"], c["share"]) for c in cells}
    assert found == {("up", "up", 8, 0.8), ("up", "down", 2, 0.2), ("down", "down", 5, 1.0)}
    assert subtitle(chart).startswith("13 of 15 decisions are right")
    assert "Classes without examples and predictions, not shown: 1." in subtitle(chart)


def test_a_class_that_is_only_predicted_stays_in_the_picture():
    chart = confusion_view(confusion([[3, 1], [0, 0]], ["up", "down"]))
    assert {cell["predicted"] for cell in datasets(chart)[0]} == {"up", "down"}


def test_the_reliability_picture_holds_each_bin():
    bins = pd.DataFrame(
        {"low": [0.5, 0.9], "high": [0.6, 1.0], "examples": [4, 96],
         "confidence": [0.55, 0.97], "accuracy": [0.5, 0.9]}
    )  # fmt: skip
    chart = reliability_view(bins, 0.0672)
    rows = [row for data in datasets(chart) for row in data if "zero" in row]
    assert [(r["low"], r["high"], r["accuracy"]) for r in rows] == [
        (0.5, 0.6, 0.5),
        (0.9, 1.0, 0.9),
    ]
    assert subtitle(chart).startswith("Expected calibration error 0.067; 100 decisions")


def test_two_models_share_a_coverage_picture():
    curve = pd.DataFrame({"coverage": [0.5, 1.0], "accuracy": [1.0, 0.8], "threshold": [0.9, 0.1]})
    both = pd.concat([curve.assign(model="one"), curve.assign(model="other")])
    assert {row["model"] for row in datasets(risk_coverage_view(both))[0]} == {"one", "other"}


def test_nothing_is_not_drawn():
    with pytest.raises(NotDrawn):
        confusion_view(confusion([[0, 0], [0, 0]], ["up", "down"]))
    with pytest.raises(NotDrawn):
        reliability_view(pd.DataFrame(columns=["low", "high", "examples"]), 0.0)
    with pytest.raises(NotDrawn):
        risk_coverage_view(pd.DataFrame(columns=["model", "coverage", "accuracy"]))


def test_names_are_text_in_the_drawn_picture(tmp_path):
    names = ['<script>alert("x")</script>', "a.b[0]", "日本", "with, comma"]
    chart = confusion_view(confusion(np.eye(4, dtype=int) * 3, names))
    write_pictures({"confusion": specification(chart)}, tmp_path)
    svg = (tmp_path / "confusion.svg").read_text()
    assert "<script>" not in svg
    assert "a.b[0]" in svg
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
