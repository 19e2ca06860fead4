"""`evaluate`: every in-domain measure of a model on a labelled file; tests against another."""

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from distillscale.commands.evaluation_files import write_evaluation
from distillscale.commands.evaluation_summary import summary
from distillscale.commands.judged import Judged, Subject, compare
from distillscale.commands.output import check_new_folder
from distillscale.data.labelled_file import read_labelled_file
from distillscale.errors import InputError
from distillscale.evaluation import measure_cost, task_inputs
from distillscale.evaluation.assessment import assess
from distillscale.evaluation.in_domain import decide, label_indices, measure_decisions
from distillscale.evaluation.latency import BATCH_SIZE
from distillscale.laws.cost import check_price
from distillscale.models.checkpoint import load_config, load_model, load_tokenizer
from distillscale.serving.deployment import Deployment, has_deployment, read_deployment
from distillscale.studies.sources import local_teacher
from distillscale.tasks import Task, load_task
from distillscale.tasks.prompt import Thinking

_REPLICATES = 1000
_THINKING: Thinking = "none"
_MAX_NEW_TOKENS = 256
"""Of a model that was not deployed for anything else."""


@dataclass(frozen=True)
class EvaluateRequest:
    """What a user asks `evaluate` for; see the command's help for each field."""

    model: str
    task: str | None
    data: Path
    text_column: str
    label_column: str
    thinking: str | None
    max_new_tokens: int | None
    compare: str | None
    batch_size: int
    hourly_price: float | None


def evaluate(request: EvaluateRequest, out: Path | None) -> None:
    """Print the measures of a model, and write them where asked.

    Raises:
        InputError: an argument, a model, the task or the file is wrong, or `out` holds something.
    """
    if out is not None:
        check_new_folder(out, "--out")
    if request.hourly_price is not None:
        check_price(request.hourly_price)
    task = _task(request)
    pairs = read_labelled_file(request.data, request.text_column, request.label_column)
    _check_labels(request, task, pairs)
    names = [request.model, *([request.compare] if request.compare else [])]
    for name in names:
        load_config(_source(name))  # before the first is measured, all must be there
    settings = [_settings(name, request) for name in names]
    judged = [
        _judge(name, task, pairs, thinking, budget, request.batch_size)
        for name, (thinking, budget) in zip(names, settings, strict=True)
    ]
    subject = Subject(
        task=task.name,
        data=request.data.name,
        sha256=hashlib.sha256(request.data.read_bytes()).hexdigest(),
        examples=len(pairs),
        classes=len(task.labels),
        categories=task.categories,
    )
    comparison = compare(*judged) if len(judged) == 2 else None
    price = request.hourly_price
    print(summary(subject, judged, comparison, price))
    if out is not None:
        command = _command(request)
        write_evaluation(subject, judged, comparison, pairs, command, price, out.absolute())
        print(f"written: {out}")


def _task(request: EvaluateRequest) -> Task:
    """The task that was named, or else the one that the model's folder was deployed for."""
    if request.task is not None:
        return load_task(request.task)
    deployment = _deployment(request.model)
    if deployment is None:
        raise InputError(
            f"--task is missing and `{request.model}` is not a folder that `compress` wrote; name "
            "a built-in task or a task's YAML file."
        )
    return deployment.task


def _deployment(model: str) -> Deployment | None:
    return read_deployment(Path(model)) if has_deployment(Path(model)) else None


def _settings(model: str, request: EvaluateRequest) -> tuple[Thinking, int]:
    """Thinking and token budget: each as asked for, else as the folder was deployed with."""
    known = get_args(Thinking)
    if request.thinking is not None and request.thinking not in known:
        raise InputError(f"--thinking {request.thinking}: it is not one of {', '.join(known)}.")
    thinking, budget = _THINKING, _MAX_NEW_TOKENS
    if (deployment := _deployment(model)) is not None:
        thinking, budget = deployment.thinking, deployment.max_new_tokens
    if request.thinking is not None:
        thinking = cast(Thinking, request.thinking)
    return thinking, budget if request.max_new_tokens is None else request.max_new_tokens


def _check_labels(request: EvaluateRequest, task: Task, pairs: list[tuple[str, str]]) -> None:
    for number, (_, label) in enumerate(pairs, start=1):
        try:
            task.category_of(label)
        except InputError as error:
            place = f"{request.data}: row {number}: `{request.label_column}`"
            raise InputError(f"{place} of {error}") from error


def _judge(
    name: str,
    task: Task,
    pairs: list[tuple[str, str]],
    thinking: Thinking,
    budget: int,
    batch_size: int,
) -> Judged:
    """Load a model, let it decide, and measure.

    Raises:
        InputError: it cannot be loaded, or its scores are no numbers.
    """
    source = _source(name)
    with Console(stderr=True).status(f"{name}: {len(pairs):,} texts"):
        model, tokenizer = load_model(source), load_tokenizer(source)
        texts = [text for text, _ in pairs]
        inputs = task_inputs(task, texts, tokenizer, thinking=thinking, max_new_tokens=budget)
        scores, completions = decide(
            model,
            tokenizer,
            inputs.prompts,
            inputs.label_ids,
            reasoning=inputs.reasoning,
            batch_size=batch_size,
        )
        _check_finite(scores, name)
        labels = [label for _, label in pairs]
        result = measure_decisions(
            scores, completions, labels, inputs.labels, replicates=_REPLICATES
        )
        alone = texts[:BATCH_SIZE] if inputs.reasoning else []
        cost = measure_cost(
            model,
            tokenizer,
            inputs,
            result.predictions,
            label_only_prompts=task_inputs(
                task, alone, tokenizer, thinking="none", max_new_tokens=budget
            ).prompts,
            folder=source if isinstance(source, Path) else None,
        )
    gold = label_indices(labels, inputs.labels)
    assessment = assess(
        result.scores,
        gold,
        inputs.labels,
        [len(ids) for ids in inputs.label_ids],
        replicates=_REPLICATES,
    )
    costs = {item.metric: item for item in cost}
    return Judged(name, thinking, inputs, result, gold, assessment, costs)


def _check_finite(scores: NDArray[np.float64], model: str) -> None:
    """A study measures such a model all the same; who asks for one wants to know."""
    wrong = int((~np.isfinite(scores)).any(axis=1).sum())
    if wrong:
        raise InputError(
            f"{model}: its scores are NaN or infinite for {wrong:,} of {len(scores):,} texts, as "
            "those of a model whose training diverged; name one with finite weights."
        )


def _source(model: str) -> str | Path:
    """The model's folder, or its name on the hub."""
    return local_teacher(model) or model


def _command(request: EvaluateRequest) -> str:
    """The command that asks for the same again."""
    words = ["distillscale", "evaluate", request.model]
    for option, value in (
        ("--task", request.task),
        ("--data", request.data),
        ("--text-column", request.text_column),
        ("--label-column", request.label_column),
        ("--thinking", request.thinking),
        ("--max-new-tokens", request.max_new_tokens),
        ("--compare", request.compare),
        ("--batch-size", request.batch_size),
        ("--hourly-price", request.hourly_price),
    ):
        words += [] if value is None else [option, str(value)]
    return shlex.join(words)
