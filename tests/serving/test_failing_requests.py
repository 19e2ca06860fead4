"""Requests that fail or are cut off by the service's end: what is answered, counted and said."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest
from tiny_deployment import LABELS, write_tiny_deployment
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from distillscale.commands.serve import serve_folder
from distillscale.serving.classifier import Classifier, load_classifier

LIMITS = {
    "max_batch": 2, "max_wait_ms": 1.0, "max_queue": 4, "max_texts": 2, "max_characters": 100,
    "max_bytes": 1000,
}  # fmt: skip


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return load_classifier(write_tiny_deployment(tmp_path_factory.mktemp("failing") / "model"))


class Score:
    """Zeros for the warm-up; afterwards what it is told to do; notes the batches."""

    def __init__(self, then: Callable[[], float]) -> None:
        self.then, self.sizes = then, list[tuple[int, int]]()

    def __call__(self, prompts: Sequence[Sequence[int]], batch_size: int):
        self.sizes.append((len(prompts), batch_size))
        value = self.then() if len(self.sizes) > 1 else 0.0
        return np.full((len(prompts), len(LABELS)), value), ()


def held_score() -> tuple[Score, threading.Event, threading.Event]:
    """A score whose first batch after the warm-up waits; when it has begun, and its gate."""
    begun, gate = threading.Event(), threading.Event()

    def wait() -> float:
        begun.set()
        gate.wait(60)
        return 0.0

    return Score(wait), begun, gate


def ask(port: int, method: str, path: str, texts: Sequence[str] = ()) -> tuple[int, bytes]:
    """Status and body; waits until the port is listened on."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(1000):
        try:
            connection.connect()
            break
        except ConnectionRefusedError:
            time.sleep(0.01)
    body = json.dumps({"texts": texts}) if texts else None
    connection.request(method, path, body, {"content-type": "application/json"})
    reply = connection.getresponse()
    try:
        return reply.status, reply.read()
    finally:
        connection.close()


def served(classifier: Classifier, client: Callable[[int], None], monkeypatch) -> None:
    """Serve in this thread while a client runs in another one, which ends it."""
    monkeypatch.setattr("distillscale.commands.serve.load_classifier", lambda _: classifier)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    def run() -> None:
        try:
            client(port)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(run)
        serve_folder(Path("model"), "127.0.0.1", port, **LIMITS)
        ended.result()


def _raise() -> float:
    raise RuntimeError("the model broke on a secret")


@pytest.mark.parametrize("then", [_raise, lambda: float("nan")])
def test_a_model_that_fails_is_answered_and_counted(then, classifier, monkeypatch, capsys):
    score = Score(then)

    def client(port: int) -> None:
        status, body = ask(port, "POST", "/classify", ["Novarix rises", "b"])
        assert status == 500
        assert list(json.loads(body)) == ["error"]
        assert b"secret" not in body
        _, counted = ask(port, "GET", "/metrics")
        wanted = b'distillscale_requests_total{path="/classify",status="500"} 1.0'
        assert wanted in counted

    served(replace(classifier, score=score), client, monkeypatch)
    assert "every request that came in was answered" in capsys.readouterr().out
    assert score.sizes[-1] == (2, 2)  # the batch's size decides how many are read at once


def test_a_text_whose_scores_are_not_finite_fails_alone(classifier, monkeypatch):
    begun, gate = threading.Event(), threading.Event()
    batches: list[list[str]] = []

    def score(prompts: Sequence[Sequence[int]], _: int):
        batches.append([classifier.tokenizer.decode(prompt) for prompt in prompts])
        assert not set().union(*prompts) & set(classifier.tokenizer.all_special_ids)
        if len(batches) == 2:
            begun.set()
            gate.wait(60)
        scores = np.zeros((len(prompts), len(LABELS)))
        scores[["bad" in own for own in batches[-1]], 1] = float("nan")
        return scores, ()

    def client(port: int) -> None:
        with ThreadPoolExecutor(3) as pool:
            first = pool.submit(ask, port, "POST", "/classify", ["a"])
            assert begun.wait(60)
            bad = pool.submit(ask, port, "POST", "/classify", ["bad <end>"])
            good = pool.submit(ask, port, "POST", "/classify", ["good <end>"])
            while b"distillscale_queue 2.0" not in ask(port, "GET", "/metrics")[1]:
                time.sleep(0.01)
            gate.set()
            assert [reply.result()[0] for reply in (first, bad, good)] == [200, 500, 200]
            label = json.loads(good.result()[1])["results"][0]["label"]
            assert label == classifier.deployment.task.labels[0]

    served(replace(classifier, score=score), client, monkeypatch)
    assert len(batches[-1]) == 2  # they shared a batch


def without_unknown_token() -> PreTrainedTokenizerFast:
    """Its words are the letters of ASCII; it can read no others."""
    letters = ["\n", *map(chr, range(32, 127))]
    backend = Tokenizer(models.WordLevel({letter: n for n, letter in enumerate(letters)}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>")


def test_a_text_that_the_tokenizer_cannot_read_fails_alone(classifier, monkeypatch):
    score, begun, gate = held_score()

    def client(port: int) -> None:
        with ThreadPoolExecutor(3) as pool:
            first = pool.submit(ask, port, "POST", "/classify", ["a"])
            assert begun.wait(60)
            bad = pool.submit(ask, port, "POST", "/classify", ["é"])
            good = pool.submit(ask, port, "POST", "/classify", ["b"])
            while b"distillscale_queue 2.0" not in ask(port, "GET", "/metrics")[1]:
                time.sleep(0.01)
            gate.set()
            assert [reply.result()[0] for reply in (first, bad, good)] == [200, 422, 200]
            said = json.loads(bad.result()[1])["error"]
            assert "the model's tokenizer does not know" in said

    tokenizer = without_unknown_token()
    served(replace(classifier, tokenizer=tokenizer, score=score), client, monkeypatch)
    assert [count for count, _ in score.sizes] == [1, 1, 1]  # the warm-up, the first, the good one


def test_requests_that_outlast_the_grace_are_refused_not_computed_and_told(
    classifier, monkeypatch, capsys
):
    monkeypatch.setattr("distillscale.serving.server._GRACE_SECONDS", 0.2)
    score, begun, gate = held_score()

    def client(port: int) -> None:
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(ask, port, "POST", "/classify", ["a", "b"])
            assert begun.wait(60)
            second = pool.submit(ask, port, "POST", "/classify", ["c", "d"])
            while b"distillscale_queue 2.0" not in ask(port, "GET", "/metrics")[1]:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)
            replies = [first.result(), second.result()]
            monkeypatch.setattr("os.kill", lambda *_: None)  # it was sent
            gate.set()
        assert [status for status, _ in replies] == [503, 503]
        assert all(list(json.loads(body)) == ["error"] for _, body in replies)

    served(replace(classifier, score=score), client, monkeypatch)
    assert capsys.readouterr().out.endswith("given up because they took too long: 2.\n")
    assert len(score.sizes) == 2  # the warm-up and the first request
