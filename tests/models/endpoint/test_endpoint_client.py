"""The client against a scripted server: retries, refusals, order, budget, secrecy."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import Drop, Fault, FaultProxy, Reply, fault_proxy
from hypothesis import given, settings
from hypothesis import strategies as st
from replies import USAGE, ask, asked, error, ok, quick

from distillscale.errors import EndpointFailed, InputError
from distillscale.models.endpoint import (
    Answer,
    Budget,
    Endpoint,
    Failure,
    Message,
    Outcome,
    Usage,
)
from distillscale.models.endpoint.dead_letters import read_dead_letters

SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


def scripted(script: Callable[[dict[str, Any], int], Fault]) -> Any:
    return fault_proxy(None, script)


def echo(body: dict[str, Any], _: int) -> Reply:
    return ok(asked(body))


def test_outcomes_come_in_the_order_of_the_requests() -> None:
    completed: list[Outcome] = []

    def script(body: dict[str, Any], attempt: int) -> Reply:
        # The earlier the question, the more attempts it takes.
        late = attempt < 4 - int(asked(body).split()[1]) // 10
        return error(503, "later") if late else ok(asked(body))

    with scripted(script) as proxy:
        batch = Endpoint(quick(proxy.url)).complete(map(ask, range(50)), completed.append)
    assert [answer.text for answer in batch.answers] == [f"question {n}" for n in range(50)]
    assert batch.budget_spent is None
    assert sorted(o.request_id for o in completed) == sorted(str(n) for n in range(50))
    assert [o.request_id for o in completed] != [str(n) for n in range(50)]


@pytest.mark.parametrize("concurrency", [1, 5])
def test_requests_under_way_are_bounded(concurrency: int) -> None:
    with scripted(echo) as proxy:
        Endpoint(quick(proxy.url, concurrency=concurrency)).complete(map(ask, range(40)))
        assert proxy.most_under_way <= concurrency + 1  # one may be closing while another opens


@pytest.mark.parametrize(
    "fault",
    [
        error(429, "slow down"),
        error(500, "oops"),
        error(503, "loading"),
        Drop(),
        Reply(200, b'{"choices": [{"mess'),
        Reply(200, b"<html>gateway</html>"),
        Reply(200, b'{"error": {"message": "overloaded"}}'),
    ],
)
def test_passing_faults_are_asked_again_until_answered(fault: Fault) -> None:
    with scripted(lambda body, n: fault if n < 3 else ok("fine")) as proxy:
        batch = Endpoint(quick(proxy.url, attempts=4)).complete([ask(0)])
        assert len(proxy.seen) == 4
    assert [answer.text for answer in batch.answers] == ["fine"]
    assert batch.answers[0].usage.requests == 4


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (error(503, "the pool is empty"), "503: the pool is empty"),
        (Drop(), "the connection broke"),
        (Reply(200, b"<html>"), "not JSON"),
        (Reply(429, b"plain words"), "429: plain words"),
    ],
)
def test_a_request_is_given_up_after_the_last_attempt(fault: Fault, sentence: str) -> None:
    with scripted(lambda body, n: fault) as proxy:
        batch = Endpoint(quick(proxy.url, attempts=3)).complete([ask(0)])
        assert len(proxy.seen) == 3
    (failure,) = batch.failures
    assert (failure.request_id, failure.reason) == ("0", "unreachable")
    assert "3 times" in failure.sentence
    assert sentence in failure.sentence


def test_nobody_listening_is_one_sentence() -> None:
    with scripted(echo) as proxy:
        url = proxy.url
    batch = Endpoint(quick(url, attempts=2)).complete([ask(0)])
    assert "no connection" in batch.failures[0].sentence
    assert batch.failures[0].usage.tokens == 0  # nobody can have charged anything


def test_retry_after_holds_all_requests_back() -> None:
    import time

    arrivals: list[float] = []

    def script(body: dict[str, Any], attempt: int) -> Reply:
        arrivals.append(time.monotonic())
        return error(429, "wait", **{"Retry-After": "0.6"}) if len(arrivals) == 1 else ok("fine")

    with scripted(script) as proxy:
        batch = Endpoint(quick(proxy.url, concurrency=1)).complete(map(ask, range(3)))
    assert len(batch.answers) == 3
    assert arrivals[1] - arrivals[0] >= 0.6


def test_a_pause_of_hours_is_not_waited_for() -> None:
    with scripted(lambda body, n: error(429, "quota", **{"Retry-After": "86400"})) as proxy:
        batch = Endpoint(quick(proxy.url)).complete([ask(0)])
        assert len(proxy.seen) == 1
    assert "429: quota" in batch.failures[0].sentence


def test_a_refused_request_is_final_and_keeps_the_servers_sentence(tmp_path: Path) -> None:
    def script(body: dict[str, Any], attempt: int) -> Reply:
        return error(400, "context too long") if asked(body) == "question 1" else ok("fine")

    letters = tmp_path / "new" / "dead.jsonl"
    with scripted(script) as proxy:
        for _ in range(2):  # a second run repeats no letter
            batch = Endpoint(quick(proxy.url), dead_letters=letters).complete(map(ask, range(3)))
        assert len(proxy.seen) == 6
    assert [type(o) for o in batch.outcomes] == [Answer, Failure, Answer]
    assert batch.failures[0].sentence == "the server answered 400: context too long"
    assert read_dead_letters(letters) == [
        {
            "id": "1",
            "reason": "refused",
            "sentence": "the server answered 400: context too long",
            "text": None,
        }
    ]


@pytest.mark.parametrize("status", [302, 401, 402, 403, 404])
def test_what_no_request_can_pass_ends_the_run(status: int) -> None:
    with scripted(lambda body, n: error(status, "not you")) as proxy:
        with pytest.raises(EndpointFailed, match=f"{status}: not you"):
            Endpoint(quick(proxy.url)).complete(map(ask, range(1000)))
        assert len(proxy.seen) < 100


def test_spent_quota_is_not_waited_for() -> None:
    body = json.dumps({"error": {"message": "no credit", "code": "insufficient_quota"}}).encode()
    with scripted(lambda _, n: Reply(429, body)) as proxy:
        with pytest.raises(EndpointFailed, match="no credit"):
            Endpoint(quick(proxy.url, concurrency=1)).complete([ask(0)])
        assert len(proxy.seen) == 1


def test_one_forbidden_text_among_answered_ones_is_its_own_failure() -> None:
    def script(body: dict[str, Any], attempt: int) -> Reply:
        return error(403, "flagged") if asked(body) == "question 5" else ok("fine")

    with scripted(script) as proxy:
        batch = Endpoint(quick(proxy.url, concurrency=1)).complete(map(ask, range(10)))
    assert len(batch.answers) == 9


def test_a_server_that_answers_nothing_ends_the_run_and_keeps_what_came_before() -> None:
    kept: list[Outcome] = []

    def script(body: dict[str, Any], attempt: int) -> Reply:
        return ok("fine") if int(asked(body).split()[1]) < 10 else error(500, "gone")

    with scripted(script) as proxy, pytest.raises(EndpointFailed, match="500: gone"):
        Endpoint(quick(proxy.url, attempts=1)).complete(map(ask, range(1000)), kept.append)
    assert sum(isinstance(outcome, Answer) for outcome in kept) == 10
    assert len(kept) < 100


# --- structured output and other fields that not every server takes --------------------------


def test_json_schema_is_sent_and_the_value_is_read() -> None:
    with scripted(lambda body, n: ok('{"n": 3}')) as proxy:
        batch = Endpoint(quick(proxy.url)).complete([ask(0, schema=SCHEMA)])
        sent = proxy.seen[0].body["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["schema"] == SCHEMA
    assert batch.answers[0].value == {"n": 3}


@pytest.mark.parametrize("sentence", ["response_format is not supported", "bad request"])
def test_a_server_without_json_schema_is_found_out_once(sentence: str) -> None:
    def script(body: dict[str, Any], attempt: int) -> Reply:
        if "response_format" in body:
            return error(400, sentence)
        return ok('Sure:\n```json\n{"n": 3}\n```')

    with scripted(script) as proxy:
        endpoint = Endpoint(quick(proxy.url, concurrency=1))
        batch = endpoint.complete(ask(n, schema=SCHEMA) for n in range(5))
        assert len(proxy.seen) == 6
    assert [answer.value for answer in batch.answers] == [{"n": 3}] * 5
    assert endpoint.left_out == {"response_format": sentence}


def test_refusal_of_a_bad_request_is_not_put_down_to_the_schema() -> None:
    def script(body: dict[str, Any], attempt: int) -> Reply:
        return error(400, "too long") if asked(body) == "question 0" else ok('{"n": 3}')

    with scripted(script) as proxy:
        endpoint = Endpoint(quick(proxy.url, concurrency=1))
        batch = endpoint.complete(ask(n, schema=SCHEMA) for n in range(3))
        assert all("response_format" in seen.body for seen in proxy.seen[2:])
    assert endpoint.left_out == {}
    assert "too long" in batch.failures[0].sentence
    assert len(batch.answers) == 2


def test_every_field_that_a_plain_server_refuses_is_left_out() -> None:
    known = {"model", "messages", "temperature", "max_completion_tokens"}

    def script(body: dict[str, Any], attempt: int) -> Reply:
        if "max_tokens" in body:
            return error(400, "'max_tokens' is not supported. Use 'max_completion_tokens' instead.")
        unknown = sorted(body.keys() - known)
        return error(422, f"unexpected field {unknown[0]}") if unknown else ok("fine")

    request = ask(0, thinking=True, top_log_probs=3, seed=1)
    with scripted(script) as proxy:
        endpoint = Endpoint(quick(proxy.url))
        batch = endpoint.complete([request])
    assert batch.answers[0].text == "fine"
    assert endpoint.left_out.keys() == {"chat_template_kwargs", "logprobs", "seed"}


def test_a_refused_reasoning_effort_is_final_because_the_user_asked_for_it() -> None:
    with scripted(lambda body, n: error(400, "reasoning_effort must be low")) as proxy:
        batch = Endpoint(quick(proxy.url)).complete([ask(0, reasoning_effort="huge")])
        assert proxy.seen[0].body["reasoning_effort"] == "huge"
    assert "reasoning_effort must be low" in batch.failures[0].sentence


def test_answers_without_fitting_json_are_dead_letters(tmp_path: Path) -> None:
    replies = {"question 0": ok('{"n": 1}'), "question 1": ok("I'd rather not")}
    replies["question 2"] = ok('{"n": "on', finish_reason="length")
    letters = tmp_path / "dead.jsonl"
    with scripted(lambda body, n: replies[asked(body)]) as proxy:
        endpoint = Endpoint(quick(proxy.url), dead_letters=letters)
        batch = endpoint.complete(ask(n, schema=SCHEMA) for n in range(3))
        assert len(proxy.seen) == 3  # paid for, and not asked again
    assert [failure.reason for failure in batch.failures] == ["unparsed", "unparsed"]
    assert "token budget" in batch.failures[1].sentence
    texts = {letter["id"]: letter["text"] for letter in read_dead_letters(letters)}
    assert texts == {"1": "I'd rather not", "2": '{"n": "on'}


# --- budget ----------------------------------------------------------------------------------


@settings(max_examples=15)
@given(
    limit=st.integers(1, 1200),
    concurrency=st.integers(1, 6),
    faults=st.lists(st.sampled_from(["ok", "drop", "busy", "silent usage"]), max_size=12),
)
def test_the_budget_is_never_exceeded(limit: int, concurrency: int, faults: list[str]) -> None:
    charged = 0

    def script(body: dict[str, Any], attempt: int) -> Fault:
        nonlocal charged
        number = int(asked(body).split()[1])
        kind = faults[number] if number < len(faults) and attempt == 0 else "ok"
        if kind == "busy":
            return error(503, "busy")
        charged += USAGE["total_tokens"]
        if kind == "drop":
            return Drop()
        return ok("fine", usage=USAGE if kind == "ok" else None)

    with scripted(script) as proxy:
        endpoint = Endpoint(quick(proxy.url, concurrency=concurrency), Budget(tokens=limit))
        batch = endpoint.complete(map(ask, range(30)))
    assert charged <= endpoint.usage.tokens <= limit
    if batch.budget_spent is None:
        assert len(batch.answers) == 30
    else:
        assert "budget" in batch.budget_spent.sentence
        # No more than one request's worst case is left unused.
        assert limit - endpoint.usage.tokens < 2 * (len("question 10") + 32 + 20)


def test_money_is_counted_at_its_prices_and_goes_on_from_what_was_spent() -> None:
    budget = Budget(money=0.1, prompt_price=100.0, completion_price=1000.0)
    one = budget.cost(11, 5)
    with scripted(echo) as proxy:
        first = Endpoint(quick(proxy.url, concurrency=1), budget)
        batch = first.complete(map(ask, range(100)))
        assert batch.budget_spent is not None
        assert 0 < len(batch.answers) * one <= 0.1
        again = Endpoint(quick(proxy.url, concurrency=1), budget, spent=first.usage)
        assert again.complete([ask(7)]).answers == ()
        assert again.usage == first.usage


def test_usage_adds_up() -> None:
    with scripted(echo) as proxy:
        endpoint = Endpoint(quick(proxy.url), spent=Usage(1, 10, 20, 3, 4))
        endpoint.complete(map(ask, range(10)))
    assert endpoint.usage == Usage(11, 120, 70, 3, 4)
    assert endpoint.usage.tokens == 197


# --- the key ---------------------------------------------------------------------------------

KEY = 'sk-very"secret\\0123'


def _everything(proxy: FaultProxy, tmp_path: Path) -> str:
    """What a run leaves behind when the server itself repeats the key in all it says."""
    endpoint = Endpoint(
        quick(proxy.url, api_key_variable="LAB_KEY", attempts=2),
        dead_letters=tmp_path / "dead.jsonl",
    )
    outcomes: list[Outcome] = []
    said = [repr(endpoint), repr(endpoint.settings), repr(vars(endpoint))]
    try:
        said.append(repr(endpoint.complete(map(ask, range(6)), outcomes.append)))
    except EndpointFailed as failed:
        import traceback

        said += [str(failed), repr(failed), "".join(traceback.format_exception(failed))]
    said += [repr(outcomes), repr(vars(endpoint)), repr(endpoint.left_out)]
    said += [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    return "\n".join(said)


@pytest.mark.parametrize("status", [200, 302, 400, 401, 422, 429, 500])
def test_the_key_is_sent_and_never_seen_again(
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LAB_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with scripted(lambda body, n: error(status, f"Incorrect API key provided: {KEY}.")) as proxy:
        said = _everything(proxy, tmp_path)
        assert proxy.seen[0].headers["authorization"] == f"Bearer {KEY}"
    output = capfd.readouterr()
    everything = "\n".join([said, caplog.text, output.out, output.err])
    for form in (KEY, json.dumps(KEY)[1:-1], repr(KEY)[1:-1], "secret"):
        assert form not in everything
    assert "[API key]" in everything


def test_a_key_that_is_a_mere_word_does_not_alter_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_KEY", "EMPTY")
    with scripted(lambda body, n: ok("an EMPTY box")) as proxy:
        endpoint = Endpoint(quick(proxy.url, api_key_variable="LAB_KEY"))
        assert endpoint.complete([ask(0)]).answers[0].text == "an EMPTY box"


def test_without_the_variable_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_KEY", raising=False)
    with scripted(echo) as proxy:
        with pytest.raises(InputError, match="LAB_KEY"):
            Endpoint(quick(proxy.url, api_key_variable="LAB_KEY")).complete([ask(0)])
        assert not proxy.seen


def test_messages_are_sent_as_they_are() -> None:
    request = ask(0, temperature=0.5, seed=7)
    request = type(request)(
        **{**request.__dict__, "messages": (Message("system", "be brief"), Message("user", "é{}"))}
    )
    with scripted(echo) as proxy:
        Endpoint(quick(proxy.url)).complete([request])
        body = proxy.seen[0].body
    assert body == {
        "model": "some-model",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "é{}"},
        ],
        "temperature": 0.5,
        "max_tokens": 20,
        "seed": 7,
    }
