"""What a model reads and may answer at its task: prompts, labels and how its reasoning is read."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from distillscale.evaluation.in_domain import Reasoning
from distillscale.tasks import Task
from distillscale.tasks.prompt import (
    Thinking,
    answer_format,
    encode_labels,
    encode_marker,
    encode_prompt,
    parse_completion,
)


@dataclass(frozen=True)
class TaskInputs:
    """The arguments of `decide` and `evaluate_in_domain` for texts of a task.

    Attributes:
        prompts: token ids, one sequence a text.
        labels: the closed set.
        label_ids: token ids of each label as an answer, end-of-sequence token included.
        reasoning: how the model reasons before it answers; None where it does not.
    """

    prompts: tuple[tuple[int, ...], ...]
    labels: tuple[str, ...]
    label_ids: tuple[tuple[int, ...], ...]
    reasoning: Reasoning | None


def task_inputs(
    task: Task,
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    thinking: Thinking,
    max_new_tokens: int,
) -> TaskInputs:
    """Encode texts and labels of a task as the tokenizer's model reads and writes them.

    Args:
        max_new_tokens: the budget for reasoning, marker and answer together, where it thinks.
    """
    style = answer_format(tokenizer)
    reasoning = Reasoning(
        max_new_tokens=max_new_tokens,
        marker_ids=encode_marker(tokenizer),
        parse=lambda text: parse_completion(text, task, thinking, style),
    )
    return TaskInputs(
        prompts=tuple(tuple(encode_prompt(task, text, thinking, tokenizer)) for text in texts),
        labels=task.labels,
        label_ids=tuple(tuple(ids) for ids in encode_labels(task, tokenizer)),
        reasoning=None if thinking == "none" else reasoning,
    )
