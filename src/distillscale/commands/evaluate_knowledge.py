"""`knowledge` and `import-questions`: benchmarks of lm-evaluation-harness on one model."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from distillscale.commands.output import check_new_folder, check_writable
from distillscale.errors import InputError
from distillscale.evaluation import (
    BenchmarkSettings,
    harness_benchmarks,
    hf_backend,
    vllm_backend,
)
from distillscale.evaluation.harness_backend import Backend
from distillscale.evaluation.harness_catalogue import check_benchmark_names
from distillscale.evaluation.harness_import import import_questions as write_local_task
from distillscale.evaluation.harness_run import BenchmarkScore
from distillscale.models.checkpoint import load_model, load_tokenizer
from distillscale.studies.sources import local_teacher


@dataclass(frozen=True)
class KnowledgeRequest:
    """What to ask of which model; `model` is `lab`, a checkpoint folder, or a hub name."""

    model: str
    benchmark: str
    questions: Path | None = None
    shots: int | None = None
    limit: int | None = None
    max_new_tokens: int | None = None
    draw_seed: int = 0
    backend: str = "hf"
    batch_size: int = 8


def evaluate_knowledge(request: KnowledgeRequest, out: Path | None) -> None:
    """Ask a benchmark, print the score with its errors, and write everything as JSON.

    Raises:
        InputError: the model, the benchmark, its questions or a setting is wrong.
    """
    if request.backend not in get_args(Backend):
        known = ", ".join(get_args(Backend))
        raise InputError(f"--backend `{request.backend}` is unknown; it is one of {known}.")
    if out is not None:
        if out.is_dir():
            raise InputError(f"--out {out}: it is a folder; name a JSON file.")
        check_writable(out.absolute().parent, "--out")
    check_benchmark_names([request.benchmark])
    name = request.benchmark
    settings = BenchmarkSettings(
        questions={} if request.questions is None else {name: request.questions},
        shots={} if request.shots is None else {name: request.shots},
        limit=request.limit,
        max_new_tokens=request.max_new_tokens,
        draw_seed=request.draw_seed,
    )
    [score] = harness_benchmarks(_backend(request), [name], settings, progress=True)
    print("\n".join(_lines(score)))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"model": request.model} | score.as_json(), indent=1) + "\n")


def import_questions(
    benchmark: str, questions: Path, out: Path, validation: Path | None = None
) -> None:
    """Make question files a local task of the harness.

    Raises:
        InputError: a file is wrong, or `out` is not empty.
    """
    check_new_folder(out, "--out")
    tests = write_local_task(benchmark, questions, out, validation)
    print(
        f"{tests:,} questions; ask them with\n"
        f"  lm_eval --include_path {out} --tasks {benchmark}_local --model hf "
        "--model_args pretrained=FOLDER\n"
        f"  distillscale knowledge FOLDER --benchmark {benchmark} --questions {out}"
    )


def _backend(request: KnowledgeRequest) -> Any:
    source = local_teacher(request.model) or request.model
    if request.backend == "vllm":
        return vllm_backend(source)
    return hf_backend(load_model(source), load_tokenizer(source), batch_size=request.batch_size)


def _lines(score: BenchmarkScore) -> Iterator[str]:
    chance = "no chance level" if score.chance is None else f"chance {score.chance:.3f}"
    yield (
        f"{score.benchmark} ({score.metric}, {score.shots} shots): {score.accuracy:.3f}, "
        f"standard error {score.standard_error:.3f}, {chance}"
    )
    if score.asked < score.questions:
        yield (
            f"asked {score.asked:,} of {score.questions:,} questions, drawn by subject; against "
            f"asking all of them the sampling error is {score.limit_error:.3f}"
        )
    if score.unparsed:
        yield f"{score.unparsed:,} answers could not be parsed and count as wrong"
    if score.truncated:
        yield f"{score.truncated:,} prompts lost their beginning to fit the model's context"
    bias = score.positions
    if bias is None:
        return
    yield "position: share of answers, share of right choices, accuracy where it is right"
    for position in bias.positions:
        accuracy = "-" if position.accuracy is None else f"{position.accuracy:.3f}"
        yield f"  {position.letter}: {position.answered:.3f}  {position.gold:.3f}  {accuracy}"
    if bias.largest_deviation is not None:
        yield (
            f"largest deviation {bias.largest_deviation:.3f}; Stuart-Maxwell "
            f"{bias.statistic:.1f}, p = {bias.p_value:.2g}"
        )
