"""`data annotate`: k votes of a teacher on every text of a file."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from rich.progress import Progress

from distillscale.commands.output import check_writable
from distillscale.data.labelled_file import read_labelled_file
from distillscale.data.text_column import read_text_column
from distillscale.errors import InputError
from distillscale.models.checkpoint import load_model, load_tokenizer
from distillscale.models.endpoint import Budget, BudgetSpent, Endpoint, EndpointSettings, Usage
from distillscale.models.endpoint.dead_letters import DeadLetters
from distillscale.studies.folder_lock import try_lock
from distillscale.studies.sources import local_teacher, teacher_source
from distillscale.tasks import Task, load_task
from distillscale.tasks.prompt import Thinking
from distillscale.tasks.records import write_records
from distillscale.teachers.annotation_tables import (
    AnnotationSummary,
    summarise,
    write_annotations,
    write_votes,
)
from distillscale.teachers.endpoint import (
    AskedText,
    Asking,
    all_keys,
    annotate_by_endpoint,
    annotate_locally,
    vote_traces,
)
from distillscale.teachers.journal import Journal, texts_identity
from distillscale.teachers.vllm_engine import annotate_by_vllm, open_vllm, require_vllm
from distillscale.teachers.votes import tally

_SUPERVISIONS = ("label", "cot", "blended")
_ENGINES = ("transformers", "vllm")
_SAMPLED = 1.0
"""The temperature of several votes: the model's own distribution."""


@dataclass(frozen=True)
class AnnotateRequest:
    """What a user asks `data annotate` for; see the command's help for each field."""

    file: Path
    task: str
    text_column: str
    label_column: str | None
    supervision: str
    thinking: str | None
    max_new_tokens: int
    model: str
    engine: str
    endpoint: str | None
    votes: int
    temperature: float | None
    seed: int
    top_log_probs: int
    reasoning_effort: str | None
    traces_for: str | None


def annotate_file(
    request: AnnotateRequest, settings: EndpointSettings | None, budget: Budget, out: Path
) -> None:
    """Annotate a file into a folder, or go on with what the folder holds already.

    A local model is loaded before anything is written, so that a wrong one leaves no folder.

    Args:
        settings: the endpoint; None asks the local model `request.model`.

    Raises:
        InputError: an option, the model or the file is wrong, or the folder holds another run.
        EndpointFailed: the endpoint can answer none of the requests.
    """
    asking = _asking(request)
    _check(request, settings, budget)
    task = load_task(request.task)
    texts = _texts(request, task)
    check_writable(out, "--out")
    ask_local_model = _local_model(request, task, texts, asking) if settings is None else None
    out.mkdir(parents=True, exist_ok=True)
    with _held(out), Journal(out / "journal.jsonl", _identity(request, task, texts)) as journal:
        spent, notes = None, {}
        with Progress() as bars:
            bar = bars.add_task("annotating", total=1.0)

            def progress(share: float) -> None:
                bars.update(bar, completed=share)

            if ask_local_model is not None:
                ask_local_model(journal, progress=progress)
            if settings is not None:
                letters = out / "dead_letters.jsonl"
                endpoint = Endpoint(settings, budget, spent=journal.spent, dead_letters=letters)
                spent = annotate_by_endpoint(
                    endpoint,
                    task,
                    texts,
                    asking,
                    journal,
                    unparsed=DeadLetters(letters).append,
                    progress=progress,
                )
                notes = endpoint.left_out
        summary = _write(request, task, texts, asking, journal, out)
        _write_report(request, summary, journal.spent, spent, notes, out / "report.json")
    _print(summary, spent, notes, journal.spent, out)


def _local_model(
    request: AnnotateRequest, task: Task, texts: list[AskedText], asking: Asking
) -> Callable[..., None]:
    """Load the model and its tokenizer; what is returned writes the votes into a journal.

    Raises:
        InputError: there is no such model, or it cannot be loaded.
    """
    source = local_teacher(request.model) or request.model
    tokenizer = load_tokenizer(source)
    if request.engine == "vllm":
        generate = open_vllm(source, asking, tokenizer.eos_token_id)
        return partial(annotate_by_vllm, generate, tokenizer, task, texts, asking)
    return partial(annotate_locally, load_model(source), tokenizer, task, texts, asking)


def _asking(request: AnnotateRequest) -> Asking:
    """The request's part that decides how the teacher is asked.

    Raises:
        InputError: supervision, thinking, votes and temperature do not fit together.
    """
    if request.supervision not in _SUPERVISIONS:
        raise InputError(
            f"--supervision {request.supervision}: it is not one of {', '.join(_SUPERVISIONS)}."
        )
    wanted = request.thinking or ("none" if request.supervision == "label" else "full")
    thinking: Thinking | None = next((t for t in get_args(Thinking) if t == wanted), None)
    if thinking is None:
        raise InputError(f"--thinking {wanted}: it is not one of {', '.join(get_args(Thinking))}.")
    if (request.supervision == "label") != (thinking == "none"):
        raise InputError(
            f"--supervision {request.supervision} --thinking {thinking}: `label` goes with `none`, "
            "and `cot` and `blended` go with `brief` or `full`."
        )
    temperature = request.temperature
    if temperature is None:
        temperature = 0.0 if request.votes == 1 else _SAMPLED
    if not 0 <= temperature < float("inf"):
        raise InputError(f"--temperature {temperature:g}: it must be at least 0.")
    if request.votes > 1 and temperature == 0:
        raise InputError(
            f"--votes {request.votes} --temperature 0: all votes would be the same; give a "
            "temperature above 0."
        )
    return Asking(
        thinking=thinking,
        max_new_tokens=request.max_new_tokens,
        votes=request.votes,
        temperature=temperature,
        seed=request.seed,
        top_log_probs=request.top_log_probs,
        reasoning_effort=request.reasoning_effort,
    )


def _check(request: AnnotateRequest, settings: EndpointSettings | None, budget: Budget) -> None:
    """Refuse what cannot be done, before anything is computed or asked."""
    if request.engine not in _ENGINES:
        raise InputError(f"--engine {request.engine}: it is not one of {', '.join(_ENGINES)}.")
    if request.engine == "vllm":
        if settings is not None:
            raise InputError("--engine vllm: it runs a local model; leave --endpoint out.")
        require_vllm()
    elif request.top_log_probs and settings is None:
        raise InputError(
            f"--top-log-probs {request.top_log_probs}: only an endpoint or vLLM takes it; give "
            "--endpoint URL or --engine vllm too."
        )
    if settings is not None:
        settings.api_key()
    else:
        given = {
            "--reasoning-effort": request.reasoning_effort is not None,
            "--token-budget": budget.tokens is not None,
            "--money-budget": budget.money is not None,
        }
        for option, there in given.items():
            if there:
                raise InputError(f"{option}: only an endpoint takes it; give --endpoint URL too.")
    if request.traces_for is not None:
        load_tokenizer(local_teacher(request.traces_for) or request.traces_for)


def _texts(request: AnnotateRequest, task: Task) -> list[AskedText]:
    file, column = request.file, request.text_column
    if request.label_column is None:
        lines = [(" ".join(text.split()), None) for text in read_text_column(file, column)]
    else:
        lines = list[Any](read_labelled_file(file, column, request.label_column))
    texts = []
    for row, (text, gold) in enumerate(lines, start=1):
        if gold is not None:
            try:
                task.category_of(gold)
            except InputError as error:
                raise InputError(f"{file}: row {row}: {error}") from error
        texts.append(AskedText(f"row-{row}", text, gold))
    if not texts:
        raise InputError(f"{file}: no rows; there must be at least one.")
    return texts


def _identity(request: AnnotateRequest, task: Task, texts: list[AskedText]) -> dict[str, Any]:
    """What decides about votes. Where the server stands, and how many votes, does not.

    A model that lies in a folder is named by its content, not by its place.
    """
    asking = asdict(_asking(request))
    del asking["votes"]
    content = json.dumps(asdict(task)).encode()
    return {
        "model": _model_identity(request),
        "engine": _engine(request),
        "task": task.name,
        "task_sha256": hashlib.sha256(content).hexdigest(),
        "texts": len(texts),
        "texts_sha256": texts_identity((item.id, item.text) for item in texts),
        **asking,
    }


def _model_identity(request: AnnotateRequest) -> str | dict[str, Any]:
    if request.endpoint is None and local_teacher(request.model) is not None:
        return teacher_source(request.model, None)[0]
    return request.model


def _engine(request: AnnotateRequest) -> str:
    if request.endpoint is not None:
        return "endpoint"
    return "local" if request.engine == "transformers" else request.engine


@contextmanager
def _held(out: Path) -> Iterator[None]:
    descriptor = try_lock(out)
    if descriptor is None:
        raise InputError(f"--out {out}: another process is annotating into it; name a new folder.")
    try:
        yield
    finally:
        os.close(descriptor)


def _write(
    request: AnnotateRequest,
    task: Task,
    texts: list[AskedText],
    asking: Asking,
    journal: Journal,
    out: Path,
) -> AnnotationSummary:
    """Write the tables anew from the journal."""
    tallies = [
        tally(
            [journal.labels[key] for key in all_keys([item], asking.votes) if key in journal.labels]
        )
        for item in texts
    ]
    write_annotations(texts, tallies, out / "annotations.parquet")
    write_votes(journal.votes(all_keys(texts, asking.votes)), out / "votes.parquet")
    if request.traces_for is not None:
        tokenizer = load_tokenizer(local_teacher(request.traces_for) or request.traces_for)
        traces = vote_traces(
            journal.votes(all_keys(texts, asking.votes)),
            texts,
            [item.majority for item in tallies],
            task,
            asking.thinking,
            tokenizer,
        )
        write_records(traces, out / "traces.parquet")
    return summarise(texts, tallies, asking.votes)


def _write_report(
    request: AnnotateRequest,
    summary: AnnotationSummary,
    usage: Usage,
    spent: BudgetSpent | None,
    left_out: dict[str, str],
    path: Path,
) -> None:
    content = {
        "request": {**asdict(request), "file": str(request.file)},
        "summary": {**asdict(summary), "complete": summary.complete},
        "usage": asdict(usage),
        "budget_spent": spent.sentence if spent else None,
        "fields_refused_by_the_server": left_out,
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _print(
    summary: AnnotationSummary,
    spent: BudgetSpent | None,
    left_out: dict[str, str],
    usage: Usage,
    out: Path,
) -> None:
    print(
        f"{summary.texts:,} texts: {summary.votes:,} of {summary.wanted:,} votes, "
        f"{summary.parsed:,} of them parsed; {summary.decided:,} texts have a majority"
    )
    shares = {
        "agreement of the votes": summary.agreement,
        "their entropy (nats)": summary.entropy,
        "agreement with gold": summary.gold_agreement,
    }
    print("; ".join(f"{name} {share:.3f}" for name, share in shares.items() if share is not None))
    if usage.requests:
        print(f"{usage.requests:,} requests took {usage.tokens:,} tokens")
    for field, sentence in left_out.items():
        print(f"the server takes no `{field}`, so it was left out: {sentence}")
    if spent is not None:
        print(f"stopped: {spent.sentence} A larger budget goes on from here.")
    elif not summary.complete:
        missing = summary.wanted - summary.votes
        print(f"{missing:,} votes are missing; the same command asks for them again.")
    print(f"written: {out}")
