"""Votes from an endpoint and from a local model, through one journal."""

import itertools
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import PASS, CutBody, Drop, Fault, Pass, Reply, fault_proxy
from hypothesis import given
from hypothesis import strategies as st
from lab_server import LabServer
from replies import asked, error, ok, quick

from distillscale.errors import InputError
from distillscale.lab.examples import lab_examples
from distillscale.lab.teacher import shipped_teacher
from distillscale.lab.world import make_world
from distillscale.models.checkpoint import load_model, load_tokenizer
from distillscale.models.endpoint import Budget, Endpoint, Failure, Usage
from distillscale.tasks import load_task
from distillscale.teachers.endpoint import (
    AskedText,
    Asking,
    all_keys,
    annotate_by_endpoint,
    annotate_locally,
    vote_traces,
)
from distillscale.teachers.journal import Journal
from distillscale.teachers.votes import Vote

TASK = load_task("fin-headlines")
IDENTITY = {"model": "lab"}


def asked_texts(count: int, seed: int = 3) -> list[AskedText]:
    examples = lab_examples(
        "fin-headlines", make_world(), train=count, validation=0, test=0, seed=seed
    )
    return [AskedText(item.id, item.text, item.label) for item in examples]


def votes_in(path: Path, texts: list[AskedText], votes: int) -> list[Vote]:
    with Journal(path, IDENTITY) as journal:
        return list(journal.votes(all_keys(texts, votes)))


# --- journal ---------------------------------------------------------------------------------

FULL = Vote("a", 0, "merger", "merger", "why\nso", "stop", None, 3, 4, ("m",), (-0.1,))
FULL = Vote(**{**vars(FULL), "top_tokens": (("m", "n"),), "top_log_probs": ((-0.1, -2.0),)})


def test_votes_are_read_back_as_they_were_added(tmp_path: Path) -> None:
    other = Vote("b", 1, None, "", None, failure="the server answered 400: é")
    with Journal(tmp_path / "j", IDENTITY) as journal:
        journal.add(FULL, Usage(2, 3, 4))
        journal.add(other, Usage(1, 0, 0, 5, 6))
        journal.charge(Usage(8))
        journal.add(FULL, Usage(100))  # no repeats
    with Journal(tmp_path / "j", IDENTITY) as journal:
        assert journal.spent == Usage(11, 3, 4, 5, 6)
        assert journal.labels == {("a", 0): "merger", ("b", 1): None}
        assert list(journal.votes(iter([("b", 1), ("c", 0), ("a", 0)]))) == [other, FULL]


@given(st.integers(min_value=0))
def test_a_journal_cut_at_any_byte_loses_its_last_lines_only(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "j"
    votes = [Vote(str(n), 0, "merger", "m" * n, None) for n in range(4)]
    with Journal(path, IDENTITY) as journal:
        for vote in votes:
            journal.add(vote)
    whole = path.read_bytes()
    os.truncate(path, cut % (len(whole) + 1))
    left = path.read_bytes().count(b"\n")
    with Journal(path, IDENTITY) as journal:
        assert len(journal.labels) == max(left - 1, 0)
        for vote in votes:
            journal.add(vote)
    assert path.read_bytes() == whole


def test_another_runs_journal_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", {"model": "a", "seed": 1}):
        pass
    with pytest.raises(InputError, match="whose model is `a` instead of `b`"):
        Journal(tmp_path / "j", {"model": "b", "seed": 1})
    (tmp_path / "k").write_text('{"model": "lab"}\nnot json\n')
    with pytest.raises(InputError, match="line 2 is damaged"):
        Journal(tmp_path / "k", IDENTITY)
    (tmp_path / "k").write_text('{"model": "lab"}\n{"vote": {"colour": 1}, "taken": {}}\n')
    with pytest.raises(InputError, match="line 2 is damaged"):
        Journal(tmp_path / "k", IDENTITY)


# --- endpoint --------------------------------------------------------------------------------


def test_the_lab_teacher_behind_a_server_agrees_with_the_local_one(
    lab_server: LabServer, tmp_path: Path
) -> None:
    texts, asking = asked_texts(16), Asking("full", 80)
    model, tokenizer = load_model(shipped_teacher()), load_tokenizer(shipped_teacher())
    with Journal(tmp_path / "local", IDENTITY) as journal:
        annotate_locally(model, tokenizer, TASK, texts, asking, journal)
    settings = quick(lab_server.url, concurrency=4)
    settings = type(settings)(**{**vars(settings), "model": lab_server.model})
    with Journal(tmp_path / "served", IDENTITY) as journal:
        assert annotate_by_endpoint(Endpoint(settings), TASK, texts, asking, journal) is None
    local, served = (votes_in(tmp_path / name, texts, 1) for name in ("local", "served"))
    # Batched and single generation may part where two tokens are nearly as likely.
    same = [
        (a.label, a.reasoning) == (b.label, b.reasoning) for a, b in zip(local, served, strict=True)
    ]
    assert sum(same) >= 15
    assert [vote.example_id for vote in served] == [item.id for item in texts]
    assert all(vote.prompt_tokens and vote.completion_tokens for vote in served)
    assert sum(v.label == t.gold for v, t in zip(served, texts, strict=True)) >= 14


@pytest.mark.parametrize("votes", [1, 3])
def test_through_faults_and_kills_every_vote_is_there_once(
    lab_server: LabServer, tmp_path: Path, votes: int
) -> None:
    texts, asking = asked_texts(12), Asking("none", 12, votes=votes, temperature=0.7 * (votes > 1))
    faults = itertools.cycle(
        [error(429, "slow"), PASS, Drop(after_work=True), PASS, CutBody(), Pass(seconds=0.05)]
    )

    def script(body: dict[str, Any], attempt: int) -> Fault:
        return next(faults) if attempt < 3 else PASS

    class Killed(BaseException):
        pass

    with fault_proxy(lab_server.port, script) as proxy:
        settings = quick(proxy.url, concurrency=4)
        settings = type(settings)(**{**vars(settings), "model": lab_server.model})
        for stop in (0.3, 0.6, 2.0):  # shares after which the process dies

            def die(share: float, stop: float = stop) -> None:
                if share >= stop:
                    raise Killed

            with Journal(tmp_path / "j", IDENTITY) as journal:
                before = dict(journal.labels)
                try:
                    annotate_by_endpoint(
                        Endpoint(settings), TASK, texts, asking, journal, progress=die
                    )
                except Killed:
                    assert len(journal.labels) > len(before)
    lines = (tmp_path / "j").read_bytes().splitlines()[1:]
    keys = Counter((v["example_id"], v["number"]) for v in (json.loads(x)["vote"] for x in lines))
    assert keys == Counter(all_keys(texts, votes))
    assert sum(v.label is not None for v in votes_in(tmp_path / "j", texts, votes)) > 8 * votes


def test_refused_and_unparsed_are_votes_and_unreachable_is_asked_again(tmp_path: Path) -> None:
    texts = [AskedText(name, name, None) for name in ("fine", "long", "odd", "lost")]
    replies = {"fine": ok("Merger."), "long": error(400, "too long"), "odd": ok("no idea")}
    replies["lost"] = error(503, "busy")
    letters: list[Failure] = []

    def script(body: dict[str, Any], attempt: int) -> Reply:
        assert body["chat_template_kwargs"] == {"enable_thinking": False}
        return replies[asked(body).removeprefix("Headline: ")]

    with fault_proxy(None, script) as proxy:
        for expected in (4, 1):  # the second run asks for the lost one alone
            with Journal(tmp_path / "j", IDENTITY) as journal:
                before = len(proxy.seen)
                annotate_by_endpoint(
                    Endpoint(quick(proxy.url, attempts=1, concurrency=1)),
                    TASK,
                    texts,
                    Asking("none", 12),
                    journal,
                    unparsed=letters.append,
                )
                # The refused request was tried once more without its optional fields.
                assert len(proxy.seen) - before in (expected, expected + 1)
    fine, long, odd = votes_in(tmp_path / "j", texts, 1)
    assert (fine.label, long.label, odd.label) == ("merger", None, None)
    assert long.failure == "the server answered 400: too long"
    assert (odd.text, odd.failure) == ("no idea", None)
    assert [(letter.request_id, letter.text) for letter in letters] == [("odd#0", "no idea")]


def test_the_budget_covers_resumed_runs_too(tmp_path: Path) -> None:
    texts = [AskedText(str(n), f"text {n}", None) for n in range(30)]
    reply = ok("merger", usage={"prompt_tokens": 900, "completion_tokens": 3})
    with fault_proxy(None, lambda body, n: reply) as proxy:
        for limit in (8000, 8000, 1_000_000):
            with Journal(tmp_path / "j", IDENTITY) as journal:
                before, known = len(proxy.seen), len(journal.labels)
                endpoint = Endpoint(quick(proxy.url), Budget(tokens=limit), spent=journal.spent)
                stopped = annotate_by_endpoint(endpoint, TASK, texts, Asking("none", 12), journal)
                assert (stopped is not None) == (limit == 8000)
                assert len(proxy.seen) - before == len(journal.labels) - known
                assert endpoint.usage == journal.spent
    assert len(proxy.seen) == 30


def test_log_probabilities_are_kept_with_the_vote(tmp_path: Path) -> None:
    top = [{"token": "merger", "logprob": -0.5}, {"token": "deal", "logprob": -1.0}]
    entry = {"token": "merger", "logprob": -0.5, "top_logprobs": top}
    reply = ok("merger", logprobs={"content": [entry]}, reasoning_content="two firms join")
    texts = [AskedText("a", "text", None)]
    with fault_proxy(None, lambda body, n: reply) as proxy, Journal(tmp_path / "j", IDENTITY) as j:
        asking = Asking("full", 50, top_log_probs=2, reasoning_effort="low")
        annotate_by_endpoint(Endpoint(quick(proxy.url)), TASK, texts, asking, j)
        body = proxy.seen[0].body
    assert (body["top_logprobs"], body["reasoning_effort"]) == (2, "low")
    assert body["chat_template_kwargs"] == {"enable_thinking": True}
    (vote,) = votes_in(tmp_path / "j", texts, 1)
    assert vote.reasoning == "two firms join"
    assert vote.tokens == ("merger",)
    assert vote.top_tokens == (("merger", "deal"),)
    assert vote.top_log_probs == ((-0.5, -1.0),)


@pytest.mark.parametrize(
    ("content", "reasoning"),
    [
        ("<think>two firms</think>merger", "two firms"),
        ("two firms\nAnswer: merger", "two firms"),  # a model without tags for it
        ("merger", None),
    ],
)
def test_reasoning_is_found_however_it_is_marked(
    content: str, reasoning: str | None, tmp_path: Path
) -> None:
    texts = [AskedText("a", "text", None)]
    with fault_proxy(None, lambda b, n: ok(content)) as proxy, Journal(tmp_path / "j", {}) as j:
        annotate_by_endpoint(Endpoint(quick(proxy.url)), TASK, texts, Asking("full", 50), j)
        (vote,) = j.votes(all_keys(texts, 1))
    assert (vote.label, vote.reasoning) == ("merger", reasoning)


# --- local model -----------------------------------------------------------------------------


def test_a_resumed_local_run_ends_with_the_same_votes(tmp_path: Path) -> None:
    model, tokenizer = load_model(shipped_teacher()), load_tokenizer(shipped_teacher())
    texts, asking = asked_texts(10), Asking("none", 12, votes=2, temperature=2.0)

    class Killed(Exception):
        pass

    def annotate(path: Path, stop: float) -> list[Vote]:
        def die(share: float) -> None:
            if share >= stop:
                raise Killed

        with Journal(path, IDENTITY) as journal:
            try:
                annotate_locally(
                    model, tokenizer, TASK, texts, asking, journal, batch_size=4, progress=die
                )
            except Killed:
                return []
        return votes_in(path, texts, 2)

    at_once = annotate(tmp_path / "at_once", 2.0)
    assert annotate(tmp_path / "killed", 0.4) == []
    lines = (tmp_path / "killed").read_bytes().splitlines(keepends=True)
    (tmp_path / "killed").write_bytes(b"".join(lines[:-2]))  # in the middle of a group
    assert annotate(tmp_path / "killed", 2.0) == at_once
    first, second = at_once[::2], at_once[1::2]
    assert [v.label for v in first] != [v.label for v in second]  # drawn anew
    assert len({(v.example_id, v.number) for v in at_once}) == 20


# --- traces ----------------------------------------------------------------------------------


def test_traces_are_the_first_vote_for_the_majority_in_the_students_format() -> None:
    tokenizer = load_tokenizer(shipped_teacher())
    texts = [AskedText("a", "x", "merger"), AskedText("b", "y", None), AskedText("c", "z", None)]
    texts += [AskedText("d", "w", None), AskedText("e", "v", None)]
    votes = [
        Vote("a", 0, "acquisition", "acquisition", "one buys"),
        Vote("a", 1, "merger", "merger", "two firms join"),
        Vote("a", 2, "merger", "merger", "another reason"),
        Vote("b", 0, "merger", "merger", None),  # no reasoning
        Vote("b", 1, "merger", "merger", "equals"),
        Vote("c", 0, None, "?", "why"),
        Vote("d", 0, "merger", "merger", "so\nAnswer: acquisition then"),  # holds the marker
        Vote("e", 0, "merger", "merger", None),
    ]
    majorities = ["merger", "merger", None, "merger", "merger"]
    traces = list(vote_traces(iter(votes), texts, majorities, TASK, "full", tokenizer))
    assert [trace.example_id for trace in traces] == ["a", "b"]
    assert [trace.gold for trace in traces] == ["merger", "merger"]
    assert traces[0].completion == " two firms join\nAnswer: merger"
    assert traces[0].completion_ids[-1] == tokenizer.eos_token_id
    answer = tokenizer.decode(traces[0].completion_ids[traces[0].answer_start : -1])
    assert answer == " merger"
    plain = list(vote_traces(iter(votes), texts, majorities, TASK, "none", tokenizer))
    assert [trace.example_id for trace in plain] == ["a", "b", "d", "e"]
    assert {trace.answer_start for trace in plain} == {0}


def test_an_end_token_that_a_teacher_quotes_does_not_end_its_trace() -> None:
    tokenizer = load_tokenizer(shipped_teacher())
    votes = [Vote("a", 0, "merger", "merger", f"it says {tokenizer.eos_token} and joins")]
    texts = [AskedText("a", "x", None)]
    (trace,) = vote_traces(iter(votes), texts, ["merger"], TASK, "full", tokenizer)
    assert list(trace.completion_ids).count(tokenizer.eos_token_id) == 1
    assert trace.label == "merger"
