"""The client against `transformers serve` with the lab's teacher, directly and through faults."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from fault_proxy import PASS, CutBody, CutConnection, Drop, Fault, Pass, Reply, fault_proxy
from lab_server import LabServer
from replies import asked, error, quick

from distillscale.lab.examples import lab_examples
from distillscale.lab.world import make_world
from distillscale.models.endpoint import Answer, ChatRequest, Endpoint, EndpointSettings, Message
from distillscale.tasks import load_task
from distillscale.tasks.prompt import Thinking, chat_prompt

TASK = load_task("fin-headlines")


def settings(server: LabServer, url: str, **fields: Any) -> EndpointSettings:
    defaults = quick(url)
    return EndpointSettings(**{**vars(defaults), "model": server.model, "concurrency": 4, **fields})


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Different lab headlines and their labels."""
    found: dict[str, str] = {}
    for example in lab_examples(
        "fin-headlines", make_world(), train=12, validation=0, test=0, seed=5
    ):
        found.setdefault(example.text, example.label)
    return found


def requests(texts: dict[str, str], thinking: Thinking) -> Iterator[ChatRequest]:
    for number, text in enumerate(texts):
        system, user = chat_prompt(TASK, text, thinking)
        messages = (Message("system", system), Message("user", user))
        yield ChatRequest(str(number), messages, 80, thinking=thinking != "none", seed=number)


@pytest.mark.parametrize("stream", [False, True])
def test_the_teacher_is_asked_with_and_without_thinking(
    lab_server: LabServer, texts: dict[str, str], stream: bool
) -> None:
    endpoint = Endpoint(settings(lab_server, lab_server.url, stream=stream))
    plain = endpoint.complete(requests(texts, "none")).answers
    thought = endpoint.complete(requests(texts, "full")).answers
    assert len(plain) == len(thought) == len(texts)
    assert all(answer.reasoning is None for answer in plain)
    assert all(answer.reasoning and answer.finish_reason == "stop" for answer in thought)
    right = [answer.text == label for answer, label in zip(thought, texts.values(), strict=True)]
    assert sum(right) >= 0.9 * len(texts)  # the lab's teacher knows its headlines
    assert endpoint.usage.requests == 2 * len(texts)
    reasons = sum(answer.usage.completion_tokens for answer in thought)
    assert reasons > 2 * sum(answer.usage.completion_tokens for answer in plain)


def test_streamed_answers_are_the_same_as_whole_ones(
    lab_server: LabServer, texts: dict[str, str]
) -> None:
    whole, pieces = (
        Endpoint(settings(lab_server, lab_server.url, stream=stream)).complete(
            requests(texts, "brief")
        )
        for stream in (False, True)
    )
    assert whole == pieces


def test_the_token_budget_cuts_an_answer_off(lab_server: LabServer) -> None:
    request = ChatRequest("0", (Message("user", "Headline: Novarix wins approval"),), 2)
    (answer,) = Endpoint(settings(lab_server, lab_server.url)).complete([request]).answers
    assert answer.finish_reason == "length"
    assert answer.usage.completion_tokens == 2


def test_a_model_that_the_server_does_not_know_ends_the_run(lab_server: LabServer) -> None:
    endpoint = Endpoint(settings(lab_server, lab_server.url, model="another", concurrency=1))
    batch = endpoint.complete(
        [ChatRequest("0", (Message("user", "Headline: Novarix wins approval"),), 2)]
    )
    assert "Server is pinned to" in batch.failures[0].sentence


def chaos(stream: bool) -> Any:
    """Up to three faults for each body, drawn from it alone."""
    faults: list[Fault] = [
        error(429, "slow down", **{"Retry-After": "0.05"}),
        error(429, "slow down"),
        error(500, "oops"),
        Reply(503, b"<html>warming up</html>"),
        Drop(),
        Drop(after_work=True),
        CutBody(0.3),
        CutBody(0.0),
        CutConnection(0.5),
        Pass(seconds=0.3),
    ]

    def script(body: dict[str, Any], attempt: int) -> Fault:
        assert bool(body.get("stream")) == stream
        rng = random.Random(asked(body))
        planned = rng.choices(faults, k=rng.randrange(4))
        return planned[attempt] if attempt < len(planned) else PASS

    return script


@pytest.mark.parametrize("stream", [False, True])
def test_through_faults_the_answers_are_complete_and_the_same(
    lab_server: LabServer, texts: dict[str, str], stream: bool
) -> None:
    undisturbed = Endpoint(settings(lab_server, lab_server.url)).complete(requests(texts, "none"))
    told: list[str] = []
    with fault_proxy(lab_server.port, chaos(stream)) as proxy:
        endpoint = Endpoint(settings(lab_server, proxy.url, stream=stream))
        disturbed = endpoint.complete(
            requests(texts, "none"), lambda outcome: told.append(outcome.request_id)
        )
        assert len(proxy.seen) > 1.5 * len(texts)
    assert [a.text for a in disturbed.answers] == [a.text for a in undisturbed.answers]
    assert sorted(told) == sorted(str(n) for n in range(len(texts)))  # each once
    assert endpoint.usage.requests == len(proxy.seen)


def test_a_server_that_is_silent_too_long_is_asked_again(lab_server: LabServer) -> None:
    def script(body: dict[str, Any], attempt: int) -> Fault:
        return Pass(seconds=2.5 if attempt == 0 else 0.0)

    request = ChatRequest("0", (Message("user", "Headline: Novarix wins approval"),), 1)
    with fault_proxy(lab_server.port, script) as proxy:
        endpoint = Endpoint(settings(lab_server, proxy.url, timeout_seconds=1.5))
        (answer,) = endpoint.complete([request]).answers
    assert isinstance(answer, Answer)
    assert answer.usage.requests == 2
    assert answer.usage.assumed_completion_tokens == 1  # the lost one may have been charged


def test_log_probabilities_and_reasoning_that_a_server_adds_are_kept(
    lab_server: LabServer,
) -> None:
    # `transformers serve` returns none, so the proxy adds them as vLLM writes them.
    def add(document: dict[str, Any]) -> None:
        top = [{"token": "drug", "logprob": -0.25}, {"token": "permit", "logprob": -1.5}]
        entry = {"token": "drug", "logprob": -0.25, "bytes": None, "top_logprobs": top}
        document["choices"][0]["logprobs"] = {"content": [entry]}

    request = ChatRequest("0", (Message("user", "Headline: x"),), 4, top_log_probs=2)
    with fault_proxy(lab_server.port, lambda body, n: Pass(change=add)) as proxy:
        (answer,) = Endpoint(settings(lab_server, proxy.url)).complete([request]).answers
        assert proxy.seen[0].body["top_logprobs"] == 2
    assert answer.tokens is not None
    assert answer.tokens[0].top == (("drug", -0.25), ("permit", -1.5))
