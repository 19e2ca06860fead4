"""The service as a process on loopback: answers, limits, load, metrics and its end."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from served import Served, serving_folder
from tiny_deployment import LABELS, texts, write_tiny_deployment

from distillscale.errors import InputError
from distillscale.serving.app import ServiceSettings
from distillscale.serving.classifier import load_classifier
from distillscale.serving.server import serve

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_deployment(tmp_path_factory.mktemp("served") / "model")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Served]:
    with serving_folder(folder, "--max-texts", "8", "--max-characters", "200") as server:
        yield server


def samples(server: Served) -> dict[tuple[str, ...], float]:
    """Values of /metrics by name and label values."""
    families = text_string_to_metric_families(server.get("/metrics").body.decode())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_it_answers_as_the_classifier_does(server: Served, folder: Path):
    chosen = texts(8, seed=1)
    wanted = load_classifier(folder).classify(chosen)
    reply = server.classify(*chosen)
    assert reply.status == 200
    results = reply.json["results"]
    assert [one["label"] for one in results] == [one.label for one in wanted]
    for one, expected in zip(results, wanted, strict=True):
        assert one["probability"] == pytest.approx(expected.probability, abs=1e-5)
        assert one["reasoning"] is None


def test_many_clients_at_once_each_get_their_own_answer(server: Served, folder: Path):
    chosen = texts(9, seed=2)
    wanted = {
        text: one.label
        for text, one in zip(chosen, load_classifier(folder).classify(chosen), strict=True)
    }
    before = samples(server)
    with ThreadPoolExecutor(16) as pool:
        asked = [chosen[number % 9] for number in range(160)]
        replies = list(pool.map(server.classify, asked))
    assert {reply.status for reply in replies} == {200}
    found = [reply.json["results"][0]["label"] for reply in replies]
    assert found == [wanted[text] for text in asked]
    after = samples(server)

    def more(*name: str) -> float:
        return after[name] - before.get(name, 0)

    assert more("distillscale_requests_total", "/classify", "200") == 160
    assert more("distillscale_batch_size_sum") == 160
    assert more("distillscale_batch_size_count") < 160  # some shared a batch
    assert sum(more("distillscale_decisions_total", label) for label in LABELS) == 160
    assert after[("distillscale_queue",)] == 0


BAD = {
    "no JSON": (b"{", 422),
    "not an object": (b"[1]", 422),
    "no texts": (b"{}", 422),
    "none of them": (b'{"texts": []}', 422),
    "a text for a list": (b'{"texts": "Novarix"}', 422),
    "numbers": (b'{"texts": [1]}', 422),
    "blank": (b'{"texts": [" \\n"]}', 422),
    "half a surrogate pair": (b'{"texts": ["\\ud800"]}', 422),
    "half a surrogate pair as a name": (b'{"texts": ["a"], "\\ud800": 1}', 422),
    "an unknown field": (b'{"texts": ["a"], "text": "b"}', 422),
    "too many": (json.dumps({"texts": ["a"] * 9}).encode(), 422),
    "too long": (json.dumps({"texts": ["a" * 201]}).encode(), 422),
    "too long for the context": (json.dumps({"texts": ["é" * 190]}).encode(), 422),
    "deeply nested": (b"[" * 100_000, 400),
    "binary": (bytes(range(256)) * 40, 422),
    "no UTF-8": (b'{"texts": ["\xff"]}', 400),
    "10 MB of zeros": (b"\0" * 10_000_000, 413),
    "10 MB of JSON": (json.dumps({"texts": ["a" * 10_000_000]}).encode(), 413),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_refused_in_one_sentence(server: Served, name: str):
    body, status = BAD[name]
    reply = server.post(body)
    assert reply.status == status
    assert list(reply.json) == ["error"]
    assert 0 < len(reply.json["error"]) < 200
    assert server.classify("Novarix rises").status == 200


def test_the_name_of_an_unknown_field_does_not_come_back(server: Served):
    said = server.post('{"texts": ["a"], "secret name": 1}').json["error"]
    assert said == "body: Extra inputs are not permitted."


def test_a_body_without_its_length_is_limited_too(server: Served):
    with socket.create_connection((server.host, server.port), timeout=60) as connection:
        head = "POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        chunk = b"%x\r\n%s\r\n" % (2**16, b"a" * 2**16)
        connection.sendall(chunk * 40 + b"0\r\n\r\n")
        assert b"413" in connection.recv(4096).split(b"\r\n", 1)[0]


@pytest.mark.parametrize(
    "bytes_sent", [b"\x16\x03\x01\x02\x00\x01", b"\0" * 70_000, b"GET\r\n\r\n"]
)
def test_what_is_no_http_does_not_disturb_it(server: Served, bytes_sent: bytes):
    with socket.create_connection((server.host, server.port), timeout=60) as connection:
        connection.sendall(bytes_sent)
        connection.shutdown(socket.SHUT_WR)
    assert server.get("/health").status == 200


def test_other_paths_and_methods_are_refused(server: Served):
    assert server.get("/").status == 404
    assert server.get("/classify").status == 405
    assert server.post("{}", path="/health").status == 405
    assert server.request("POST", "/classify", b'{"texts": ["a"]}').status == 422  # no media type


def test_health_says_what_runs(server: Served):
    health = server.get("/health").json
    assert health["status"] == "ok"
    assert health["task"] == "news"
    assert health["backend"] == "torch"
    assert set(health["classes"]) == set(LABELS)


def test_the_openapi_page_states_the_limits(server: Served):
    assert b"swagger" in server.get("/docs").body.lower()
    schema = server.get("/openapi.json").json
    field = schema["components"]["schemas"]["ClassifyRequest"]["properties"]["texts"]
    assert (field["minItems"], field["maxItems"], field["items"]["maxLength"]) == (1, 8, 200)
    assert {"200", "413", "422", "503"} <= set(schema["paths"]["/classify"]["post"]["responses"])


def test_a_port_that_is_taken_is_one_sentence(server: Served, folder: Path):
    with pytest.raises(InputError, match=f"--port {server.port}: nothing can listen there"):
        serve(load_classifier(folder), ServiceSettings(), server.host, server.port, print)


def test_a_full_queue_says_when_to_come_back_and_sigterm_lets_requests_finish(folder: Path):
    """The first text waits three seconds for others; one more is one too many."""
    options = ("--max-wait-ms", "3000", "--max-queue", "1", "--max-texts", "1")
    with serving_folder(folder, *options) as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.classify, "Novarix rises")
        while samples(server)[("distillscale_queue",)] == 0:
            time.sleep(0.01)
        refused = server.classify("Orbital falls")
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert not first.done()
        server.process.send_signal(signal.SIGTERM)
        answered = first.result()
        assert answered.status == 200
        assert answered.json["results"][0]["label"] in LABELS
        assert server.process.wait(timeout=60) == 0
        with pytest.raises(ConnectionRefusedError):
            server.get("/health")


def test_ctrl_c_ends_it_too_and_no_idle_connection_keeps_it_alive(folder: Path):
    with serving_folder(folder) as server:
        idle = socket.create_connection((server.host, server.port))
        assert server.classify("Novarix").status == 200
        os.kill(server.process.pid, signal.SIGINT)
        assert server.process.wait(timeout=60) == 130
        idle.close()
