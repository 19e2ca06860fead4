"""Our scorer against lm-evaluation-harness itself, and the harness's own benchmarks."""

import random
import string
import sys

import datasets
import numpy as np
import pytest

from distillscale.errors import InputError
from distillscale.evaluation.harness import (
    HUB_BENCHMARKS,
    TASK_FOLDER,
    harness_answers,
    harness_benchmarks,
    harness_knowledge,
)
from distillscale.evaluation.knowledge import evaluate_knowledge, question_scores
from distillscale.models.checkpoint import save_checkpoint
from distillscale.tasks.question import Question


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


def test_an_unknown_hub_benchmark_is_named(folder):
    with pytest.raises(InputError, match="unknown benchmark `mmlu_max`"):
        harness_benchmarks(folder, ["mmlu_max"])


def test_a_missing_harness_is_explained(folder, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "lm_eval"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(InputError, match=r"pip install 'distillscale\[harness\]'"):
        harness_answers(folder, questions())


def test_task_files_are_shipped_beside_the_code():
    assert {path.stem for path in TASK_FOLDER.glob("*.yaml")} == {"lab_facts", "lab_joins"}


PRO_SUBJECTS = [
    "biology", "business", "chemistry", "computer science", "economics", "engineering", "health",
    "history", "law", "math", "other", "philosophy", "physics", "psychology",
]  # fmt: skip


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
        for subject in PRO_SUBJECTS
        for count in (4, 10, 10, 4, 7)
    ]
    table = datasets.Dataset.from_list(rows)
    return datasets.DatasetDict({"test": table, "validation": table})


@pytest.mark.slow
def test_hub_benchmarks_count_unparsed_answers_as_wrong(folder, monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", fake_hub)
    mmlu, pro, general = harness_benchmarks(folder, limit=2, batch_size=32)
    assert set(HUB_BENCHMARKS) == {mmlu.metric, pro.metric}
    assert (mmlu.examples, mmlu.chance) == (57 * 2, 0.25)
    assert (pro.examples, pro.value) == (14 * 2, 0)  # random text holds no "answer is (X)"
    assert pro.chance == pytest.approx((1 / 4 + 1 / 10) / 2)
    assert general.value == pytest.approx(mmlu.value / 2)
