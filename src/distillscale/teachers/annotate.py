"""A local teacher writes a trace for every example."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distillscale.models.generate import generate
from distillscale.tasks import Example, Task, Trace
from distillscale.tasks.prompt import (
    Thinking,
    answer_format,
    encode_labels,
    encode_prompt,
    parse_completion,
    read_trace,
)

TraceFilter = Literal["agree", "all", "gold"]
"""Distill from the traces that agree with gold, from all parsed ones, or from all parsed ones with
the gold answer in place of a wrong one (see `with_gold_answer`)."""


@dataclass(frozen=True)
class AnnotationReport:
    """How an annotation went, in numbers of examples and mean tokens a trace.

    `agreed` counts the answers that are the gold label; unparsed traces are neither agreement nor
    disagreement, so `agreement` and the mean token counts are taken over the parsed ones (missing
    where none was parsed).
    """

    examples: int
    parsed: int
    agreed: int
    reasoning_tokens: float | None
    answer_tokens: float | None

    @property
    def unparsed(self) -> int:
        """Traces from which no answer could be read."""
        return self.examples - self.parsed

    @property
    def agreement(self) -> float | None:
        """Share of the parsed traces whose answer is the gold label."""
        return self.agreed / self.parsed if self.parsed else None


def annotate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    examples: Sequence[Example],
    *,
    thinking: Thinking,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    batch_size: int = 128,
    progress: Callable[[float], None] = lambda _: None,
) -> list[Trace]:
    """Let the teacher write a trace for each example, at one depth of thinking.

    Args:
        max_new_tokens: the token budget of reasoning and answer together.
        temperature: 0 writes the most likely tokens; above 0 samples, reproducibly from `seed`.

    Returns:
        A trace for each example in the order given; those that could not be parsed are among them.
    """
    prompts = [encode_prompt(task, example.text, thinking, tokenizer) for example in examples]
    completions = generate(
        model,
        tokenizer,
        prompts,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        batch_size=batch_size,
        progress=progress,
    )
    return [
        read_trace(example.id, example.label, prompt, completion, task, thinking, tokenizer)
        for example, prompt, completion in zip(examples, prompts, completions, strict=True)
    ]


def with_gold_answer(
    trace: Trace, task: Task, thinking: Thinking, tokenizer: PreTrainedTokenizerBase
) -> Trace:
    """The trace with its answer replaced by the gold one where the two disagree.

    The reasoning stays word for word, though it led to another answer. A trace that agrees, or
    from which no answer could be read, is returned as it is.
    """
    if trace.agrees or not trace.parsed:
        return trace
    reasoning = trace.completion_ids[: trace.answer_start]
    _, start = parse_completion(trace.completion, task, thinking, answer_format(tokenizer))
    text = trace.completion[:start]
    if tokenizer.decode(reasoning, skip_special_tokens=True) != text:
        # A token holds the end of the marker and the beginning of the answer: part them anew.
        reasoning = tuple(tokenizer.encode(text, add_special_tokens=False))
    gold = encode_labels(task, tokenizer)[task.labels.index(trace.gold)]
    return read_trace(
        trace.example_id,
        trace.gold,
        trace.prompt_ids,
        (*reasoning, *gold),
        task,
        thinking,
        tokenizer,
    )


def usable(traces: Sequence[Trace], trace_filter: TraceFilter) -> list[int]:
    """Rows of the traces to distill from: the parsed ones, or those that agree with gold."""
    if trace_filter == "agree":
        return [row for row, trace in enumerate(traces) if trace.agrees]
    return [row for row, trace in enumerate(traces) if trace.parsed]


def annotation_report(traces: Sequence[Trace]) -> AnnotationReport:
    """Count agreement and measure the segments' lengths."""
    parsed = [trace for trace in traces if trace.parsed]
    return AnnotationReport(
        examples=len(traces),
        parsed=len(parsed),
        agreed=sum(trace.agrees for trace in parsed),
        reasoning_tokens=_mean([trace.answer_start for trace in parsed]),
        answer_tokens=_mean([len(trace.completion_ids) - trace.answer_start for trace in parsed]),
    )


def _mean(counts: Sequence[int]) -> float | None:
    return sum(counts) / len(counts) if counts else None
