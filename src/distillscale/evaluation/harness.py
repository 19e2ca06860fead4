"""lm-evaluation-harness itself: the reference for our own scorer, and the runner of hub benchmarks.

The lab's benchmarks are local tasks (`harness_tasks/*.yaml`); from a shell, in a folder that holds
`lab_facts.jsonl`: `lm_eval --model hf --model_args pretrained=DIR --include_path HARNESS_TASKS
--tasks lab_facts`. MMLU and MMLU-Pro are the harness's own tasks and download their questions.
MMLU-Pro is answered in free text; an answer that the harness cannot parse counts as wrong here (the
benchmark's official scorer guesses at random instead).

The harness needs the extra `harness`. Its request cache is a pickle and outlives a change of
weights, so it stays off; code from hub repositories is never run, and only safetensors are read.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from distillscale.errors import InputError
from distillscale.evaluation.knowledge import accuracy_by_benchmark, general
from distillscale.evaluation.measurement import Measurement
from distillscale.evaluation.metrics import REPLICATES, measure_mean
from distillscale.models.checkpoint import load_model, load_tokenizer
from distillscale.tasks.question import Question

TASK_FOLDER = Path(__file__).parent / "harness_tasks"


@dataclass(frozen=True)
class HubBenchmark:
    """A task of the harness that downloads its questions.

    `correct` and `choices` are where the harness's log says whether an answer was right and what
    the choices were. `shots` is the number of solved questions in the prompt: five, as both
    benchmarks are customarily reported (assumption: the paper does so too).
    """

    correct: str
    choices: str
    shots: int = 5


HUB_BENCHMARKS = {
    "mmlu": HubBenchmark(correct="acc", choices="choices"),
    "mmlu_pro": HubBenchmark(correct="exact_match", choices="options"),
}


@dataclass(frozen=True)
class HarnessAnswer:
    """What the harness found for one question; log-likelihoods in the order of the choices."""

    correct: bool
    log_likelihoods: tuple[float, ...]


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
    model = _harness_model(source, batch_size)
    for benchmark in dict.fromkeys(question.benchmark for question in questions):
        rows = [row for row, question in enumerate(questions) if question.benchmark == benchmark]
        samples = _run_local(model, benchmark, [questions[row] for row in rows])
        for row, sample in zip(rows, samples, strict=True):
            scores = tuple(float(response[0]) for response in sample["filtered_resps"])
            answers[row] = HarnessAnswer(bool(sample["acc"]), scores)
    return [answers[row] for row in range(len(questions))]


def harness_benchmarks(
    source: str | Path,
    names: Sequence[str] = tuple(HUB_BENCHMARKS),
    *,
    limit: int | None = None,
    batch_size: int = 8,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> list[Measurement]:
    """Accuracy of hub benchmarks over all their subjects' questions, and `general`, their mean.

    Args:
        limit: questions of each subject, from its beginning; None for all.

    Raises:
        InputError: the harness is not installed, a name is not in `HUB_BENCHMARKS`, or `source` is
            no checkpoint.
    """
    for name in names:
        if name not in HUB_BENCHMARKS:
            known = ", ".join(HUB_BENCHMARKS)
            raise InputError(f"unknown benchmark `{name}`; known hub benchmarks are {known}.")
    model = _harness_model(source, batch_size)
    manager = _lm_eval("lm_eval.tasks").TaskManager()
    measured = []
    for name in names:
        log = HUB_BENCHMARKS[name]
        samples = _evaluate(model, name, manager, num_fewshot=log.shots, limit=limit)
        measured.append(
            measure_mean(
                name,
                np.array([sample[log.correct] == 1 for sample in samples], dtype=bool),
                chance=float(np.mean([1 / len(sample["doc"][log.choices]) for sample in samples])),
                replicates=replicates,
                seed=seed,
            )
        )
    return [*measured, general(measured)]


def write_questions(questions: Sequence[Question], path: Path) -> None:
    """Write questions as the JSON Lines file that the local tasks read."""
    fields = ("id", "prompt", "choices", "answer")
    lines = [json.dumps({name: getattr(item, name) for name in fields}) for item in questions]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _run_local(model: Any, benchmark: str, questions: Sequence[Question]) -> list[dict[str, Any]]:
    """The harness's log of one local task; its data and their cache live in a temporary folder."""
    file = TASK_FOLDER / f"{benchmark}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in TASK_FOLDER.glob("*.yaml")))
        raise InputError(f"benchmark `{benchmark}` has no harness task; tasks exist for {known}.")
    config = _lm_eval("lm_eval.tasks._yaml_loader").load_yaml(file)
    manager = _lm_eval("lm_eval.tasks").TaskManager(include_defaults=False)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / f"{benchmark}.jsonl"
        write_questions(questions, data)
        config["dataset_kwargs"] = {"data_files": {"test": str(data)}, "cache_dir": folder}
        return _evaluate(model, config, manager)


def _evaluate(
    model: Any, task: str | dict[str, Any], manager: Any, **options: int | None
) -> list[dict[str, Any]]:
    """Run one task or group; the log of its questions, by task and then in the order of its data.

    The harness would seed the global random generators; it is told not to.
    """
    result = _lm_eval("lm_eval.evaluator").simple_evaluate(
        model=model,
        tasks=[task],
        task_manager=manager,
        bootstrap_iters=0,
        use_cache=None,
        cache_requests=False,
        log_samples=True,
        random_seed=None,
        numpy_random_seed=None,
        torch_random_seed=None,
        **options,
    )
    logs = [result["samples"][name] for name in sorted(result["samples"])]
    return [sample for log in logs for sample in sorted(log, key=lambda item: item["doc_id"])]


def _harness_model(source: str | Path, batch_size: int) -> Any:
    wrapper = _lm_eval("lm_eval.models.huggingface").HFLM
    model, tokenizer = load_model(source), load_tokenizer(source)
    return wrapper(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)


def _lm_eval(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            "lm-evaluation-harness is not installed; `pip install 'distillscale[harness]'` "
            "installs it."
        ) from error
