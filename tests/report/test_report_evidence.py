"""Bounds as arrows, fronts, and which examples are shown."""

import pandas as pd
import pytest
from synthetic_evidence import collapse, contrasts, exponents, sheet
from synthetic_study import make_inputs

from distillscale.report import empty_table
from distillscale.report.answers import as_json, chosen_examples
from distillscale.report.decision_view import fronts
from distillscale.report.evidence_views import (
    collapse_points,
    contrast_plot,
    exponent_forest,
    variance_bars,
)
from distillscale.report.inputs import NotDrawn
from distillscale.report.interval_rows import ARROW, arrows
from distillscale.report.law_views import SIZE, laws_with_data
from distillscale.report.render import specification
from distillscale.report.series import with_configurations


def rows_of(chart) -> list[dict[str, object]]:
    return [row for rows in specification(chart)["datasets"].values() for row in rows]


def test_arrows_begin_at_the_bound_and_point_to_where_the_value_may_be():
    rows = pd.DataFrame({
        "kind": ["<", ">", "value", ">"], "low": [None, 0.9, 0.1, 7.0],
        "high": [0.3, None, 0.2, None],
    }).astype({"low": float, "high": float})  # fmt: skip
    found = arrows(rows, (0.0, 2.0))
    assert found["bound"].tolist() == [0.3, 0.9, 2.0]
    assert found["tip"].tolist() == pytest.approx([0.3 - 2 * ARROW, 0.9 + 2 * ARROW, 2.0])
    on_logs = arrows(rows, (0.1, 10.0), log=True)
    assert on_logs["tip"].iloc[1] / 0.9 == pytest.approx(100**ARROW)


def test_the_answer_is_ringed_at_its_size():
    inputs = make_inputs()
    chart = fronts(with_configurations(inputs.results), inputs.decisions)
    option = inputs.decisions[0].options[0]
    rings = [row for row in rows_of(chart) if set(row) == {"params", "macro_f1"}]
    assert {"params": option.params, "macro_f1": option.macro_f1} in rings


def test_unidentified_exponents_are_no_points_and_bounds_no_intervals():
    rows = rows_of(exponent_forest(exponents()))
    tips = {row["configuration"]: row for row in rows if "tip" in row}
    assert set(tips) == {"logit-cot", "logit-blended"}
    assert tips["logit-cot"]["tip"] < tips["logit-cot"]["bound"] == 0.3


def test_a_gap_that_is_not_known_says_so():
    spec = str(specification(collapse_points(collapse())))
    assert "not known" in spec


def test_only_contrasts_below_five_percent_are_marked():
    rows = [row for row in rows_of(contrast_plot(contrasts())) if "sure" in row]
    assert {row["sure"] for row in rows if row["p_holm"] > 0.05} == {"no"}
    assert {row["sure"] for row in rows if row["p_holm"] < 0.05} == {"yes"}


def test_the_part_beyond_the_points_is_kept_apart():
    inputs = make_inputs()
    chart = laws_with_data(SIZE, inputs.law_lines, inputs.law_points)
    rows = [row for row in rows_of(chart) if row.get("part")]
    edge = min(row["x"] for row in rows if row["part"] == "fitted")
    beyond = [row["x"] for row in rows if row["part"] == "beyond"]
    assert min(beyond) == pytest.approx(edge / 2, rel=1e-3)
    assert max(beyond) == pytest.approx(edge, rel=1e-3)


@pytest.mark.parametrize(
    ("draw", "table"),
    [(exponent_forest, "exponents"), (collapse_points, "collapse"), (contrast_plot, "contrasts"),
     (variance_bars, "shares")],
)  # fmt: skip
def test_nothing_to_show_is_said(draw, table):
    with pytest.raises(NotDrawn):
        draw(empty_table(table))


def test_examples_on_which_models_disagree_come_first_and_every_label_has_some():
    answers = sheet()
    chosen = chosen_examples(answers, most=15)
    assert len(set(chosen)) == 15
    assert {answers.gold[i] for i in chosen[:12]} == {"layoffs", "merger", "strike"}
    assert all(i % 5 == 0 for i in chosen[:12])
    assert not any(i % 5 == 0 for i in chosen[12:])


def test_the_page_carries_numbers_for_labels_and_short_texts():
    content = as_json(sheet(text="x" * 2000), most=4)
    example = content["examples"][0]
    assert len(content["examples"]) == 4
    assert len(example["text"]) < 710
    assert content["total"] == 60
    gold, (teacher, student, _) = example["gold"], example["answers"]
    assert teacher == gold != student
    assert example["sure"] == [98, 70, 80]
    assert example["written"][2] == ""
