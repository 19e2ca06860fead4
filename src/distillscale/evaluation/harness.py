"""lm-evaluation-harness itself: the reference for our own scorer, and the runner of benchmarks.

The lab's benchmarks are local tasks (`harness_tasks/*.yaml`); from a shell, in a folder that holds
`lab_facts.jsonl`: `lm_eval --model hf --model_args pretrained=DIR --include_path HARNESS_TASKS
--tasks lab_facts`. Every other benchmark is a task or group of the harness by its name
(`harness_catalogue.py`); MMLU and MMLU-Pro can be read from files.

The harness needs the extra `harness`. Its request cache is a pickle and outlives a change of
weights, so it stays off; code from hub repositories is never run, and only safetensors are read.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distillscale.errors import InputError
from distillscale.evaluation.harness_backend import hf_backend, lm_eval
from distillscale.evaluation.harness_catalogue import load_benchmark
from distillscale.evaluation.harness_run import BenchmarkScore, run_tasks, score_benchmark
from distillscale.evaluation.knowledge import accuracy_by_benchmark, general
from distillscale.evaluation.measurement import Measurement
from distillscale.evaluation.metrics import REPLICATES
from distillscale.models.checkpoint import load_model, load_tokenizer
from distillscale.tasks.question import Question

TASK_FOLDER = Path(__file__).parent / "harness_tasks"


@dataclass(frozen=True)
class HarnessAnswer:
    """What the harness found for one question; log-likelihoods in the order of the choices."""

    correct: bool
    log_likelihoods: tuple[float, ...]


@dataclass(frozen=True)
class BenchmarkSettings:
    """How benchmarks of the harness are asked.

    Attributes:
        questions: folders of question files, by benchmark; the others come from the hub.
        shots: solved questions in the prompt, by benchmark; the others as is customary.
        limit: questions of each subject, drawn at random; None asks all.
        max_new_tokens: largest length of a free-text answer; None is the benchmark's own.
        draw_seed: of the draw where there is a limit.
    """

    questions: Mapping[str, Path] = field(default_factory=dict)
    shots: Mapping[str, int] = field(default_factory=dict)
    limit: int | None = None
    max_new_tokens: int | None = None
    draw_seed: int = 0


def harness_benchmarks(
    backend: Any,
    names: Sequence[str],
    settings: BenchmarkSettings,
    *,
    replicates: int = REPLICATES,
    progress: bool = False,
) -> list[BenchmarkScore]:
    """Score benchmarks by the harness, in the order of their names.

    Args:
        backend: from `hf_backend` or `vllm_backend`.

    Raises:
        InputError: as `load_benchmark` and `score_benchmark`.
    """
    return [
        score_benchmark(
            backend,
            load_benchmark(
                name,
                questions=settings.questions.get(name),
                shots=settings.shots.get(name),
                max_new_tokens=settings.max_new_tokens,
            ),
            limit=settings.limit,
            draw_seed=settings.draw_seed,
            replicates=replicates,
            progress=progress,
        )
        for name in names
    ]


def benchmark_measurements(scores: Sequence[BenchmarkScore]) -> list[Measurement]:
    """The rows of the results table: each benchmark's accuracy, and `general`, their mean."""
    measured = [score.measurement for score in scores]
    return [*measured, general(measured)]


def harness_knowledge(
    source: str | Path,
    questions: Sequence[Question],
    *,
    batch_size: int = 32,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> list[Measurement]:
    """What `evaluate_knowledge` measures, by the harness; needs no network.

    Raises:
        InputError: as `harness_answers`.
    """
    answers = harness_answers(source, questions, batch_size=batch_size)
    correct = np.array([answer.correct for answer in answers], dtype=bool)
    return accuracy_by_benchmark(questions, correct, replicates=replicates, seed=seed)


def harness_answers(
    source: str | Path, questions: Sequence[Question], *, batch_size: int = 32
) -> list[HarnessAnswer]:
    """Answer questions by the local tasks of their benchmarks, in the order given.

    Args:
        source: folder or hub name of a checkpoint.

    Raises:
        InputError: the harness is not installed, a benchmark has no task file, or `source` is no
            checkpoint.
    """
    answers: dict[int, HarnessAnswer] = {}
    lm_eval("evaluator")
    backend = hf_backend(load_model(source), load_tokenizer(source), batch_size=batch_size)
    for benchmark in dict.fromkeys(question.benchmark for question in questions):
        rows = [row for row, question in enumerate(questions) if question.benchmark == benchmark]
        samples = _run_local(backend, benchmark, [questions[row] for row in rows])
        for row, sample in zip(rows, samples, strict=True):
            scores = tuple(float(response[0]) for response in sample["filtered_resps"])
            answers[row] = HarnessAnswer(bool(sample["acc"]), scores)
    return [answers[row] for row in range(len(questions))]


def write_questions(questions: Sequence[Question], path: Path) -> None:
    """Write questions as the JSON Lines file that the local tasks read."""
    fields = ("id", "prompt", "choices", "answer")
    lines = [json.dumps({name: getattr(item, name) for name in fields}) for item in questions]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _run_local(backend: Any, benchmark: str, questions: Sequence[Question]) -> list[dict[str, Any]]:
    """The harness's log of one local task; its data and their cache live in a temporary folder."""
    file = TASK_FOLDER / f"{benchmark}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in TASK_FOLDER.glob("*.yaml")))
        raise InputError(f"benchmark `{benchmark}` has no harness task; tasks exist for {known}.")
    config = lm_eval("tasks._yaml_loader").load_yaml(file)
    manager = lm_eval("tasks").TaskManager(include_defaults=False)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / f"{benchmark}.jsonl"
        write_questions(questions, data)
        config["dataset_kwargs"] = {"data_files": {"test": str(data)}, "cache_dir": folder}
        tasks = manager.load([config])["tasks"]
        for task in tasks.values():
            task.set_fewshot_seed(seed=0)
        return run_tasks(backend, tasks)[benchmark]
