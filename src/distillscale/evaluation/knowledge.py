"""General knowledge: accuracy on multiple-choice questions.

A question is answered by the choice with the highest summed log-likelihood after the prompt: the
metric `acc` of lm-evaluation-harness, whose numbers these equal (`harness.py` runs the harness
itself; a test compares them).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distillscale.evaluation.closed_set import closed_set_scores
from distillscale.evaluation.measurement import Measurement
from distillscale.evaluation.metrics import REPLICATES, measure_mean
from distillscale.tasks.control_tokens import encode_text
from distillscale.tasks.question import Question


def evaluate_knowledge(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    *,
    batch_size: int = 32,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> list[Measurement]:
    """Accuracy of each benchmark, and `general`, their unweighted mean.

    A benchmark whose questions say whether they are rehearsed also gets `NAME_rehearsed` and
    `NAME_unrehearsed`; one of these without questions is missing. Chance is the mean over the
    questions of one over the number of choices.
    """
    scores = question_scores(model, tokenizer, questions, batch_size=batch_size)
    pairs = zip(questions, scores, strict=True)
    correct = np.array([own.argmax() == question.answer for question, own in pairs], dtype=bool)
    return accuracy_by_benchmark(questions, correct, replicates=replicates, seed=seed)


def question_scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    *,
    batch_size: int = 32,
) -> list[NDArray[np.float64]]:
    """Summed log-likelihood of each question's choices, an array of shape [choices] a question."""
    encoded = [encode_question(tokenizer, question) for question in questions]
    prompts = [prompt for prompt, _ in encoded]
    choices = [own for _, own in encoded]
    return closed_set_scores(model, prompts, choices, batch_size=batch_size)


def encode_question(
    tokenizer: PreTrainedTokenizerBase, question: Question
) -> tuple[list[int], list[list[int]]]:
    """Token ids of the prompt and of each choice, split as lm-evaluation-harness splits them.

    Spaces that end the prompt go to the choice. Prompt and choice are encoded together and split
    after as many tokens as the prompt takes alone, so a token is never formed across the boundary
    in one place and not in the other. A control token's name in a question is plain text.
    """
    prompt = question.prompt.rstrip()
    spaces = question.prompt[len(prompt) :]
    prompt_ids = encode_text(tokenizer, prompt)
    joined = [encode_text(tokenizer, prompt + spaces + choice) for choice in question.choices]
    return prompt_ids, [ids[len(prompt_ids) :] for ids in joined]


def accuracy_by_benchmark(
    questions: Sequence[Question],
    correct: NDArray[np.bool_],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> list[Measurement]:
    """Measurements from the correctness of each question, in the order of `questions`."""
    measured = {
        metric: measure_mean(
            metric,
            correct[rows],
            chance=_chance([questions[row] for row in rows]),
            replicates=replicates,
            seed=seed,
        )
        for metric, rows in _rows_of_metrics(questions).items()
    }
    names = dict.fromkeys(question.benchmark for question in questions)
    return [*measured.values(), general([measured[name] for name in names])]


def general(benchmarks: Sequence[Measurement]) -> Measurement:
    """The unweighted mean of measured benchmarks' accuracies; missing where there are none."""
    if not benchmarks:
        return Measurement("general", None, None, 0)
    value, chance = np.mean(
        np.array([(item.value, item.chance) for item in benchmarks], dtype=float), axis=0
    )
    replicates = np.mean([item.replicates for item in benchmarks], axis=0)
    examples = sum(item.examples for item in benchmarks)
    return Measurement("general", float(value), float(chance), examples, tuple(replicates.tolist()))


def _rows_of_metrics(questions: Sequence[Question]) -> dict[str, list[int]]:
    """The questions behind each metric: those of a benchmark, or of one of its two parts."""
    rows: dict[str, list[int]] = {}
    for row, question in enumerate(questions):
        rows.setdefault(question.benchmark, []).append(row)
        if question.rehearsed is not None:
            rehearsed = rows.setdefault(f"{question.benchmark}_rehearsed", [])
            unrehearsed = rows.setdefault(f"{question.benchmark}_unrehearsed", [])
            (rehearsed if question.rehearsed else unrehearsed).append(row)
    return rows


def _chance(questions: Sequence[Question]) -> float | None:
    if not questions:
        return None
    return float(np.mean([1 / len(question.choices) for question in questions]))
