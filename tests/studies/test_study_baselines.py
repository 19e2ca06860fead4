"""Baselines of a study: planned from its students' steps, computed, resumed, and tabulated."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from distillscale.baselines import load_tfidf
from distillscale.errors import InputError
from distillscale.evaluation import bootstrap_weights
from distillscale.models.checkpoint import load_model
from distillscale.results import BASELINE_COLUMNS, write_baselines
from distillscale.studies.compute import compute
from distillscale.studies.graph import DEFAULT_SECONDS, StudyGraph, study_graph
from distillscale.studies.identity import Step
from distillscale.studies.plan import make_plan
from distillscale.studies.steps import run_step
from distillscale.studies.store import Store
from distillscale.studies.study_file import Study
from distillscale.studies.tables import baselines_table, results_table
from distillscale.tasks import Example, load_task
from distillscale.tasks.records import read_records

ALL = ["tfidf", "encoder", "same-shape-gold", "same-shape-distilled"]
TIMES = {
    "ms_per_example", "ms_per_example_batch_32", "examples_per_second",
    "prefill_tokens_per_second", "decode_tokens_per_second", "peak_memory_bytes",
}  # fmt: skip


def content(**changes: Any) -> dict[str, Any]:
    return {
        "name": "study",
        "dataset": {"train": 40, "validation": 4, "test": 24, "questions": 8},
        "pruning": {"calibration_examples": 4, "multiple": 4},
        "distillation": {
            "steps": 2, "batch_size": 4, "learning_rate": {"logit": 1e-3, "lora": 3e-3},
        },
        "evaluation": {"held_out_traces": 4, "latency_examples": 2},
        "grids": [grid()],
    } | changes  # fmt: skip


def grid(**changes: Any) -> dict[str, Any]:
    return {
        "tasks": ["fin-headlines"],
        "configurations": ["logit-label", "pruned-only"],
        "schedules": [{"kind": "explicit", "prune_ratios": [0.5, 0.3]}],
        "dataset_sizes": [16],
    } | changes


def graph_of(models: list[str], **changes: Any) -> StudyGraph:
    return study_graph(Study.model_validate(content(baselines={"models": models}, **changes)))


def evaluated(graph: StudyGraph, name: str, seed: int | None = 0) -> Step:
    return next(s for b, s in graph.baselines.items() if (b.name, b.seed) == (name, seed))


def smallest(graph: StudyGraph, configuration: str = "logit-label") -> tuple[Step, Step]:
    """Distillation and evaluation of the last stage of the chain that ends smallest."""
    method, _, supervision = configuration.partition("-")
    own = {c: s for c, s in graph.stages.items() if (c.method, c.supervision) ==
           (method, supervision) and c.seed == 0}  # fmt: skip
    last = own[min(own, key=lambda cell: cell.prune_ratios[-1])][-1]
    assert last.distill is not None
    return last.distill, last.evaluate


def test_there_are_none_unless_asked_for_and_they_change_no_other_step():
    without = study_graph(Study.model_validate(content()))
    assert without.baselines == {}
    found = graph_of(ALL)
    assert found.stages == without.stages
    assert set(found.targets) == {*without.targets, *found.baselines.values()}
    assert len(found.baselines) == len(ALL)


def test_one_of_the_same_shape_is_distilled_as_the_student_was_from_random_weights():
    found = graph_of(ALL)
    student, evaluation = smallest(found)
    asked = evaluated(found, "same-shape-distilled")
    own = asked.inputs["model"]
    assert own.inputs["student"].inputs["like"] == student.inputs["student"]
    assert {**own.inputs, "student": None} == {**student.inputs, "student": None}
    both = student.params["settings"]["steps"], own.params["settings"]["steps"]
    assert both == (2, 4)  # two stages' steps in one
    assert own.params["settings"] == student.params["settings"] | {"steps": 4}
    assert asked.params == evaluation.params
    assert asked.inputs == evaluation.inputs | {"model": own}


def test_one_trained_on_gold_labels_reasons_not_and_is_not_compared_with_the_teacher():
    reasons = [grid(configurations=["logit-cot"])]
    found = graph_of(["same-shape-gold"], grids=reasons)
    asked = evaluated(found, "same-shape-gold")
    assert asked.inputs.keys() == {"model", "dataset"}
    assert asked.params["thinking"] == "none"
    assert asked.params["benchmarks"] == ["lab_facts", "lab_joins"]
    taught = asked.inputs["model"]
    assert (taught.kind, taught.params["examples"]) == ("correct", 16)
    assert taught.params["training"]["steps"] == 4


def test_shape_and_steps_are_those_of_the_smallest_student_that_logits_taught():
    grids = [
        grid(dataset_sizes=[40]),
        grid(schedules=[{"kind": "oneshot", "prune_ratio": 0.25}]),
        grid(configurations=["lora-label"], schedules=[{"kind": "oneshot", "prune_ratio": 0.2}]),
    ]
    found = graph_of(ALL, grids=grids)
    for name in ("same-shape-gold", "same-shape-distilled"):
        model = evaluated(found, name).inputs["model"]
        untaught = model.inputs.get("student") or model.inputs["teacher"]
        assert untaught.inputs["like"] == smallest(found)[0].inputs["student"]
        assert untaught.inputs["like"].params["prune_ratio"] == 0.25
    assert {(b.dataset_size, b.steps) for b in found.baselines} == {(40, 2), (40, None)}
    (only,) = graph_of(["same-shape-gold"], grids=grids[2:]).baselines.values()
    assert only.inputs["model"].inputs["teacher"].inputs["like"].params["prune_ratio"] == 0.2


def test_all_seeds_of_a_task_take_the_same_chain():
    grids = [
        grid(schedules=[{"kind": "oneshot", "prune_ratio": 0.4}], seeds=[0]),
        grid(configurations=["lora-label"], seeds=[1]),
    ]
    found = graph_of(["same-shape-distilled"], grids=grids)
    ((baseline, step),) = found.baselines.items()
    assert (baseline.seed, baseline.steps) == (0, 2)
    assert step.inputs["model"].inputs["student"].inputs["like"].params["prune_ratio"] == 0.4


def test_there_is_one_for_each_task_and_seed_but_tfidf_has_no_seed():
    tasks = ["fin-headlines", "support-tickets"]
    found = graph_of(["tfidf", "encoder"], grids=[grid(tasks=tasks, seeds=[0, 1])])
    assert [(b.name, b.task, b.seed) for b in found.baselines if b.name == "tfidf"] == [
        ("tfidf", task, None) for task in tasks
    ]
    encoders = [(b.task, b.seed) for b in found.baselines if b.name == "encoder"]
    assert sorted(encoders) == [(task, seed) for task in tasks for seed in (0, 1)]
    assert len(set(found.baselines.values())) == 6


def test_a_price_is_part_of_no_step():
    priced = content(baselines={"models": ALL}) | {
        "evaluation": {"held_out_traces": 4, "latency_examples": 2, "hourly_price": 3.5}
    }
    assert study_graph(Study.model_validate(priced)).targets == graph_of(ALL).targets


def test_an_encoder_is_named_by_its_content_or_its_name_on_the_hub(tmp_path: Path):
    def trained(encoder: str) -> tuple[StudyGraph, Any]:
        section = {"models": ["encoder"], "encoder": encoder}
        found = study_graph(Study.model_validate(content(baselines=section)))
        return found, evaluated(found, "encoder").inputs["model"].params["source"]

    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    (one / "config.json").write_text("{}")
    (one / "model.safetensors").write_bytes(b"weights")
    shutil.copytree(one, other)
    found, source = trained(str(one))
    assert source == trained(str(other))[1]
    assert found.sources.path(source["digest"]) == one
    (other / "model.safetensors").write_bytes(b"others")
    assert source != trained(str(other))[1]
    assert trained("organisation/encoder")[1] == {"hub": "organisation/encoder"}
    (other / "model.safetensors").unlink()
    for wrong in (str(other), str(tmp_path / "none"), "a/b/c"):
        with pytest.raises(InputError, match=f"baselines.encoder `{wrong}` is no folder"):
            trained(wrong)


def run(graph: StudyGraph, store: Store) -> list[str]:
    """Compute in this process what is missing; returns the names of what was."""
    plan = make_plan(graph.targets, store, DEFAULT_SECONDS)

    def execute(*given: Any) -> Any:
        return run_step(*given, sources=graph.sources)

    for step in plan.missing:
        ended = compute(step, store, execute, lambda _: None)
        assert ended.error is None, ended.details
    return [step.name for step in plan.missing]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyGraph, Store]:
    """A study of one chain with all baselines, computed."""
    oneshot = grid(
        configurations=["logit-label"], schedules=[{"kind": "oneshot", "prune_ratio": 0.2}]
    )
    found, store = graph_of(ALL, grids=[oneshot]), Store(tmp_path_factory.mktemp("store"))
    run(found, store)
    return found, store


def test_baselines_are_measured_as_students_are_on_the_same_resamples(done, tmp_path: Path):
    found, store = done
    table, students = baselines_table(found, store), results_table(found, store)
    write_baselines(table, tmp_path / "baselines.parquet")
    table = pd.read_parquet(tmp_path / "baselines.parquet")
    assert list(table.columns) == list(BASELINE_COLUMNS)
    assert table["baseline"].unique().tolist() == ALL
    assert not students["metric"].isin(["baseline"]).any()
    by_metric = {name: rows.set_index("metric") for name, rows in table.groupby("baseline")}
    student = students[students["stage"] == 1].set_index("metric")
    in_domain = {"macro_f1", "weighted_f1", "accuracy", "gold_nll", "gold_probability", "ece"}
    cost = {"ms_per_example", "ms_per_example_batch_32", "examples_per_second", "file_bytes"}
    knowledge = {"general", "lab_facts", "lab_joins"}
    for name, rows in by_metric.items():
        assert in_domain | cost <= set(rows.index)
        assert (rows.loc[sorted(in_domain), "examples"] == 24).all()
        assert all(len(rows.loc[m, "replicates"]) == 200 for m in in_domain)
        assert knowledge.issubset(rows.index) == name.startswith("same-shape")
        assert not knowledge.intersection(rows.index) or name.startswith("same-shape")
    assert "kl_answer" in by_metric["same-shape-distilled"].index
    assert "kl_answer" not in by_metric["same-shape-gold"].index
    for name in ("same-shape-gold", "same-shape-distilled"):
        for size in ("params", "params_with_embeddings"):
            assert by_metric[name][size].iloc[0] == student[size].iloc[0]
    seeds = {name: rows["seed"].unique().tolist() for name, rows in by_metric.items()}
    assert seeds == {name: [pd.NA if name == "tfidf" else 0] for name in ALL}


def test_resamples_are_those_of_every_model_on_as_many_examples(done):
    found, store = done
    asked = evaluated(found, "tfidf", None)
    examples = read_records(store.folder(asked.inputs["dataset"]) / "test.parquet", Example)
    labels = load_task("fin-headlines").labels
    scores = load_tfidf(store.folder(asked.inputs["model"])).log_probabilities(
        [example.text for example in examples]
    )
    pairs = zip(scores.argmax(axis=1), examples, strict=True)
    right = np.array([labels[row] == example.label for row, example in pairs], dtype=float)
    table = baselines_table(found, store)
    own = table[(table["baseline"] == "tfidf") & (table["metric"] == "accuracy")].iloc[0]
    assert own["value"] == pytest.approx(right.mean())
    assert own["replicates"] == pytest.approx(bootstrap_weights(24) @ right / 24)


def test_after_a_kill_only_what_is_missing_is_computed_and_it_is_the_same(done):
    found, store = done
    before = baselines_table(found, store)
    asked = evaluated(found, "same-shape-gold")
    for step in (asked, asked.inputs["model"]):
        shutil.rmtree(store.folder(step))
    again = Store(store.root)
    assert baselines_table(found, again)["baseline"].unique().tolist() == [
        "tfidf", "encoder", "same-shape-distilled",
    ]  # fmt: skip
    assert run(found, again) == [
        "train same-shape-gold fin-headlines s0", "evaluate same-shape-gold fin-headlines s0",
    ]  # fmt: skip
    after = baselines_table(found, again)
    same = [t[~t["metric"].isin(TIMES)].reset_index(drop=True) for t in (before, after)]
    pd.testing.assert_frame_equal(*same, rtol=1e-4, atol=1e-6)


def test_what_was_trained_is_written_without_pickle_and_told_by_its_place(done):
    found, store = done
    model = store.folder(evaluated(found, "tfidf", None).inputs["model"])
    assert {file.suffix for file in model.iterdir()} == {".safetensors", ".json"}
    untaught = evaluated(found, "same-shape-gold").inputs["model"].inputs["teacher"]
    own, like = store.folder(untaught), store.folder(untaught.inputs["like"])
    assert (own / "origin.json").read_text() == (like / "origin.json").read_text()
    weights = [load_model(folder).state_dict() for folder in (own, like)]
    assert {n: w.shape for n, w in weights[0].items()} == {
        n: w.shape for n, w in weights[1].items()
    }
    drawn = [name for name, weight in weights[0].items() if weight.ndim == 2]
    assert not any(torch.equal(weights[0][name], weights[1][name]) for name in drawn)
