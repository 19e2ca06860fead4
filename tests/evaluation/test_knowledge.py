"""Accuracy on questions: by benchmark, rehearsed and unrehearsed, and their mean."""

import numpy as np
import pytest

from distillscale.evaluation.knowledge import (
    accuracy_by_benchmark,
    encode_question,
    evaluate_knowledge,
    question_scores,
)
from distillscale.evaluation.metrics import bootstrap_weights
from distillscale.tasks.question import Question


def question(benchmark: str, rehearsed: bool | None, choices: int = 4) -> Question:
    names = tuple(f" choice {number}" for number in range(choices))
    return Question("q", benchmark, "Question: where is it?\nAnswer:", names, 1, rehearsed)


QUESTIONS = [
    question("lab_facts", True),
    question("lab_facts", True),
    question("lab_facts", False),
    question("lab_joins", False, choices=10),
    question("lab_joins", False, choices=5),
]
CORRECT = np.array([True, False, True, False, True])


def test_accuracies_chances_and_their_mean_by_hand():
    measured = {m.metric: m for m in accuracy_by_benchmark(QUESTIONS, CORRECT)}
    assert {name: m.value for name, m in measured.items()} == pytest.approx(
        {
            "lab_facts": 2 / 3,
            "lab_facts_rehearsed": 1 / 2,
            "lab_facts_unrehearsed": 1,
            "lab_joins": 1 / 2,
            "lab_joins_rehearsed": None,
            "lab_joins_unrehearsed": 1 / 2,
            "general": (2 / 3 + 1 / 2) / 2,
        }
    )
    assert measured["lab_facts"].chance == pytest.approx(0.25)
    assert measured["lab_joins"].chance == pytest.approx((1 / 10 + 1 / 5) / 2)
    assert measured["general"].chance == pytest.approx((0.25 + 0.15) / 2)
    assert measured["general"].examples == 5
    assert measured["lab_joins_rehearsed"].examples == 0
    assert measured["lab_joins_rehearsed"].chance is None


def test_replicates_of_the_mean_are_means_of_the_benchmarks_replicates():
    measured = {m.metric: m for m in accuracy_by_benchmark(QUESTIONS, CORRECT, replicates=9)}
    facts = bootstrap_weights(3, 9) @ CORRECT[:3] / 3
    joins = bootstrap_weights(2, 9) @ CORRECT[3:] / 2
    np.testing.assert_allclose(measured["lab_facts"].replicates, facts)
    np.testing.assert_allclose(measured["general"].replicates, (facts + joins) / 2)


def test_questions_of_unknown_rehearsal_have_no_parts():
    measured = accuracy_by_benchmark([question("mmlu", None)], np.array([True]))
    assert [m.metric for m in measured] == ["mmlu", "general"]


def test_no_questions_leave_general_missing():
    [general] = accuracy_by_benchmark([], np.zeros(0, dtype=bool))
    assert (general.metric, general.value, general.chance) == ("general", None, None)


def test_the_most_likely_choice_answers(model, tokenizer):
    scores = question_scores(model, tokenizer, QUESTIONS)
    best = [int(own.argmax()) for own in scores]
    assert [len(own) for own in scores] == [4, 4, 4, 10, 5]
    right = [
        Question("q", q.benchmark, q.prompt, q.choices, answer)
        for q, answer in zip(QUESTIONS, best, strict=True)
    ]
    assert {m.value for m in evaluate_knowledge(model, tokenizer, right)} == {1}


def test_padding_side_and_batch_size_change_nothing(model, tokenizer, monkeypatch):
    expected = question_scores(model, tokenizer, QUESTIONS)
    for side, batch_size in (("left", 1), ("right", 2)):
        monkeypatch.setattr(tokenizer, "padding_side", side)
        scores = question_scores(model, tokenizer, QUESTIONS, batch_size=batch_size)
        np.testing.assert_allclose(
            np.concatenate(scores), np.concatenate(expected), atol=1e-5, rtol=0
        )


def test_spaces_that_end_a_prompt_belong_to_the_choice(tokenizer):
    spaced = Question("q", "b", "Answer: in ", ("Norway", "Chile"), 0)
    plain = Question("q", "b", "Answer: in", (" Norway", " Chile"), 0)
    assert encode_question(tokenizer, spaced) == encode_question(tokenizer, plain)
