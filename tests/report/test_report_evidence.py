"""Bounds as arrows, fronts, and which examples are shown."""

import pandas as pd
import pytest
from synthetic_evidence import (
    collapse,
    contrasts,
    exponents,
    joint_lines,
    joint_points,
    sheet,
)
from synthetic_study import make_inputs

from distillscale.report import empty_table
from distillscale.report.answers import as_json, chosen_examples
from distillscale.report.decision_view import fronts, money
from distillscale.report.evidence_views import (
    collapse_points,
    contrast_plot,
    exponent_forest,
    variance_bars,
)
from distillscale.report.inputs import NotDrawn
from distillscale.report.interval_rows import ARROW, arrows
from distillscale.report.joint_law_views import (
    ADDITIVE,
    FORMATS,
    PRUNED,
    joint_laws_with_data,
)
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


def front_of(chart, panel: int) -> list[tuple[float, float]]:
    """The points of a panel's line: what it is drawn against, and macro F1."""
    spec = specification(chart)
    line = next(
        layer for layer in spec["hconcat"][panel]["layer"] if layer["mark"]["type"] == "line"
    )
    x = line["encoding"]["x"]["field"]
    return [(row[x], row["macro_f1"]) for row in spec["datasets"][line["data"]["name"]]]


def test_baselines_are_stars_with_names_and_on_the_fronts_of_cost():
    inputs = make_inputs()
    results, none = with_configurations(inputs.results), inputs.baselines[:0]
    chart, plain = (fronts(results, (), table) for table in (inputs.baselines, none))
    stars = [row for row in rows_of(chart) if "baseline" in row]
    assert {row["baseline"]: row["macro_f1"] for row in stars} == {
        "tfidf": 0.8, "same-shape-gold": pytest.approx(0.7),
    }  # fmt: skip
    knowledge = [row for row in stars if "general" in row]
    assert {row["baseline"] for row in knowledge} == {"same-shape-gold"}
    for panel, own in ((0, (90_000, 0.8)), (2, (0.4, 0.8))):
        assert own in front_of(chart, panel)
        # students that TF-IDF beats are gone, the others stay
        others = [point for point in front_of(plain, panel) if point[1] > 0.8]
        assert front_of(chart, panel) == [own, *others]
    spec = str(specification(plain))
    assert "baseline" not in spec
    assert "students that no other student beats" in spec


def test_names_of_baselines_stand_on_lines_of_their_own():
    inputs = make_inputs()
    near = inputs.baselines.assign(
        value=inputs.baselines["value"].where(inputs.baselines["metric"] != "macro_f1", 0.8)
    )
    spec = specification(fronts(with_configurations(inputs.results), (), near))
    marks = [layer["mark"] for layer in spec["hconcat"][0]["layer"]]
    places = sorted({mark["dy"] for mark in marks if mark["type"] == "text"})
    assert len(places) == 2
    assert places[1] - places[0] >= 12


def test_money_is_time_in_batches_at_the_stated_price():
    inputs = make_inputs()
    results = with_configurations(inputs.results)
    chart = money(results, inputs.decisions, inputs.baselines, 3.6)  # a thousandth a second
    stars = {
        row["baseline"]: row["cost_per_million"] for row in rows_of(chart) if "baseline" in row
    }
    assert stars == {"tfidf": pytest.approx(0.02), "same-shape-gold": pytest.approx(0.9)}
    assert (0.02, 0.8) in front_of(chart, 0)
    (ring,) = [row for row in rows_of(chart) if set(row) == {"cost_per_million", "macro_f1"}
               and row["macro_f1"] == 0.89]  # fmt: skip
    assert ring["cost_per_million"] == pytest.approx(1.4)
    untimed = results[results["metric"] != "ms_per_example_batch_32"]
    with pytest.raises(NotDrawn, match="batches of 32"):
        money(untimed, (), inputs.baselines, 1.0)


def test_the_answer_is_ringed_at_its_size():
    inputs = make_inputs()
    chart = fronts(with_configurations(inputs.results), inputs.decisions, inputs.baselines)
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


def test_joint_laws_have_a_line_a_dataset_size_or_format_and_all_their_points():
    inputs = make_inputs()
    lines, points = inputs.joint_lines, inputs.joint_points
    for kind, laws in ((FORMATS, {"data"}), (ADDITIVE, {"additive"}),
                       (PRUNED, {"pruned_one_teacher"})):  # fmt: skip
        rows = rows_of(joint_laws_with_data(kind, lines, points))
        own = points[points["law"].isin(laws)]
        names = own["configuration"] if kind is FORMATS else own["dataset_size"]
        drawn = [row for row in rows if "part" in row]
        assert {row["line"] for row in drawn} == set(names)
        assert {row["part"] for row in drawn} == {"fitted", "beyond"}
        measured = [row["value"] for row in rows if "value" in row and "part" not in row]
        assert sorted(measured) == pytest.approx(sorted(own["value"]), abs=1e-4)
        missed = [row["residual"] for row in rows if "predicted" in row]
        assert sorted(missed) == pytest.approx(sorted(own["residual"]), abs=1e-4)


def test_each_configuration_and_teacher_has_its_own_panel_of_a_joint_law():
    lines = joint_lines()
    other = lines.assign(configuration="lora-cot", fit=lines["fit"] + 3)
    larger = lines.assign(panel="teacher of 9,000,000")
    both = lines.assign(panel="teacher of 5,000,000")
    table = pd.concat([both, larger, other])
    spec = specification(joint_laws_with_data(PRUNED, table, joint_points(table)))
    said = str(spec)
    assert all(f"'text': 'logit-cot, teacher of {n},000,000'" in said for n in (5, 9))
    assert "'text': 'lora-cot'" in said


def test_without_joint_laws_nothing_is_drawn():
    for kind in (FORMATS, ADDITIVE, PRUNED):
        with pytest.raises(NotDrawn, match="was fitted"):
            joint_laws_with_data(kind, empty_table("joint_lines"), empty_table("joint_points"))


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
