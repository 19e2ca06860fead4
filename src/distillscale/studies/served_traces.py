"""Traces of a teacher that a chat endpoint serves."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from distillscale.errors import EndpointFailed, InputError
from distillscale.models.endpoint import Endpoint, EndpointSettings
from distillscale.studies.step_run import StepRun
from distillscale.studies.store import WORK_FOLDER
from distillscale.tasks import Example, Task, Trace
from distillscale.tasks.prompt import encode_prompt, read_trace
from distillscale.teachers.endpoint import (
    AskedText,
    Asking,
    all_keys,
    annotate_by_endpoint,
    vote_traces,
)
from distillscale.teachers.journal import Journal, texts_identity


def served_traces(
    run: StepRun,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    max_new_tokens: int,
) -> list[Trace]:
    """One trace an example, in the format of the teacher's tokenizer.

    Answers are kept in the step's work folder as they come, so that a run that was killed asks for
    the missing ones only. An answer that names no class, or lacks the reasoning that was asked
    for, becomes a trace that could not be parsed.

    Raises:
        InputError: the study was started without the address of its endpoint.
        EndpointFailed: requests were left without an answer; those that came are kept.
    """
    asking = Asking(
        run.params["thinking"],
        max_new_tokens,
        temperature=run.params["temperature"],
        seed=run.params["seed"],
    )
    texts = [AskedText(example.id, example.text, example.label) for example in examples]
    settings = _settings(run)
    work = run.output / WORK_FOLDER
    work.mkdir(exist_ok=True)
    identity: dict[str, Any] = {
        "params": dict(run.params),
        "texts": texts_identity((e.id, e.text) for e in examples),
    }
    with Journal(work / "journal.jsonl", identity) as journal:
        endpoint = Endpoint(settings, dead_letters=work / "dead_letters.jsonl")
        annotate_by_endpoint(endpoint, task, texts, asking, journal, progress=run.progress)
        labels = [journal.labels.get((item.id, 0)) for item in texts]
        missing = sum((item.id, 0) not in journal.labels for item in texts)
        if missing:
            raise EndpointFailed(
                f"{settings.address}: {missing} of {len(texts)} requests got no answer; the same "
                "command asks for these again."
            )
        votes = journal.votes(all_keys(texts, 1))
        made = vote_traces(votes, texts, labels, task, asking.thinking, tokenizer)
        written = {trace.example_id: trace for trace in made}
    return [
        written.get(example.id) or _unparsed(example, task, asking, tokenizer)
        for example in examples
    ]


def _settings(run: StepRun) -> EndpointSettings:
    settings = run.sources.endpoint
    if settings is None:
        raise InputError(
            f"annotation.served_model is `{run.params['served_model']}`, but no endpoint is given; "
            "name the one that serves it with --endpoint URL."
        )
    return settings


def _unparsed(
    example: Example, task: Task, asking: Asking, tokenizer: PreTrainedTokenizerBase
) -> Trace:
    """A place in the order of the examples, from which nothing is learned."""
    prompt = encode_prompt(task, example.text, asking.thinking, tokenizer)
    end = [tokenizer.eos_token_id]
    return read_trace(example.id, example.label, prompt, end, task, asking.thinking, tokenizer)
