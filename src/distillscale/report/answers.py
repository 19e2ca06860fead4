"""What each model answered to single examples: the part of the page where one can look closer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_EXAMPLES = 40
MOST_CHARACTERS = 700  # of a text that is shown; a page is no archive

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class ModelAnswers:
    """What one model answered to a task's test examples.

    Attributes:
        name: configuration and size, as people read it.
        answers: the label with the highest likelihood, one an example.
        probabilities: of these labels.
        written: what the model wrote where it reasons before it answers; else None.
    """

    name: str
    answers: Sequence[str]
    probabilities: Sequence[float]
    written: Sequence[str | None]


@dataclass(frozen=True)
class AnswerSheet:
    """Test examples of one task with the answers of several models, the teacher first.

    `texts` and `gold` have one entry an example, as each model's answers have.
    """

    task: str
    texts: Sequence[str]
    gold: Sequence[str]
    models: tuple[ModelAnswers, ...] = field(repr=False)


def chosen_examples(sheet: AnswerSheet, most: int = MOST_EXAMPLES) -> list[int]:
    """Which examples are shown: of each label in turn the one on which models disagree most.

    Disagreement is the share of pairs of models that answer differently; among equals the earlier
    example comes first, so that the choice is the same every time.
    """
    answers = np.array([list(model.answers) for model in sheet.models])
    differ = _disagreement(answers)
    queues = {
        label: sorted(
            (i for i, gold in enumerate(sheet.gold) if gold == label), key=lambda i: -differ[i]
        )
        for label in sorted(set(sheet.gold))
    }
    rounds = max((len(queue) for queue in queues.values()), default=0)
    chosen = [
        example
        for turn in range(rounds)
        for example in sorted(
            (queue[turn] for queue in queues.values() if turn < len(queue)),
            key=lambda i: -differ[i],
        )
    ][:most]
    return sorted(chosen, key=lambda i: -differ[i])


def _disagreement(answers: NDArray[np.str_]) -> NDArray[np.float64]:
    """The share of pairs of models that differ, one an example; `answers` is [models, examples]."""
    differ: NDArray[np.float64] = (answers[:, None] != answers[None]).mean(axis=(0, 1))
    return differ


def as_json(sheet: AnswerSheet, most: int = MOST_EXAMPLES) -> dict[str, Any]:
    """The chosen examples in the form that the page's script reads; labels are numbered."""
    chosen = chosen_examples(sheet, most)
    used = sorted(
        {sheet.gold[i] for i in chosen}
        | {model.answers[i] for model in sheet.models for i in chosen}
    )
    number = {label: place for place, label in enumerate(used)}
    return {
        "labels": used,
        "models": [model.name for model in sheet.models],
        "total": len(sheet.texts),
        "examples": [
            {
                "text": _short(sheet.texts[i]),
                "gold": number[sheet.gold[i]],
                "answers": [number[model.answers[i]] for model in sheet.models],
                "sure": [round(100 * float(model.probabilities[i])) for model in sheet.models],
                "written": [_short(model.written[i] or "") for model in sheet.models],
            }
            for i in chosen
        ],
    }


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS].rstrip() + " …"
