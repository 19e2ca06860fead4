"""What the report is made of, also where parts of a study are missing."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_table import results

from distillscale.commands.report_inputs import law_curves, report_inputs
from distillscale.laws import fit_laws
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


def test_curves_lie_within_the_range_of_their_laws():
    laws = fit_laws(results())
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


def test_laws_that_were_not_fitted_have_no_curve():
    assert law_curves([]).empty
    assert law_curves(fit_laws(results()[:0])).empty


def test_a_study_of_which_a_task_is_missing_can_be_reported(graph: StudyGraph, store: Store):
    table = results()
    inputs = report_inputs(STUDY, graph, store, table, fit_laws(table), "distillscale study run x")
    assert set(inputs.labels["task"]) == set(inputs.embedding["task"]) == {"fin-headlines"}
    assert inputs.labels["count"].sum() == len(inputs.embedding) == 8
    assert {trace.task for trace in inputs.traces} == {"fin-headlines"}
    assert any("Cells without results" in note for note in inputs.notes)
    assert "fin-headlines: keep 90% of the teacher's macro_f1" in inputs.recommendation


def test_nothing_at_all_can_be_gathered_too(graph: StudyGraph, tmp_path: Path):
    table = results()[:0]
    inputs = report_inputs(STUDY, graph, Store(tmp_path / "empty"), table, [], "")
    assert inputs.labels.empty
    assert inputs.traces == ()
    assert inputs.recommendation == ""


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
