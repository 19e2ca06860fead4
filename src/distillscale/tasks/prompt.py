"""What a model reads and writes: prompts, completions, and how an answer is read from them.

Two formats exist. A model whose tokenizer has a chat template gets its instruction and the text as
chat messages, and its reasoning stands between `<think>` tags. Any other model gets plain text:

    Headline: Novarix wins approval            <- the task's prompt
    Think:                                     <- the cue for the depth of reasoning
     Novarix is a pharma firm ...              <- reasoning segment
    Answer: drug_approval                      <- marker, then the answer segment
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from distillscale.tasks.control_tokens import Tokenizer, encode_around_text
from distillscale.tasks.task import Task
from distillscale.tasks.trace import Trace

Thinking = Literal["none", "brief", "full"]


@dataclass(frozen=True)
class AnswerFormat:
    """How reasoning and answer are written.

    `opening` precedes the reasoning, `marker` closes it, `separator` stands before the answer.
    """

    opening: str
    marker: str
    separator: str


PLAIN = AnswerFormat(opening="", marker="\nAnswer:", separator=" ")
CHAT = AnswerFormat(opening="<think>\n", marker="</think>\n\n", separator="")

_PLAIN_CUES: dict[Thinking, str] = {
    "none": "\nAnswer:",
    "brief": "\nThink briefly:",
    "full": "\nThink:",
}
_CHAT_DEPTH: dict[Thinking, str] = {
    "none": "",
    "brief": " Before the answer, think in one short sentence between <think> and </think>.",
    "full": " Before the answer, think step by step between <think> and </think>: state the facts "
    "that decide, then what the text is about.",
}


def answer_format(tokenizer: Tokenizer) -> AnswerFormat:
    """The format that a tokenizer's model reads: chat where it has a template, else plain."""
    return CHAT if tokenizer.chat_template else PLAIN


def encode_prompt(task: Task, text: str, thinking: Thinking, tokenizer: Tokenizer) -> list[int]:
    """Token ids of the prompt for one input, ending where the completion begins.

    Nothing that the text holds becomes a control token (see `control_tokens.py`).

    Raises:
        InputError: as `encode_around_text`.
    """
    if answer_format(tokenizer) is PLAIN:
        return encode_around_text(
            tokenizer,
            lambda words: plain_prompt(task, words, thinking),
            text,
            add_special_tokens=True,
        )

    def write(words: str) -> str:
        system, user = chat_prompt(task, words, thinking)
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        rendered: str = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False, enable_thinking=thinking != "none"
        )
        return rendered

    return encode_around_text(tokenizer, write, text, add_special_tokens=False)


def chat_prompt(task: Task, text: str, thinking: Thinking) -> tuple[str, str]:
    """The prompt of the chat format: the system message and the user's."""
    return instruction(task) + _CHAT_DEPTH[thinking], task.prompt.format(text=text)


def plain_prompt(task: Task, text: str, thinking: Thinking) -> str:
    """The prompt of the plain format: the task's template and the cue for a reasoning depth."""
    return task.prompt.format(text=text) + _PLAIN_CUES[thinking]


def instruction(task: Task) -> str:
    """The system message for chat models: the task's own, or one made from its classes."""
    if task.instruction:
        return task.instruction
    opening = "Classify the text. Answer with the name of one class and nothing else."
    return f"{opening}\n{class_list(task)}\n"


def class_list(task: Task) -> str:
    """The classes with their definitions, one a line, as an instruction lists them."""
    return "\n".join(f"- {item.name}: {item.definition}" for item in task.classes)


def completion_text(reasoning: str, label: str, thinking: Thinking, style: AnswerFormat) -> str:
    """A full completion: the answer alone, or reasoning, marker and answer."""
    answer = style.separator + label
    if thinking == "none":
        return answer
    return f"{style.opening}{style.separator}{reasoning}{style.marker}{answer}"


def encode_labels(task: Task, tokenizer: Tokenizer) -> list[list[int]]:
    """Token ids of every class name as an answer, in the order of the task.

    Each ends with the end-of-sequence token: no answer is then a prefix of another, and the
    closed set's likelihoods compare like with like.
    """
    separator = answer_format(tokenizer).separator
    return [
        [*tokenizer.encode(separator + label, add_special_tokens=False), tokenizer.eos_token_id]
        for label in task.labels
    ]


def encode_marker(tokenizer: Tokenizer) -> list[int]:
    """Token ids of the text that closes a reasoning segment."""
    return tokenizer.encode(answer_format(tokenizer).marker, add_special_tokens=False)


def parse_completion(
    completion: str, task: Task, thinking: Thinking, style: AnswerFormat
) -> tuple[str | None, int]:
    """Read the answer from a completion.

    Returns:
        The label, or None where there is no marker or the answer is no class; and the character
        at which the answer segment begins (the end of the text where there is no marker).
    """
    start = 0
    if thinking != "none":
        found = completion.find(style.marker)
        if found < 0:
            return None, len(completion)
        start = found + len(style.marker)
    return _read_label(completion[start:].strip().split("\n", 1)[0].strip(), task), start


def _read_label(answer: str, task: Task) -> str | None:
    """The class that an answer names, where need be without regard to case and outer marks."""
    if answer in task.labels:
        return answer
    matches = [label for label in task.labels if _folded(label) == _folded(answer)]
    return matches[0] if len(matches) == 1 else None


def _folded(answer: str) -> str:
    return answer.strip(" .\"'`*").lower()


def read_trace(
    example_id: str,
    gold: str,
    prompt_ids: Sequence[int],
    completion_ids: Sequence[int],
    task: Task,
    thinking: Thinking,
    tokenizer: Tokenizer,
) -> Trace:
    """Parse generated tokens into a trace whose segments are marked by token offsets."""
    completion = tokenizer.decode(completion_ids, skip_special_tokens=True)
    label, start = parse_completion(completion, task, thinking, answer_format(tokenizer))
    answer_start = len(completion_ids)
    if label is not None:
        answer_start = _token_at(start, completion_ids, tokenizer) if start else 0
    return Trace(
        example_id=example_id,
        prompt_ids=tuple(prompt_ids),
        completion_ids=tuple(completion_ids),
        answer_start=answer_start,
        completion=completion,
        label=label,
        gold=gold,
    )


def find_answer(completion_ids: Sequence[int], tokenizer: Tokenizer) -> int | None:
    """The token after the marker that closes the reasoning; None where there is no marker."""
    marker = answer_format(tokenizer).marker
    found = tokenizer.decode(completion_ids, skip_special_tokens=True).find(marker)
    return None if found < 0 else _token_at(found + len(marker), completion_ids, tokenizer)


def gold_trace(example_id: str, text: str, gold: str, task: Task, tokenizer: Tokenizer) -> Trace:
    """The trace of a teacher that answers with the gold label, without reasoning."""
    answer = encode_labels(task, tokenizer)[task.labels.index(gold)]
    return Trace(
        example_id=example_id,
        prompt_ids=tuple(encode_prompt(task, text, "none", tokenizer)),
        completion_ids=tuple(answer),
        answer_start=0,
        completion=tokenizer.decode(answer, skip_special_tokens=True),
        label=gold,
        gold=gold,
    )


def _token_at(character: int, ids: Sequence[int], tokenizer: Tokenizer) -> int:
    """The first token whose text ends beyond a character offset.

    Generated tokens are the truth (encoding their text again may split it otherwise), so offsets
    come from decoding prefixes; their lengths grow, so a binary search finds the token.
    """
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        prefix = tokenizer.decode(ids[: middle + 1], skip_special_tokens=True)
        if len(prefix) > character:
            high = middle
        else:
            low = middle + 1
    return low
