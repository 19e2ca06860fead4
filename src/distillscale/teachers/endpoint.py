"""Annotation at scale: k votes on every example, from an endpoint or a local model.

Both write into a journal, so that a run that was killed goes on where it stood and asks nothing
twice.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distillscale.models.endpoint import (
    Answer,
    BudgetSpent,
    ChatRequest,
    Endpoint,
    Failure,
    Message,
    Outcome,
)
from distillscale.tasks import Example, Task, Trace
from distillscale.tasks.control_tokens import encode_around_text
from distillscale.tasks.prompt import (
    CHAT,
    PLAIN,
    Thinking,
    answer_format,
    chat_prompt,
    completion_text,
    encode_prompt,
    parse_completion,
    read_trace,
)
from distillscale.teachers.annotate import annotate
from distillscale.teachers.journal import Journal, Key
from distillscale.teachers.votes import Vote

_SLICE = 64
"""Requests asked together, and so held in memory, a place of the endpoint's concurrency."""


@dataclass(frozen=True)
class AskedText:
    """One text to annotate; `gold` is None where it is not known."""

    id: str
    text: str
    gold: str | None


@dataclass(frozen=True)
class Asking:
    """How the teacher is asked.

    Attributes:
        votes: answers to every text, each drawn anew (with a temperature of 0 they are all the
            same, so one is enough).
        max_new_tokens: the budget of reasoning and answer together.
        seed: vote j is drawn from `seed + j`, where the server draws reproducibly.
        top_log_probs: kept for each token of the answer where the server returns them; 0: none.
        reasoning_effort: passed on to hosted models that take it.
    """

    thinking: Thinking
    max_new_tokens: int
    votes: int = 1
    temperature: float = 0.0
    seed: int = 0
    top_log_probs: int = 0
    reasoning_effort: str | None = None


def annotate_by_endpoint(
    endpoint: Endpoint,
    task: Task,
    texts: Sequence[AskedText],
    asking: Asking,
    journal: Journal,
    *,
    unparsed: Callable[[Failure], None] = lambda _: None,
    progress: Callable[[float], None] = lambda _: None,
) -> BudgetSpent | None:
    """Ask an endpoint for the votes that the journal does not hold yet.

    Answers that name no class, and requests that the server refuses, become votes without a label;
    requests that it did not answer are left for the next run.

    Args:
        unparsed: told of each answer that names no class, for a file of dead letters.

    Returns:
        Why the budget stopped the run; None where it did not.

    Raises:
        EndpointFailed: the endpoint can answer none of the requests.
    """
    keys = missing_keys(texts, asking, journal)
    by_id = {item.id: item for item in texts}
    total = len(texts) * asking.votes
    done = total - sum(1 for _ in missing_keys(texts, asking, journal))

    def note(outcome: Outcome) -> None:
        nonlocal done
        done += 1
        progress(done / total)
        vote = read_vote(outcome, task, asking.thinking)
        if vote is None:
            journal.charge(outcome.usage)
            return
        journal.add(vote, outcome.usage)
        if vote.label is None and isinstance(outcome, Answer):
            sentence = "the answer names no class of the task"
            unparsed(Failure(outcome.request_id, "unparsed", sentence, outcome.usage, vote.text))

    while part := list(itertools.islice(keys, _SLICE * endpoint.settings.concurrency)):
        requests = (vote_request(by_id[name], number, task, asking) for name, number in part)
        try:
            batch = endpoint.complete(requests, note)
        finally:
            journal.sync()
        if batch.budget_spent is not None:
            return batch.budget_spent
    return None


def annotate_locally(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    texts: Sequence[AskedText],
    asking: Asking,
    journal: Journal,
    *,
    batch_size: int = 128,
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Let a local model write the votes that the journal does not hold yet.

    Texts are taken in the same groups whatever the journal holds, each drawn from its own seed, so
    that a resumed run ends with the same votes.
    """
    groups = range(0, len(texts), batch_size)
    turns = list(itertools.product(enumerate(groups), range(asking.votes)))
    for done, ((group, start), number) in enumerate(turns, start=1):
        members = texts[start : start + batch_size]
        if any((item.id, number) not in journal.labels for item in members):
            traces = annotate(
                model,
                tokenizer,
                task,
                [Example(i.id, i.text, i.gold or "", "", "train", "") for i in members],
                thinking=asking.thinking,
                max_new_tokens=asking.max_new_tokens,
                temperature=asking.temperature,
                seed=(asking.seed + number) * len(groups) + group,
                batch_size=batch_size,
            )
            for trace in traces:
                journal.add(local_vote(trace, number, task, asking.thinking, tokenizer))
            journal.sync()
        progress(done / len(turns))


def all_keys(texts: Sequence[AskedText], votes: int) -> Iterator[Key]:
    """The key of every vote that is wanted: text by text, in order."""
    return ((item.id, number) for item in texts for number in range(votes))


def vote_traces(
    votes: Iterator[Vote],
    texts: Sequence[AskedText],
    majorities: Sequence[str | None],
    task: Task,
    thinking: Thinking,
    tokenizer: PreTrainedTokenizerBase,
) -> Iterator[Trace]:
    """Write for each text a trace in the format of a student's tokenizer.

    It is made of the first vote for the majority's class, so there is none where there is no
    majority, nor, with thinking, where no such vote brought a reasoning. Gold that is not known is
    the majority.

    Args:
        votes: of the texts, in their order.
        majorities: one for each text.
    """
    wanted = {
        item.id: (item, label)
        for item, label in zip(texts, majorities, strict=True)
        if label is not None
    }
    style = answer_format(tokenizer)
    for vote in votes:
        item, majority = wanted.get(vote.example_id, (None, None))
        if item is None or majority is None or vote.label != majority:
            continue
        if thinking != "none" and not vote.reasoning:
            continue
        write = partial(completion_text, label=majority, thinking=thinking, style=style)
        said = vote.reasoning or ""
        # What a teacher quotes is text: an end token in it would end the trace.
        ids = encode_around_text(tokenizer, write, said, add_special_tokens=False)
        ids.append(tokenizer.eos_token_id)
        prompt = encode_prompt(task, item.text, thinking, tokenizer)
        trace = read_trace(item.id, item.gold or majority, prompt, ids, task, thinking, tokenizer)
        if trace.label == majority:  # not where the reasoning holds the marker of an answer
            del wanted[item.id]
            yield trace


def missing_keys(texts: Sequence[AskedText], asking: Asking, journal: Journal) -> Iterator[Key]:
    """The keys of the votes that are wanted and not there yet, in order."""
    return (key for key in all_keys(texts, asking.votes) if key not in journal.labels)


def vote_request(item: AskedText, number: int, task: Task, asking: Asking) -> ChatRequest:
    """The question whose answer is vote `number` on a text."""
    system, user = chat_prompt(task, item.text, asking.thinking)
    return ChatRequest(
        id=f"{item.id}#{number}",
        messages=(Message("system", system), Message("user", user)),
        max_tokens=asking.max_new_tokens,
        temperature=asking.temperature,
        seed=asking.seed + number,
        thinking=asking.thinking != "none",
        reasoning_effort=asking.reasoning_effort,
        top_log_probs=asking.top_log_probs,
    )


def read_vote(outcome: Outcome, task: Task, thinking: Thinking) -> Vote | None:
    """The vote that an outcome is; None where the request should be asked again."""
    name, _, number = outcome.request_id.rpartition("#")
    if isinstance(outcome, Failure):
        if outcome.reason == "unreachable":
            return None
        return Vote(name, int(number), None, outcome.text or "", None, failure=outcome.sentence)
    text, reasoning = _parted(outcome, thinking)
    return Vote(
        example_id=name,
        number=int(number),
        label=parse_completion(text, task, "none", CHAT)[0],
        text=text,
        reasoning=reasoning,
        finish_reason=outcome.finish_reason,
        prompt_tokens=outcome.usage.prompt_tokens or None,
        completion_tokens=outcome.usage.completion_tokens or None,
        **_log_probs(outcome),
    )


def _log_probs(answer: Answer) -> dict[str, Any]:
    """The fields of a vote that hold log-probabilities; none where the server returned none."""
    if answer.tokens is None:
        return {}
    return {
        "tokens": tuple(item.token for item in answer.tokens),
        "log_probs": tuple(item.log_prob for item in answer.tokens),
        "top_tokens": tuple(tuple(token for token, _ in item.top) for item in answer.tokens),
        "top_log_probs": tuple(tuple(value for _, value in item.top) for item in answer.tokens),
    }


def _parted(answer: Answer, thinking: Thinking) -> tuple[str, str | None]:
    """Answer and reasoning, also where a model without tags for it marks the answer in words."""
    if thinking == "none" or answer.reasoning is not None or PLAIN.marker not in answer.text:
        return answer.text, answer.reasoning
    reasoning, _, text = answer.text.partition(PLAIN.marker)
    return text.strip(), reasoning.strip()


def local_vote(
    trace: Trace,
    number: int,
    task: Task,
    thinking: Thinking,
    tokenizer: PreTrainedTokenizerBase,
) -> Vote:
    """The vote that a local model's trace is."""
    style = answer_format(tokenizer)
    _, start = parse_completion(trace.completion, task, thinking, style)
    reasoning = trace.completion[:start].removesuffix(style.marker)
    ended = bool(trace.completion_ids) and trace.completion_ids[-1] == tokenizer.eos_token_id
    return Vote(
        example_id=trace.example_id,
        number=number,
        label=trace.label,
        text=trace.completion[start:].strip(),
        reasoning=reasoning.removeprefix(style.opening).strip() or None,
        finish_reason="stop" if ended else "length",
        prompt_tokens=len(trace.prompt_ids),
        completion_tokens=len(trace.completion_ids),
    )
