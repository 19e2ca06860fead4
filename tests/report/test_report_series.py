import numpy as np
import pandas as pd
import pytest
from synthetic_study import TEACHER_PARAMS, results_table

from distillscale.report import series
from distillscale.report.inputs import NotDrawn


@pytest.fixture(scope="module")
def results() -> pd.DataFrame:
    return series.with_configurations(results_table())


def test_configuration_names_thinking_only_where_a_configuration_has_several(results):
    assert set(results["configuration"]) == {
        "logit-label", "lora-label", "logit-cot", "logit-blended", "pruned only",
    }  # fmt: skip
    table = results_table()
    brief = table[table["supervision"] == "cot"].assign(thinking="brief", cell="brief")
    names = set(series.with_configurations(pd.concat([table, brief]))["configuration"])
    assert {"logit-cot (brief)", "logit-cot (full)", "logit-blended"} <= names


def test_summary_is_the_mean_with_the_middle_ninety_percent_of_pooled_replicates():
    rows = pd.DataFrame({
        "metric": "macro_f1", "configuration": "logit-label", "stage": 1, "value": [0.4, 0.6],
        "chance": np.nan, "params": 100.0, "prune_ratio": 0.5, "examples": 10, "seed": [0, 1],
        "replicates": [list(np.linspace(0, 0.5, 51)), list(np.linspace(0.51, 1, 50))],
    })  # fmt: skip
    point = series.summarise(rows, ["macro_f1"], ["stage"]).iloc[0]
    assert point["value"] == pytest.approx(0.5)
    assert (point["low"], point["high"]) == (pytest.approx(0.05), pytest.approx(0.95))
    assert point["seeds"] == 2


@pytest.mark.parametrize("replicates", [[], None, np.array([]), np.nan])
def test_without_replicates_the_interval_is_missing_not_zero(results, replicates):
    rows = results[results["metric"] == "macro_f1"].head(1)
    rows = rows.assign(replicates=pd.Series([replicates], index=rows.index, dtype=object))
    point = series.summarise(rows, ["macro_f1"], ["stage"]).iloc[0]
    assert np.isnan(point["low"])
    assert np.isnan(point["high"])


def test_values_that_are_missing_or_infinite_make_no_point(results):
    rows = results[results["metric"] == "macro_f1"].head(2).assign(value=[np.nan, np.inf])
    with pytest.raises(NotDrawn, match="macro F1"):
        series.summarise(rows, ["macro_f1"], ["stage"])


def test_dataset_view_holds_ratio_and_schedule_fixed(results):
    view = series.by_dataset_size(results)
    assert view.held_fixed == "48% of the teacher kept, oneshot schedule, stage 1"
    assert set(view.rows["dataset_size"]) == {250, 500, 1000, 2000}
    assert set(view.rows["schedule"]) == {"oneshot"}
    assert view.rows["prune_ratio"].nunique() == 1


def test_ratios_that_differ_by_rounding_are_one_ratio(results):
    jittered = results.copy()
    small = jittered["dataset_size"] < 2000
    jittered.loc[small, "prune_ratio"] *= 1.004
    assert series.by_dataset_size(jittered).rows["dataset_size"].nunique() == 4


def test_one_dataset_size_gives_a_reason_instead_of_a_view(results):
    with pytest.raises(NotDrawn, match="more than one dataset size"):
        series.by_dataset_size(results[results["dataset_size"] == 2000])


def test_size_view_is_the_uniform_chains_at_the_largest_set_with_the_control(results):
    view = series.by_model_size(results)
    assert set(view.rows["schedule"]) == {"uniform"}
    assert set(view.rows["dataset_size"]) == {2000}
    assert set(view.rows["stage"]) == set(range(6))
    assert "pruned only" in set(view.rows["configuration"])


def test_control_stays_in_the_size_view_whatever_its_dataset_size(results):
    free = results.assign(
        dataset_size=results["dataset_size"].where(results["method"] != "none", 0)
    )
    assert "pruned only" in set(series.by_model_size(free).rows["configuration"])


def test_schedule_view_holds_only_what_was_run_under_several_schedules(results):
    view = series.by_schedule(results)
    assert set(view.rows["configuration"]) == {"logit-label", "logit-cot", "pruned only"}
    assert set(view.rows["schedule"]) == {"uniform", "decayed", "oneshot"}
    assert set(view.rows["dataset_size"]) == {2000}
    with pytest.raises(NotDrawn, match="more than one schedule"):
        series.by_schedule(results[results["schedule"] == "uniform"])


def test_control_is_taken_at_the_same_stage_and_ratio(results):
    control = series.control_at(results, series.by_dataset_size(results).rows)
    assert set(control["configuration"]) == {"pruned only"}
    assert set(control["schedule"]) == {"oneshot"}
    assert control["prune_ratio"].unique() == pytest.approx([0.482])


def test_teacher_size_is_found_without_the_teacher(results):
    points = series.summarise(results[results["stage"] == 3], ["macro_f1"], ["stage"])
    assert series.teacher_params(points) == pytest.approx(TEACHER_PARAMS, rel=1e-4)


def test_oneshot_chains_to_different_sizes_are_different_points(results):
    view = series.by_schedule(results)
    points = series.summarise(view.rows, ["macro_f1"], ["schedule", "target", "stage"])
    own = points[(points["configuration"] == "logit-cot") & (points["schedule"] == "oneshot")]
    assert sorted(own[own["stage"] == 1]["prune_ratio"]) == pytest.approx([0.162, 0.482])


def test_thinking_of_other_tables_is_named_like_that_of_the_results():
    curves = pd.DataFrame(
        {"configuration": ["logit-cot", "logit-label"], "thinking": ["full", "none"]}
    )
    assert list(series.name_thinking(curves, {"logit-cot"})["configuration"]) == [
        "logit-cot (full)", "logit-label",
    ]  # fmt: skip
    unnamed = curves.drop(columns="thinking")
    assert series.name_thinking(unnamed, {"logit-cot"}) is unnamed
