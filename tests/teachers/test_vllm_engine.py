"""Votes from outputs of vLLM's shape. vLLM itself is not here: plain records stand in for them."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from distillscale.errors import InputError
from distillscale.lab.examples import lab_examples
from distillscale.lab.teacher import shipped_teacher
from distillscale.lab.world import make_world
from distillscale.models.checkpoint import load_model, load_tokenizer
from distillscale.models.generate import generate as generate_tokens
from distillscale.tasks import Task, load_task
from distillscale.tasks.prompt import encode_labels, encode_prompt
from distillscale.teachers.endpoint import AskedText, Asking, all_keys, annotate_locally
from distillscale.teachers.journal import Journal
from distillscale.teachers.vllm_engine import (
    Draw,
    annotate_by_vllm,
    log_prob_fields,
    require_vllm,
)
from distillscale.teachers.votes import Vote

IDENTITY = {"model": "lab"}


@dataclass(frozen=True)
class PlainLogProb:
    """The field of vLLM's `Logprob` that is read."""

    logprob: float


@dataclass(frozen=True)
class PlainCompletion:
    """The fields of vLLM's `CompletionOutput` that are read."""

    token_ids: list[int]
    logprobs: list[dict[int, PlainLogProb]] | None = None
    finish_reason: str | None = "stop"


def votes_in(path: Path, texts: list[AskedText], votes: int) -> list[Vote]:
    with Journal(path, IDENTITY) as journal:
        return list(journal.votes(all_keys(texts, votes)))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    """Of the lab's teacher."""
    return load_tokenizer(shipped_teacher())


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("fin-headlines")


@pytest.fixture(scope="module")
def texts() -> list[AskedText]:
    examples = lab_examples("fin-headlines", make_world(), train=10, validation=0, test=0, seed=3)
    return [AskedText(item.id, item.text, item.label) for item in examples]


@pytest.mark.parametrize(("thinking", "budget"), [("none", 12), ("full", 60)])
def test_the_same_tokens_make_the_same_votes_as_the_local_path(
    tokenizer, task: Task, texts, thinking, budget: int, tmp_path: Path
) -> None:
    model, asking = load_model(shipped_teacher()), Asking(thinking, budget)
    draws: list[Draw] = []

    def generate(part: Sequence[Draw]) -> list[PlainCompletion]:
        draws.extend(part)
        prompts = [draw.prompt_ids for draw in part]
        written = generate_tokens(model, tokenizer, prompts, max_new_tokens=budget)
        return [
            PlainCompletion(list(ids), finish_reason="length" if len(ids) == budget else "stop")
            for ids in written
        ]

    with Journal(tmp_path / "local", IDENTITY) as journal:
        annotate_locally(model, tokenizer, task, texts, asking, journal, batch_size=4)
    shares: list[float] = []
    with Journal(tmp_path / "vllm", IDENTITY) as journal:
        annotate_by_vllm(
            generate, tokenizer, task, texts, asking, journal, group=4, progress=shares.append
        )
    votes = votes_in(tmp_path / "vllm", texts, 1)
    assert votes == votes_in(tmp_path / "local", texts, 1)
    assert sum(vote.label is not None for vote in votes) > 7
    assert shares == [0.4, 0.8, 1.0]
    prompts = [tuple(encode_prompt(task, item.text, thinking, tokenizer)) for item in texts]
    assert [draw.prompt_ids for draw in draws] == prompts


def test_only_missing_votes_are_drawn_each_from_the_seed_it_always_has(
    tokenizer, task: Task, texts, tmp_path: Path
) -> None:
    asking = Asking("none", 40, votes=3, temperature=1.0, seed=5)
    answers = encode_labels(task, tokenizer)

    def draw_into(draws: list[Draw], journal: Journal) -> None:
        def generate(part: Sequence[Draw]) -> list[PlainCompletion]:
            draws.extend(part)
            return [PlainCompletion(answers[draw.seed % len(answers)]) for draw in part]

        annotate_by_vllm(generate, tokenizer, task, texts, asking, journal)

    whole, rest = list[Draw](), list[Draw]()
    with Journal(tmp_path / "whole", IDENTITY) as journal:
        draw_into(whole, journal)
    known = votes_in(tmp_path / "whole", texts, 3)[:13]
    with Journal(tmp_path / "rest", IDENTITY) as journal:
        for vote in known:
            journal.add(vote)
        draw_into(rest, journal)
    assert len(whole) == 30
    assert len({draw.seed for draw in whole}) == 30
    assert rest == whole[13:]
    assert votes_in(tmp_path / "rest", texts, 3) == votes_in(tmp_path / "whole", texts, 3)


def test_log_probabilities_go_to_the_votes(tokenizer, task: Task, texts, tmp_path: Path) -> None:
    item, asking = texts[0], Asking("none", 40, top_log_probs=2)
    answer = encode_labels(task, tokenizer)[0]
    others = [token for token in range(60, 70) if token not in answer][:2]
    places = [
        {token: PlainLogProb(-3.0), others[0]: PlainLogProb(-1.0), others[1]: PlainLogProb(-0.5)}
        for token in answer
    ]
    completion = PlainCompletion(answer, places)
    with Journal(tmp_path / "j", IDENTITY) as journal:
        annotate_by_vllm(lambda draws: [completion], tokenizer, task, [item], asking, journal)
    (vote,) = votes_in(tmp_path / "j", [item], 1)
    assert vote.label == task.labels[0]
    assert vote.tokens is not None
    assert "".join(vote.tokens[:-1]) == f" {task.labels[0]}"
    assert vote.tokens[-1] == tokenizer.eos_token
    assert vote.log_probs == (-3.0,) * len(answer)
    likeliest = (tokenizer.decode([others[1]]), tokenizer.decode([others[0]]))
    assert vote.top_tokens == (likeliest,) * len(answer)  # the drawn token is the third
    assert vote.top_log_probs == ((-0.5, -1.0),) * len(answer)


def test_no_log_probabilities_are_no_fields(tokenizer) -> None:
    assert log_prob_fields(PlainCompletion([1, 2]), 0, tokenizer) == {}


def test_without_vllm_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(InputError, match="--engine vllm: vLLM cannot be imported here"):
        require_vllm()
