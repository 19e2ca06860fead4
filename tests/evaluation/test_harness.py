"""Our scorer against lm-evaluation-harness itself, and the harness's own benchmarks."""

import random
import string
import sys

import datasets
import numpy as np
import pytest

from distillscale.errors import InputError
from distillscale.evaluation.harness import (
    TASK_FOLDER,
    BenchmarkSettings,
    benchmark_measurements,
    harness_answers,
    harness_benchmarks,
    harness_knowledge,
)
from distillscale.evaluation.harness_backend import hf_backend
from distillscale.evaluation.harness_catalogue import load_benchmark
from distillscale.evaluation.knowledge import evaluate_knowledge, question_scores
from distillscale.models.checkpoint import save_checkpoint
from distillscale.tasks.question import Question
from question_folders import CATEGORIES


@pytest.fixture(scope="module")
def folder(model, tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(model, tokenizer, path)
    return path


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")


def questions() -> list[Question]:
    """Four and ten choices of unequal length, with every kind of boundary before a choice."""
    rng = random.Random(0)
    words = ["Norway", "Mara Lindqvist", "pharma", "Größe 7", "a b  c", "energy_firm", "x", "{{y}}"]
    prompts = [
        "Novarix is based in",
        "Who leads Teklon? ",
        "Answer:\n",
        "Orbital Foods  ",
        "{{q}} Ü",
    ]
    made = []
    for number in range(32):
        benchmark, count = (("lab_facts", 4), ("lab_joins", 10))[number % 2]
        space = rng.choice([" ", " ", ""])
        choices = tuple(
            space + rng.choice(words) + rng.choice(string.ascii_letters) for _ in range(count)
        )
        prompt = f"{rng.choice(words)} {rng.choice(prompts)}"
        made.append(
            Question(str(number), benchmark, prompt, choices, rng.randrange(count), number % 3 > 0)
        )
    return made


def test_log_likelihoods_equal_the_harness(model, tokenizer, folder):
    ours = question_scores(model, tokenizer, questions())
    theirs = harness_answers(folder, questions(), batch_size=5)
    for own, answer, question in zip(ours, theirs, questions(), strict=True):
        np.testing.assert_allclose(own, answer.log_likelihoods, atol=1e-4, rtol=0)
        assert answer.correct == (own.argmax() == question.answer)


def test_accuracies_equal_the_harness(model, tokenizer, folder):
    ours = evaluate_knowledge(model, tokenizer, questions())
    assert harness_knowledge(folder, questions()) == ours
    assert {item.metric for item in ours} >= {"lab_facts", "lab_joins_unrehearsed", "general"}


def test_a_benchmark_without_a_task_is_named(folder):
    unknown = Question("q", "lab_riddles", "Why", (" a", " b"), 0)
    with pytest.raises(
        InputError, match=r"`lab_riddles` has no harness task.*lab_facts, lab_joins"
    ):
        harness_answers(folder, [unknown])


def test_a_missing_harness_is_explained(folder, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "lm_eval"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(InputError, match=r"pip install 'distillscale\[harness\]'"):
        harness_answers(folder, questions())


def test_task_files_are_shipped_beside_the_code():
    assert {path.stem for path in TASK_FOLDER.glob("*.yaml")} == {"lab_facts", "lab_joins"}


def fake_hub(path: str, name: str | None = None, **_: object) -> datasets.DatasetDict:
    """A few questions a subject in the layout of the hub's MMLU and MMLU-Pro."""
    if path == "cais/mmlu":
        row = {"question": "Why?", "choices": ["a", "b", "c", "d"], "subject": name}
        rows = [row | {"answer": answer} for answer in (0, 1)]
        table = datasets.Dataset.from_list(rows)
        five = datasets.Dataset.from_list([rows[0]] * 5)
        return datasets.DatasetDict({"test": table, "dev": five})
    assert path == "TIGER-Lab/MMLU-Pro"
    rows = [
        {
            "question": "Why?",
            "options": list(string.ascii_lowercase[:count]),
            "answer": "B",
            "answer_index": 1,
            "cot_content": "A: Let's think step by step. The answer is (B).",
            "category": subject,
        }
        for subject in CATEGORIES
        for count in (4, 10, 10, 4, 7)
    ]
    table = datasets.Dataset.from_list(rows)
    return datasets.DatasetDict({"test": table, "validation": table})


@pytest.mark.slow
def test_without_files_questions_come_from_the_hub(model, tokenizer, monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", fake_hub)
    scores = harness_benchmarks(
        hf_backend(model, tokenizer, batch_size=32),
        ["mmlu", "mmlu_pro"],
        BenchmarkSettings(limit=1, max_new_tokens=16),
    )
    mmlu, pro, general = benchmark_measurements(scores)
    assert (mmlu.metric, mmlu.examples, mmlu.chance) == ("mmlu", 57, pytest.approx(0.25))
    assert (pro.metric, pro.examples) == ("mmlu_pro", 14)
    assert (pro.value, scores[1].unparsed) == (0, 14)  # random text holds no "answer is (X)"
    chances = {1 / count for count in (4, 7, 10)}
    assert min(chances) < pro.chance < max(chances)
    assert general.value == pytest.approx(mmlu.value / 2)


def test_an_unreachable_hub_is_said_with_what_to_do(monkeypatch):
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the hub\n(offline).")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(InputError, match=r"`mmlu` cannot be loaded .*; without the hub, name a"):
        load_benchmark("mmlu")
