import itertools
import json

import altair as alt
import numpy as np
import pandas as pd
import pytest
from synthetic_study import make_inputs, results_table, small_inputs

from distillscale.errors import InputError
from distillscale.report import ReportInputs, empty_table
from distillscale.report.catalogue import PLANS, Figure, draw_all
from distillscale.report.comparisons import against_model_size
from distillscale.report.dataset import MOST_POINTS, embedding_view, label_distribution
from distillscale.report.procedure import schedules
from distillscale.report.render import specification
from distillscale.report.series import with_configurations
from distillscale.report.stability import stability
from distillscale.report.theme import configuration_scales


@pytest.fixture(scope="module")
def figures(report_inputs) -> dict[str, Figure]:
    """All figures of the whole study, by name."""
    return {figure.name: figure for figure in draw_all(report_inputs)}


def against_size(metrics: list[str], curves: pd.DataFrame) -> alt.ConcatChart:
    return against_model_size(with_configurations(results_table()), curves, metrics, "What")


def rows_of(chart: alt.LayerChart) -> list[dict[str, object]]:
    return [row for rows in specification(chart)["datasets"].values() for row in rows]


def test_a_configuration_has_one_colour_and_shape_wherever_it_appears():
    few, many = ["logit-cot"], ["logit-label", "logit-cot", "mystery", "logit-cot (brief)"]
    for scale in (0, 1):
        alone = dict(zip(few, configuration_scales(few)[scale].range, strict=True))
        among = dict(zip(many, configuration_scales(many)[scale].range, strict=True))
        assert alone["logit-cot"] == among["logit-cot"]
        assert len(set(among.values())) == len(many)


def test_every_figure_is_drawn_from_a_whole_study(figures):
    assert list(figures) == [plan.name for plan in PLANS]
    assert {name: figure.reason for name, figure in figures.items() if not figure.chart} == {}


def test_money_is_only_part_of_reports_whose_study_states_a_price():
    with_price, without = (
        {figure.name for figure in draw_all(small_inputs(hourly_price=price))}
        for price in (2.5, None)
    )
    assert with_price - without == {"money"}


def test_points_carry_their_value_and_interval(report_inputs, figures):
    results = report_inputs.results
    chart = figures["f1-likelihood-by-model-size"].chart
    points = [r for r in rows_of(chart) if r.get("stage") == 4 and r["metric"] == "macro_f1"]
    assert len({p["configuration"] for p in points}) == 5
    own = next(p for p in points if p["configuration"] == "lora-label")
    row = results[
        (results["method"] == "lora") & (results["stage"] == 4) & (results["metric"] == "macro_f1")
    ].iloc[0]
    assert own["value"] == pytest.approx(row["value"], abs=1e-5)
    assert own["low"] == pytest.approx(np.percentile(row["replicates"], 5), abs=1e-5)
    assert own["high"] == pytest.approx(np.percentile(row["replicates"], 95), abs=1e-5)


def test_chance_is_drawn_where_a_metric_has_one(figures):
    with_chance = json.dumps(specification(figures["knowledge-by-model-size"].chart))
    assert "chance 0.25" in with_chance
    assert "chance 0.10" in with_chance
    assert '"chance 0' not in json.dumps(
        specification(figures["f1-likelihood-by-model-size"].chart)
    )


def test_curves_over_kept_ratios_are_placed_on_the_parameter_axis(report_inputs):
    curves = report_inputs.curves
    collapse = curves[curves["law"] == "collapse"]
    rows = rows_of(against_size(["lab_facts"], collapse))
    xs = [row["x"] for row in rows if row.get("law") == "collapse"]
    assert min(xs) == pytest.approx(0.162 * 1_574_912, rel=1e-3)
    assert max(xs) == pytest.approx(1_574_912, rel=1e-3)


def test_only_the_first_of_several_laws_is_drawn(report_inputs):
    curves = report_inputs.curves
    other = curves[curves["law"] == "size"].assign(law="joint", value=0.123)
    rows = rows_of(against_size(["macro_f1"], pd.concat([curves, other])))
    assert {row["law"] for row in rows if "law" in row} == {"size"}


def test_what_has_no_data_is_left_out_with_a_sentence():
    results = results_table()
    one_size = results[(results["dataset_size"] == 2000) & (results["schedule"] == "uniform")]
    inputs = make_inputs(
        results=one_size[one_size["metric"].isin(["macro_f1", "lab_facts"])],
        embedding=empty_table("embedding"),
        labels=empty_table("labels"),
        traces=(),
    )
    left_out = {figure.name: figure.reason for figure in draw_all(inputs) if not figure.chart}
    assert left_out["knowledge-by-dataset-size"].endswith("more than one dataset size.")
    assert left_out["f1-likelihood-by-schedule"].endswith("more than one schedule.")
    assert {"supervision-spectrum", "embedding", "label-distribution"} <= set(left_out)
    assert "knowledge-by-model-size" not in left_out


def test_metrics_that_were_not_measured_leave_the_others_drawn():
    results = results_table()
    inputs = make_inputs(results=results[results["metric"] == "macro_f1"])
    drawn = {figure.name for figure in draw_all(inputs) if figure.chart}
    assert "f1-likelihood-by-model-size" in drawn
    assert not {"knowledge-by-model-size", "stability", "knowledge-rehearsed"} & drawn


def test_chains_that_stopped_early_are_counted():
    results = results_table()
    cot = (results["supervision"] == "cot") & (results["schedule"] == "uniform")
    stopped = results[~(cot & (results["stage"] == 5))].copy()
    infinite = (stopped["metric"] == "train_loss") & (stopped["supervision"] == "blended")
    stopped.loc[infinite, "value"] = np.inf
    texts = {row.get("text") for row in rows_of(stability(with_configurations(stopped)))}
    assert {"1 of 7", "1 of 1"} <= texts
    whole = {row.get("text") for row in rows_of(stability(with_configurations(results)))}
    assert {"0 of 7", "0 of 1"} <= whole


def test_each_schedule_and_target_has_its_own_bars():
    spec = specification(schedules(with_configurations(results_table())))
    titles = [panel["title"]["text"] for panel in spec["vconcat"][1]["hconcat"]]
    assert titles == ["uniform", "decayed", "oneshot", "oneshot"]
    bars = [rows for rows in spec["datasets"].values() if "prune_ratio" in rows[0]]
    assert sorted(len(rows) for rows in bars) == [2, 2, 6, 6]
    assert {round(row["prune_ratio"], 3) for rows in bars for row in rows if row["stage"] == 1} == {
        0.695, 0.52, 0.162, 0.482,
    }  # fmt: skip


def test_several_tasks_get_figures_of_their_own():
    tasks = ("fin-headlines", "../other task")
    results = results_table(tasks)
    inputs = make_inputs(tasks, results=results[results["metric"] == "macro_f1"])
    figures = {figure.name: figure for figure in draw_all(inputs)}
    once = [plan.name for plan in PLANS if plan.of_study]
    assert len(figures) == 2 * len(PLANS) - len(once)
    assert all(figures[name].task == "" for name in once)
    assert figures["fin-headlines-embedding"].task == "fin-headlines"
    assert figures["other-task-embedding"].chart.title.text.endswith("../other task")


def test_a_large_embedding_is_thinned_and_says_so(report_inputs):
    points = pd.concat([report_inputs.embedding] * 10)
    spec = specification(embedding_view(points))
    assert len(points) > MOST_POINTS
    assert max(len(rows) for rows in spec["datasets"].values()) == MOST_POINTS
    assert spec["title"]["subtitle"].startswith("3,000 of 4,200 texts")


def test_bars_are_grouped_by_category_and_do_not_overlap(report_inputs):
    spec = specification(label_distribution(report_inputs.labels))
    rows = max(spec["datasets"].values(), key=len)
    assert len(rows) == 35
    ends = sorted((row["y"], row["y2"]) for row in rows)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))
    categories = [row["category"] for row in rows]
    switches = sum(a != b for a, b in itertools.pairwise(categories))
    assert switches == len(set(categories)) - 1


def test_a_missing_column_is_named():
    with pytest.raises(InputError, match=r"`curves`: column `x_name` is missing"):
        make_inputs(curves=empty_table("curves").drop(columns="x_name"))


def test_inputs_name_their_tasks(report_inputs):
    assert isinstance(report_inputs, ReportInputs)
    assert report_inputs.tasks == ["fin-headlines"]
