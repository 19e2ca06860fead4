"""A study whose teacher is served by a chat endpoint: a real one, with the lab's teacher."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import PASS, Fault, fault_proxy
from lab_server import LabServer

from distillscale.errors import InputError
from distillscale.lab.examples import lab_examples
from distillscale.lab.teacher import shipped_teacher
from distillscale.lab.world import make_world
from distillscale.models.endpoint import EndpointSettings
from distillscale.studies.graph import study_graph
from distillscale.studies.sources import Sources
from distillscale.studies.steps import run_step
from distillscale.studies.study_file import Study
from distillscale.tasks import Trace, load_task
from distillscale.tasks.records import read_records, write_records

TASK = load_task("fin-headlines")
COUNT = 12
PARAMS = {
    "split": "train", "examples": COUNT, "thinking": "full", "max_new_tokens": 80,
    "temperature": 0.0, "seed": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    (folder / "task.json").write_text(json.dumps(asdict(TASK)))
    examples = lab_examples(
        "fin-headlines", make_world(), train=COUNT, validation=0, test=0, seed=3
    )
    write_records(examples, folder / "train.parquet")
    return folder


def run_traces(
    dataset: Path, output: Path, params: dict[str, Any], endpoint: EndpointSettings | None,
    progress: Any = lambda _: None,
) -> list[Trace]:  # fmt: skip
    output.mkdir(exist_ok=True)
    inputs = {"teacher": shipped_teacher(), "dataset": dataset}
    run_step("traces", params, inputs, output, progress, sources=Sources({}, endpoint))
    return read_records(output / "traces.parquet", Trace)


def test_a_killed_run_goes_on_and_ends_with_the_local_teachers_traces(
    lab_server: LabServer, dataset: Path, tmp_path: Path
) -> None:
    asked = []

    def script(body: dict[str, Any], attempt: int) -> Fault:
        asked.append(body["messages"][-1]["content"])
        return PASS

    def killed(share: float) -> None:
        if share >= 0.5:
            raise KeyboardInterrupt

    params = PARAMS | {"served_model": lab_server.model}
    with fault_proxy(lab_server.port, script) as proxy:
        endpoint = EndpointSettings(proxy.url, lab_server.model, concurrency=1)
        with pytest.raises(KeyboardInterrupt):
            run_traces(dataset, tmp_path / "served", params, endpoint, killed)
        before = len(asked)
        served = run_traces(dataset, tmp_path / "served", params, endpoint)
    assert 0 < before < COUNT
    assert len(set(asked)) == COUNT
    assert len(asked) <= COUNT + 1  # the one under way at the kill is asked again
    local_params = PARAMS | {"batch_size": 4, "dtype": "float32"}
    local = run_traces(dataset, tmp_path / "local", local_params, None)
    assert [trace.example_id for trace in served] == [trace.example_id for trace in local]
    # Batched and single generation may part where two tokens are nearly as likely.
    same = sum(a.token_ids == b.token_ids for a, b in zip(served, local, strict=True))
    assert same >= COUNT - 2
    assert all(trace.parsed for trace in served)


def test_a_served_teacher_without_an_endpoint_is_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--endpoint URL"):
        run_traces(dataset, tmp_path / "none", PARAMS | {"served_model": "m"}, None)


def test_who_serves_the_teacher_is_part_of_the_traces_identity_and_where_is_not() -> None:
    def traces_key(**annotation: Any) -> str:
        content = {
            "name": "s",
            "dataset": {"validation": 8, "test": 8},
            "annotation": annotation,
            "distillation": {
                "steps": 1, "batch_size": 2, "learning_rate": {"logit": 0.1, "lora": 0.1},
            },
            "grids": [{
                "tasks": ["fin-headlines"], "configurations": ["logit-label"],
                "schedules": [{"kind": "oneshot", "prune_ratio": 0.5}], "dataset_sizes": [8],
            }],
        }  # fmt: skip
        graph = study_graph(Study.model_validate(content))
        return graph.traces["fin-headlines", "none"].key

    assert traces_key(served_model="a") == traces_key(served_model="a", batch_size=3)
    assert len({traces_key(), traces_key(served_model="a"), traces_key(served_model="b")}) == 3
