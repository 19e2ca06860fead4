"""`compress`: one chain on a user's own model and labelled file, to a deployable folder."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import pandas as pd
from pydantic import ValidationError
from rich.console import Console

from distillscale.commands.model_facts import METRICS, data_facts, model_facts, write_facts
from distillscale.commands.output import check_new_folder
from distillscale.commands.publication import TEST_FILE, card_of, write_test_texts
from distillscale.commands.study import run_missing
from distillscale.data.labelled_file import read_labelled_file
from distillscale.data.split import labelled_examples
from distillscale.errors import InputError
from distillscale.serving.deployment import Deployment, write_deployment
from distillscale.studies.graph import DEFAULT_SECONDS, StudyGraph, study_graph
from distillscale.studies.grid import Cell
from distillscale.studies.plan import make_plan
from distillscale.studies.reach import check_reach
from distillscale.studies.sources import local_teacher
from distillscale.studies.store import Store
from distillscale.studies.study_file import Configuration, Study
from distillscale.studies.tables import results_table
from distillscale.tasks import Example, Task, task_from_labels
from distillscale.tasks.prompt import Thinking
from distillscale.tasks.records import read_records

_LARGEST_TEST, _LARGEST_VALIDATION = 1000, 128
_FEWEST_TEXTS = 10
_REASONING_BUDGET = 256


@dataclass(frozen=True)
class CompressRequest:
    """What a user asks `compress` for; see the command's help for each field."""

    model: str
    data: Path
    text_column: str
    label_column: str
    keep: float
    stages: int
    supervision: str
    method: str
    steps: int
    batch_size: int
    learning_rate: float
    correction_steps: int
    test_data: Path | None
    seed: int


def compress(request: CompressRequest, out: Path, store_folder: Path, *, workers: int) -> None:
    """Prune and distill a model on a labelled file, and write a folder that can be deployed.

    Raises:
        InputError: an argument, the model or the file is wrong, or `out` holds something already.
    """
    check_new_folder(out, "--out")
    study, task = study_of_request(request)
    check_reach(study, local_teacher(request.model), f"--keep {request.keep:g}")
    graph = study_graph(study, {task.name: task})
    store = Store(store_folder)
    plan = make_plan(graph.targets, store, DEFAULT_SECONDS)
    failure = run_missing(plan, graph.sources, store, workers=workers, console=Console(stderr=True))
    if failure is not None:
        raise failure
    results = results_table(graph, store)
    _deploy(study, graph, store, task, results, out.absolute())
    _print_summary(results)
    print(f'deployed: {out}; try: distillscale classify {out} "some text"')
    print(f"{out / TEST_FILE} holds the test texts; `export` measures on them, `push` leaves them.")


def study_of_request(request: CompressRequest) -> tuple[Study, Task]:
    """The request as a study of one cell and its pruned-only control."""
    configuration = f"{request.method}-{request.supervision}"
    # LoRA trains by cross entropy here, which leaves `lora-blended` nothing to blend.
    known = [c for c in get_args(Configuration) if c not in ("pruned-only", "lora-blended")]
    if configuration not in known:
        raise InputError(
            f"--method {request.method} --supervision {request.supervision}: `{configuration}` is "
            f"not one of {', '.join(known)}."
        )
    if not 0 < request.keep < 1:
        raise InputError(f"--keep {request.keep:g}: it must lie between 0 and 1.")
    pairs = read_labelled_file(request.data, request.text_column, request.label_column)
    task = task_from_labels(request.data.stem, [label for _, label in pairs])
    unique = len(labelled_examples(pairs, task, source=str(request.data), split="train"))
    if unique < _FEWEST_TEXTS:
        raise InputError(
            f"--data {request.data}: {unique} different texts are too few to train and test on; "
            f"at least {_FEWEST_TEXTS} are needed."
        )
    content = _study_content(request, task.name, configuration, unique)
    try:
        return Study.model_validate(content), task
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{field} is {first['input']!r}: {first['msg']}.") from error


def _study_content(
    request: CompressRequest, task: str, configuration: str, unique: int
) -> dict[str, Any]:
    """The study file that the request stands for; `unique` texts are split into its parts."""
    test = min(_LARGEST_TEST, unique // 5)
    validation = min(_LARGEST_VALIDATION, unique // 10)
    train = unique - validation - (0 if request.test_data else test)
    schedule = {"kind": "oneshot", "prune_ratio": request.keep}
    if request.stages > 1:
        schedule = {"kind": "uniform", "stages": request.stages, "prune_ratio": request.keep}
    grid = {
        "tasks": [task],
        "configurations": [configuration, "pruned-only"],
        "thinking": ["full"],
        "schedules": [schedule],
        "dataset_sizes": [train],
        "seeds": [request.seed],
    }
    return {
        "name": "compress",
        "teacher": {"model": request.model, "correction_steps": request.correction_steps},
        "dataset": {
            "source": str(request.data),
            "test_source": str(request.test_data) if request.test_data else None,
            "text_column": request.text_column,
            "label_column": request.label_column,
            "train": train,
            "validation": validation,
            "test": 10**9 if request.test_data else test,
            "seed": request.seed,
        },
        "annotation": {"max_new_tokens": {"full": _REASONING_BUDGET}},
        "distillation": {
            "steps": request.steps,
            "batch_size": request.batch_size,
            "learning_rate": {"logit": request.learning_rate, "lora": request.learning_rate},
        },
        "evaluation": {"benchmarks": [], "held_out_traces": validation},
        "grids": [grid],
    }


def _deploy(
    study: Study,
    graph: StudyGraph,
    store: Store,
    task: Task,
    results: pd.DataFrame,
    out: Path,
) -> None:
    """Write the folder under a temporary name beside its place, then rename it."""
    cell = _distilled_cell(graph)
    thinking = cast(Thinking, cell.thinking)
    last = graph.stages[cell][-1].distill
    assert last is not None
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".compress-") as name:
        folder = Path(name) / "model"
        kept = shutil.ignore_patterns("log.json", "manifest.json", "work")
        shutil.copytree(store.folder(last), folder, ignore=kept)
        budget = study.annotation.max_new_tokens.full
        write_deployment(Deployment(task, thinking, budget), folder)
        dataset = store.folder(graph.datasets[task.name])
        examples = {
            split: read_records(dataset / f"{split}.parquet", Example)
            for split in ("train", "validation", "test")
        }
        data = data_facts(study.dataset.source, [one for own in examples.values() for one in own])
        write_facts(model_facts(study.teacher.model, cell, results, data), folder)
        write_test_texts(examples["test"], folder)
        (folder / "README.md").write_text(card_of(folder, name=out.name), encoding="utf-8")
        folder.replace(out)  # an empty folder is replaced too


def _distilled_cell(graph: StudyGraph) -> Cell:
    return next(cell for cell in graph.stages if cell.method != "none")


def _print_summary(results: pd.DataFrame) -> None:
    shown = results[results["metric"].isin(METRICS)]
    table = shown.pivot_table(
        index=["cell", "stage", "prune_ratio", "params"], columns="metric", values="value"
    )
    print(table.round(4).to_string())
