import pandas as pd
import pytest
from laws_tables import CHANCE, RATIOS, at_ratio, study_table, table

from distillscale.laws.plan import fit_laws, plan_laws
from distillscale.laws.settings import with_settings
from distillscale.results import read_results, write_results


@pytest.fixture(scope="module")
def study() -> pd.DataFrame:
    return study_table()


def test_every_law_of_the_study_is_planned(study: pd.DataFrame) -> None:
    plans = pd.DataFrame(
        [(p.law, p.group["configuration"], p.metric, p.x) for p in plan_laws(study)]
    )
    counts = plans.groupby([0, 1]).size()
    distilled = ["logit-blended", "logit-cot", "logit-label", "lora-label"]
    assert counts["collapse"].to_dict() == dict.fromkeys([*distilled, "pruned only"], len(CHANCE))
    assert counts["size"].to_dict() == dict.fromkeys([*distilled, "pruned only"], 4)
    assert counts["data"].to_dict() == dict.fromkeys(
        distilled, 1
    )  # gold_nll was not measured there


def test_data_law_takes_the_last_stage_of_cells_that_differ_in_size_only(study) -> None:
    plans = [plan for plan in plan_laws(study) if plan.law == "data"]
    for plan in plans:
        assert sorted(plan.rows["dataset_size"]) == [100, 200, 400, 800]
        assert set(plan.rows["stage"]) == {1}
        assert plan.group["final_ratio"] == 0.4
        assert "dataset_size" not in plan.group


def test_size_law_takes_all_stages_of_the_largest_uniform_chain() -> None:
    rows = [
        at_ratio(stage, ratio, cell=f"{size}-{schedule}-{stages}", dataset_size=size,
                 schedule=schedule, stages=stages, value=ratio / 2)
        for size, schedule, stages in [
            (100, "uniform", 5), (800, "uniform", 5), (9000, "uniform", 2), (9000, "decayed", 5),
        ]
        for stage, ratio in enumerate(RATIOS[: stages + 1])
    ]  # fmt: skip
    plans = [plan for plan in plan_laws(table(rows)) if plan.law == "size"]
    assert [plan.x for plan in plans] == ["params", "params_with_embeddings"]
    for plan in plans:
        assert (plan.group["dataset_size"], plan.group["stages"]) == (800, 5)
        assert len(plan.rows) == 6


def test_different_target_ratios_are_not_mixed_in_one_data_law() -> None:
    rows = [
        at_ratio(1, ratio, cell=f"{ratio}-{size}", dataset_size=size, schedule="explicit", stages=1)
        for ratio in (0.3, 0.302, 0.5)
        for size in (100, 200)
    ]
    ratios = [sorted(plan.rows["prune_ratio"].unique()) for plan in plan_laws(table(rows))]
    assert ratios == [[0.3, 0.302], [0.5]]


def test_an_unfinished_chain_gives_no_point_to_a_data_law() -> None:
    rows = [
        at_ratio(stage, ratio, cell=str(size), dataset_size=size, stages=2, schedule="decayed")
        for size, stages in ((100, 3), (200, 3), (400, 2))
        for stage, ratio in enumerate([1.0, 0.5, 0.3][:stages])
    ]
    (plan,) = plan_laws(table(rows))
    assert sorted(plan.rows["dataset_size"]) == [100, 200]


def test_a_table_without_variation_has_no_laws() -> None:
    assert plan_laws(table([at_ratio(0, 1.0)])) == []
    assert plan_laws(table([])) == []


def test_pruned_only_chains_may_lack_a_dataset_size() -> None:
    rows = table(
        [
            at_ratio(i, r, supervision="none", method="none", value=r / 2)
            for i, r in enumerate(RATIOS)
        ]
    ).assign(dataset_size=float("nan"))
    assert [plan.group["dataset_size"] for plan in plan_laws(rows)] == [0, 0]


def test_seeds_become_repetitions_of_one_law() -> None:
    fits = fit_laws(study_table(seeds=(0, 1, 2)))
    assert len(fits) == 5 * len(CHANCE) + 5 * 4 + 4
    assert {fit.diagnostics.seeds for fit in fits} == {3}


def test_reasoning_collapses_later_than_label_only(study: pd.DataFrame) -> None:
    star = {
        fit.group["configuration"]: fit.estimate["r_star"]
        for fit in fit_laws(study)
        if fit.form == "collapse" and fit.metric == "lab_facts"
    }
    assert star["logit-cot"] < star["pruned only"] < star["logit-label"]
    assert star["logit-cot"] == pytest.approx(0.30, abs=0.05)


def test_both_statements_of_size_fit_the_same_errors(study: pd.DataFrame) -> None:
    fits = [f for f in fit_laws(study) if f.form == "size" and f.metric == "gold_nll"]
    without, with_embeddings = fits[0], fits[1]
    assert without.x_range[1] < with_embeddings.x_range[1]
    assert without.predict(400_000).value == pytest.approx(
        with_embeddings.predict(400_000 + 262_144).value, rel=0.05
    )


def test_a_table_read_from_parquet_gives_the_same_fits(study, tmp_path) -> None:
    write_results(study, tmp_path / "results.parquet")
    rows = study["metric"].isin(["macro_f1", "gold_nll"])
    again = read_results(tmp_path / "results.parquet")
    assert fit_laws(again[again["metric"].isin(["macro_f1", "gold_nll"])]) == fit_laws(study[rows])


def test_a_choice_of_tasks_does_not_change_a_setting() -> None:
    rows = [
        at_ratio(1, ratio, cell=task, task=task, stages=1)
        for task, ratio in (("a", 0.4), ("b", 0.41))
    ]
    whole = with_settings(table(rows))["final_ratio"].tolist()
    assert whole == [with_settings(table([row]))["final_ratio"].item() for row in rows]


def test_a_chain_without_a_stated_chance_has_no_collapse_law(study) -> None:
    label = (study["supervision"] == "label") & (study["method"] == "logit")
    unstated = study.assign(chance=study["chance"].mask(label))
    collapses = [p.group["configuration"] for p in plan_laws(unstated) if p.law == "collapse"]
    assert "logit-cot" in collapses
    assert "logit-label" not in collapses
