"""What the report is made of, also where parts of a study are missing."""

import json
import math
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_table import results
from typer.testing import CliRunner

from distillscale.cli import app
from distillscale.commands.report_inputs import report_inputs
from distillscale.commands.report_laws import exponents, law_curves, law_lines, law_points
from distillscale.evaluation import (
    PREDICTIONS,
    Completion,
    InDomain,
    Prediction,
    write_predictions,
)
from distillscale.laws import LawFit, fit_laws
from distillscale.results import write_results
from distillscale.studies.dataset import write_dataset
from distillscale.studies.graph import StudyGraph, study_graph
from distillscale.studies.store import Store
from distillscale.studies.study_file import Study
from distillscale.tasks import Example, Trace
from distillscale.tasks.records import read_records, write_records

STUDY = Study.model_validate(
    {
        "name": "small",
        "dataset": {"train": 8, "validation": 2, "test": 4, "questions": 4},
        "distillation": {
            "steps": 3, "batch_size": 8, "learning_rate": {"logit": 1e-3, "lora": 1e-3},
            "answer_weight": 0.7,
        },
        "grids": [
            {
                "tasks": ["fin-headlines", "support-tickets"],
                "configurations": ["logit-label", "logit-cot", "logit-blended", "pruned-only"],
                "schedules": [{"kind": "oneshot", "prune_ratio": 0.5}],
                "dataset_sizes": [8],
            }
        ],
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def graph() -> StudyGraph:
    return study_graph(STUDY)


@pytest.fixture(scope="module")
def laws() -> list[LawFit]:
    return fit_laws(results())


@pytest.fixture
def store(graph: StudyGraph, tmp_path: Path) -> Store:
    """Data and traces of the first task; the second has neither."""
    store = Store(tmp_path / "store")
    step = graph.datasets["fin-headlines"]
    folder = store.publish(step, lambda out: write_dataset(step.params, graph.sources, out))
    example = read_records(folder / "train.parquet", Example)[0]
    for thinking, completion in (
        ("none", " LAYOFFS."),
        ("brief", " layoffs were announced\nAnswer: Layoffs"),
    ):
        trace = Trace(example.id, (1,), (2, 3, 4), 1, completion, "layoffs", "layoffs")
        unparsed = Trace(example.id, (1,), (2,), 1, "...", None, "layoffs")

        def written(out: Path, found: tuple[Trace, ...] = (unparsed, trace)) -> dict[str, int]:
            write_records(found, out / "traces.parquet")
            report = {"reasoning_tokens": 6.0, "answer_tokens": 2.0}
            report |= {"agreed": 1, "parsed": 1, "unparsed": 1}
            (out / "report.json").write_text(json.dumps(report))
            return {}

        store.publish(graph.traces["fin-headlines", thinking], written)
    return store


def test_curves_lie_within_the_range_of_their_laws(laws: list[LawFit]):
    curves = law_curves(laws)
    assert set(curves["law"]) == {"data", "size", "collapse"}
    for law in laws:
        own = curves[
            (curves["law"] == law.form)
            & (curves["metric"] == law.metric)
            & (curves["x_name"] == law.x)
            & (curves["configuration"] == law.group["configuration"])
        ]
        assert law.x_range is not None
        assert (own["x"].min(), own["x"].max()) == pytest.approx(law.x_range)
        assert all(law.predict(x).inside for x in own["x"])
        assert own["x"].is_monotonic_increasing
        assert np.isfinite(own["value"]).all()
        assert ((own["low"] <= own["high"]) | own["low"].isna()).all()


def test_laws_are_drawn_a_factor_of_two_beyond_their_points_and_hold_their_residuals(
    laws: list[LawFit],
):
    lines, points = law_lines(laws), law_points(results(), laws)
    for fit, law in enumerate(laws):
        assert law.x_range is not None
        beyond = lines[(lines["fit"] == fit) & (lines["part"] == "beyond")]["x"]
        low, high = law.x_range
        ends = (high, 2 * high) if law.x == "dataset_size" else (low / 2, low)
        assert (beyond.min(), beyond.max()) == pytest.approx(ends)
        own = points[points["fit"] == fit]
        assert len(own) == law.diagnostics.points + law.diagnostics.dropped
        fitted = [law.predict(x).value for x in own["x"]]
        assert own["value"].to_numpy() == pytest.approx(own["residual"].to_numpy() + fitted)
        assert own["x"].between(low * 0.999, high * 1.001).all()


def test_exponents_are_values_or_bounds_never_both(laws: list[LawFit]):
    found = exponents(laws)
    assert set(found["law"]) <= {"data", "size"}
    assert len(found) == sum(law.form in ("data", "size") for law in laws)
    bounds = found[found["kind"].isin(["<", ">"])]
    assert bounds["value"].isna().all()
    assert (bounds["low"].isna() != bounds["high"].isna()).all()
    bounded = {(law.metric, law.x) for law in laws if {"alpha", "beta"} & set(law.bounds)}
    assert set(zip(bounds["metric"], bounds["x"], strict=True)) == bounded


def test_laws_that_were_not_fitted_have_no_curve():
    assert law_curves([]).empty
    assert law_curves(fit_laws(results()[:0])).empty


def test_a_study_of_which_a_task_is_missing_can_be_reported(
    graph: StudyGraph, store: Store, laws: list[LawFit]
):
    inputs = report_inputs(STUDY, graph, store, results(), laws, "distillscale study run x")
    assert set(inputs.labels["task"]) == set(inputs.embedding["task"]) == {"fin-headlines"}
    assert inputs.labels["count"].sum() == len(inputs.embedding) == 8
    assert {trace.task for trace in inputs.traces} == {"fin-headlines"}
    assert any("Cells without results" in note for note in inputs.notes)
    assert "fin-headlines: keep 90% of the teacher's macro_f1" in inputs.recommendation


def test_nothing_at_all_can_be_gathered_too(graph: StudyGraph, tmp_path: Path):
    table = results()[:0]
    inputs = report_inputs(STUDY, graph, Store(tmp_path / "empty"), table, [], "")
    assert inputs.labels.empty
    assert inputs.traces == inputs.decisions == inputs.sheets == inputs.judged == ()
    assert inputs.contrasts.empty
    assert inputs.recommendation == ""


def test_the_decision_is_the_smallest_model_that_keeps_the_rule(
    graph: StudyGraph, store: Store, laws: list[LawFit]
):
    table = results()
    decision = report_inputs(STUDY, graph, store, table, laws, "").decisions[0]
    assert decision.threshold == pytest.approx(0.95 * 0.95)
    best, measured = decision.options[:2]
    assert decision.options[0].macro_f1 >= decision.threshold
    assert measured.role == "smallest measured"
    above = table[(table["metric"] == "macro_f1") & (table["value"] >= decision.threshold)]
    assert measured.params == above["params"].min() >= best.params
    assert measured.f1_share == pytest.approx(measured.macro_f1 / 0.95)
    assert f"{best.params:,}" in decision.sentence
    assert decision.command.endswith("--task fin-headlines --min macro_f1=0.9025")


def test_the_surer_model_is_shown_with_its_own_probability_and_interval(
    graph: StudyGraph, store: Store
):
    """Two runs that differ: the smallest model meets the rule about every second time."""
    rows = results()
    chance = np.random.default_rng(0)
    shift = dict.fromkeys(rows["cell"].unique(), 0.0)
    shift = {cell: chance.normal(0, 0.01) for cell in shift}
    again = rows.assign(seed=1, cell=rows["cell"] + "-1", value=rows["value"])
    moved = again["metric"].eq("macro_f1") & again["stage"].gt(0)
    again.loc[moved, "value"] += again.loc[moved, "cell"].str[:-2].map(shift)
    table = pd.concat([rows, again], ignore_index=True)
    decision = report_inputs(STUDY, graph, store, table, fit_laws(table), "").decisions[0]
    smallest = decision.options[0]
    (surer,) = [option for option in decision.options if option.role == "probability 0.8 or more"]
    assert smallest.probability < 0.8 <= surer.probability
    assert surer.params > smallest.params
    assert surer.interval[0] < surer.macro_f1 < surer.interval[1]


def test_the_command_that_asks_again_answers_beside_the_results(
    graph: StudyGraph, store: Store, laws: list[LawFit], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    table = results()
    decision = report_inputs(STUDY, graph, store, table, laws, "").decisions[0]
    write_results(table, tmp_path / "results.parquet")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, shlex.split(decision.command)[1:])
    assert done.exit_code == 0, done.output
    assert "macro_f1 >= 0.9" in done.output


def test_what_models_answered_is_read_from_their_evaluations(graph: StudyGraph, store: Store):
    cells = [cell for cell in graph.stages if cell.task == "fin-headlines"]
    labels = ("layoffs", "merger")
    for cell in cells:
        for stage in graph.stages[cell]:
            wrong = stage.stage > 0 and cell.method != "none"
            store.publish(stage.evaluate, lambda out, wrong=wrong: _predictions(out, labels, wrong))
    cell = next(cell for cell in cells if cell.supervision == "label")
    table = results().assign(cell=cell.cell, stage=lambda rows: rows["stage"].clip(upper=1))
    inputs = report_inputs(STUDY, graph, store, table, [], "")
    (sheet,), (judged,) = inputs.sheets, inputs.judged
    assert [model.name.split(",")[0] for model in sheet.models] == [
        "teacher", "logit-label", "logit-cot", "logit-blended", "pruned only",
    ]  # fmt: skip
    assert sheet.models[0].answers == ["layoffs", "merger", "layoffs"]
    assert sheet.models[0].written[0] == "so it is\nAnswer: layoffs"
    assert sheet.models[1].answers == ["layoffs", "layoffs", "layoffs"]
    assert judged.confusion.to_numpy().tolist() == [[2, 0], [1, 0]]
    assert judged.error == pytest.approx(abs(2 / 3 - math.e / (1 + math.e)), abs=1e-6)


def _predictions(out: Path, labels: tuple[str, ...], wrong: bool) -> dict[str, int]:
    gold = ["layoffs", "merger", "layoffs"]
    predicted = ["layoffs"] * 3 if wrong else gold
    scores = np.array([[float(label == own) for label in labels] for own in predicted])
    probability = math.e / (1 + math.e)
    rows = tuple(
        Prediction(
            own, said, probability, 0.5, Completion("so it is\nAnswer: " + said, said, (), 5)
        )
        for own, said in zip(gold, predicted, strict=True)
    )
    write_predictions(
        InDomain(rows, scores, ()), out / PREDICTIONS, ids=["a", "b", "c"], texts=["x", "y", "z"],
        labels=labels, label_ids=[(1,), (2,)],
    )  # fmt: skip
    return {}


def test_traces_are_split_where_the_answer_begins(graph: StudyGraph, store: Store):
    inputs = report_inputs(STUDY, graph, store, results(), [], "")
    samples = {sample.supervision: sample for sample in inputs.traces}
    assert [(s.kind, s.text) for s in samples["label"].segments] == [("answer", "LAYOFFS.")]
    for supervision in ("cot", "blended"):
        assert [(s.kind, s.text) for s in samples[supervision].segments] == [
            ("reasoning", " layoffs were announced\nAnswer: "),
            ("answer", "Layoffs"),
        ]
    shares = {name: sample.answer_share for name, sample in samples.items()}
    assert shares == {"label": 1.0, "cot": 0.25, "blended": 0.7}


def test_missing_knowledge_needs_no_recommendation_about_it(graph: StudyGraph, store: Store):
    table = results()
    table = table[table["metric"] == "macro_f1"]
    inputs = report_inputs(STUDY, graph, store, table, fit_laws(table), "")
    assert "general" not in inputs.recommendation
    assert inputs.recovery.empty


def test_a_report_is_the_same_from_a_stored_table(graph: StudyGraph, store: Store, tmp_path: Path):
    table = results()
    write_results(table, tmp_path / "results.parquet")
    stored = pd.read_parquet(tmp_path / "results.parquet")
    first, second = (
        report_inputs(STUDY, graph, store, rows, fit_laws(rows), "") for rows in (table, stored)
    )
    pd.testing.assert_frame_equal(first.curves, second.curves)
    assert first.recommendation == second.recommendation


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "exact, computed once"),
        ({"teacher": "online"}, "exact, computed at every step"),
        (
            {"teacher_top_k": 64, "temperature": 2.0},
            "its 64 most likely tokens and the mass left over, computed once at temperature 2",
        ),
    ],
)
def test_how_the_teacher_is_shown_is_a_fact_of_the_report(
    graph: StudyGraph, store: Store, given, said
):
    recipe = STUDY.distillation.model_copy(update=given)
    study = STUDY.model_copy(update={"distillation": recipe})
    assert report_inputs(study, graph, store, results(), [], "").facts[
        "Teacher's distribution"
    ] == said  # fmt: skip


def test_agreement_with_gold_is_a_fact_of_the_report(graph: StudyGraph, store: Store):
    inputs = report_inputs(STUDY, graph, store, results(), [], "")
    clause = "thinking brief: 1 of 1 parsed traces agree with gold, 1 unparsed"
    assert clause in inputs.facts["Annotation"]
