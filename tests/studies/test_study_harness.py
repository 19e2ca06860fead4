"""Benchmarks of the harness in a study: what is identity, and what is refused when it is read."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from distillscale.errors import InputError
from distillscale.studies.graph import StudyGraph, study_graph
from distillscale.studies.harness_recipe import benchmark_settings
from distillscale.studies.study_file import Study, read_study
from question_folders import write_mmlu

STUDY = {
    "name": "asked",
    "dataset": {"source": "lab", "validation": 8, "test": 16},
    "distillation": {
        "steps": 3, "batch_size": 8, "learning_rate": {"logit": 0.001, "lora": 0.003},
    },
    "grids": [
        {
            "tasks": ["fin-headlines"], "configurations": ["pruned-only"],
            "schedules": [{"kind": "oneshot", "prune_ratio": 0.5}], "dataset_sizes": [16],
        }
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def questions(tmp_path_factory) -> Path:
    return write_mmlu(tmp_path_factory.mktemp("mmlu"))


def graph_of(**evaluation: Any) -> StudyGraph:
    return study_graph(Study.model_validate(STUDY | {"evaluation": evaluation}))


def asked(folder: Path | str, **harness: Any) -> StudyGraph:
    return graph_of(benchmarks=["mmlu"], harness={"questions": {"mmlu": str(folder)}, **harness})


def test_question_folders_are_named_by_what_they_hold(questions, tmp_path):
    before = asked(questions)
    copy = shutil.copytree(questions, tmp_path / "elsewhere")
    (copy / "LICENSE").write_text("MIT")
    assert asked(copy).targets == before.targets
    file = copy / "test" / "virology_test.csv"
    file.write_text(file.read_text().replace("Which", "What"))
    changed = asked(copy)
    assert not set(changed.targets) & set(before.targets)
    file.rename(copy / "test" / "zoology_test.csv")
    assert not set(asked(copy).targets) & set(changed.targets)


def test_a_step_finds_its_questions_and_notices_a_change(questions, tmp_path):
    copy = shutil.copytree(questions, tmp_path / "copy")
    graph = asked(copy, limit=3, shots={"mmlu": 2})
    recipe = graph.targets[0].params["harness"]
    assert str(copy) not in json.dumps(graph.targets[0].identity)
    settings = benchmark_settings(recipe, graph.sources)
    assert (settings.questions, settings.shots) == ({"mmlu": copy}, {"mmlu": 2})
    assert (settings.limit, settings.draw_seed) == (3, 0)
    (copy / "dev" / "anatomy_dev.csv").write_text("why,a,b,c,d,A\n")
    with pytest.raises(InputError, match="it changed while the study ran"):
        benchmark_settings(recipe, graph.sources)


@pytest.mark.parametrize(
    "harness",
    [{"shots": {"mmlu": 0}}, {"limit": 2}, {"max_new_tokens": 99}, {"batch_size": 4},
     {"backend": "vllm"}],
)  # fmt: skip
def test_how_the_harness_is_asked_is_identity_where_it_is_asked(questions, harness):
    assert not set(asked(questions).targets) & set(asked(questions, **harness).targets)
    idle = {name: value for name, value in harness.items() if name != "shots"}
    assert graph_of(harness=idle).targets == graph_of().targets


def test_what_is_customary_need_not_be_written(questions):
    assert asked(questions, shots={"mmlu": 5}).targets == asked(questions).targets
    assert set(graph_of().targets[0].libraries) == {"torch", "transformers"}
    assert {"lm-eval", "datasets"} < set(asked(questions).targets[0].libraries)


def test_files_and_the_hub_are_different_questions(questions):
    from_hub = graph_of(benchmarks=["mmlu"])
    assert not set(from_hub.targets) & set(asked(questions).targets)


@pytest.mark.slow  # the harness reads the files of its 14 thousand tasks
def test_an_unknown_benchmark_is_refused_before_anything_runs():
    with pytest.raises(InputError, match=r"unknown benchmark `mmlu_prof`.* near it are .*mmlu_pro"):
        graph_of(benchmarks=["mmlu_prof"])


def test_a_folder_without_questions_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"harness\.questions\.mmlu .* is no folder with question"):
        asked(tmp_path)


def test_a_setting_without_its_benchmark_is_refused_with_its_line(tmp_path):
    study = STUDY | {"evaluation": {"harness": {"shots": {"arc_easy": 5}}}}
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps(study, indent=1))
    with pytest.raises(InputError, match="names `arc_easy`, which is not among the benchmarks"):
        read_study(path)
    path.write_text(json.dumps(STUDY | {"evaluation": {"harness": {"shots": {"mmlu": -1}}}}))
    with pytest.raises(InputError, match="shots"):
        read_study(path)
