"""Load on `distillscale serve` over loopback: requests a second, latency, errors, bad inputs.

A student as `compress` leaves it is stood in for by the lab's teacher (1.6 million parameters, 35
classes) with the task `fin-headlines`: `serve` in a process of its own, and clients that each keep
one request of one text under way. Models compute on one thread everywhere; the clients share the
machine. Parts:

* the export to ONNX, fp32 and int8: macro F1, equal decisions, milliseconds a text in batches;
* saturation: `--clients` clients for `--seconds`; anything but 200 with a known label counts as an
  error, and so does an answer that differs from the one to the same text before;
* one client alone: what the service adds to a decision when nothing is shared;
* peers, on the same texts and threads: the same model asked one text at a time in a plain loop
  without HTTP (`decide`, batches of one); and `transformers serve`, whose answers are free text,
  with as many clients;
* bad inputs while it is under load: oversized, malformed, binary and 10 MB, each must get a 4xx.

    python bench/serve.py                  # 10 minutes at saturation
    python bench/serve.py --seconds 30     # a try
    python bench/serve.py --backend int8   # the exported graph instead of torch, or `onnx`
"""

import argparse
import asyncio
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch

from distillscale.commands.export import ExportRequest, export
from distillscale.commands.publication import write_test_texts
from distillscale.lab.examples import lab_examples
from distillscale.lab.teacher import shipped_teacher
from distillscale.lab.world import make_world
from distillscale.serving.classifier import INT8_FILE, load_classifier
from distillscale.serving.deployment import Deployment, write_deployment
from distillscale.tasks import Example, load_task
from result import save

TASK, TEXTS, PEER_SECONDS, THREADS = "fin-headlines", 512, 15.0, 1
BAD_INPUTS: dict[str, tuple[bytes, str]] = {
    "oversized text": (json.dumps({"texts": ["a" * 5000]}).encode(), "application/json"),
    "too many texts": (json.dumps({"texts": ["a"] * 65}).encode(), "application/json"),
    "malformed": (b'{"texts": [', "application/json"),
    "wrong type": (b'{"texts": 7}', "application/json"),
    "binary": (bytes(range(256)) * 64, "application/json"),
    "binary, as such": (os.urandom(10_000), "application/octet-stream"),
    "10 MB of JSON": (json.dumps({"texts": ["a" * 10_000_000]}).encode(), "application/json"),
    "10 MB, binary": (os.urandom(10_000_000), "application/octet-stream"),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--backend", choices=["torch", "onnx", "int8"], default="torch")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as name:
        report = measured(Path(name), arguments.backend, arguments.clients, arguments.seconds)
    save("serve_cpu", {**vars(arguments), "threads": THREADS, **report})


def measured(work: Path, backend: str, clients: int, seconds: float) -> dict[str, Any]:
    examples = headlines()
    texts = [example.text for example in examples]
    student, exported = deployed(work / "model", examples), work / "onnx"
    export(ExportRequest(student, True, None, "text", "label"), exported)
    graphs = json.loads((exported / "export.json").read_text())
    if backend == "onnx":
        (exported / INT8_FILE).unlink()
    loop = one_at_a_time(student, texts)
    with serving(student if backend == "torch" else exported) as address:
        alone = asyncio.run(load(address, texts, clients=1, seconds=PEER_SECONDS))
        bad = Refusals(address)
        bad.start()
        full = asyncio.run(load(address, texts, clients=clients, seconds=seconds))
        refused = bad.finish()
    peer = transformers_serve(work, texts, clients)
    answers = [status for seen in refused.values() for status in seen]
    return {
        "export": graphs,
        "saturation": full.summary(),
        "one_client": alone.summary(),
        "plain_loop": loop,
        "transformers_serve": peer,
        "over_plain_loop": full.rate / loop["per_second"],
        "over_transformers_serve": full.rate / peer["per_second"] if peer else None,
        "bad_inputs": refused,
        "ok": not full.errors
        and not alone.errors
        and set(refused) == set(BAD_INPUTS)
        and all(status.startswith("4") for status in answers),
    }


@dataclass
class Load:
    """What a run of clients saw."""

    started: float
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def summary(self) -> dict[str, Any]:
        ms = 1000 * np.array(self.latencies)
        p50, p99 = np.percentile(ms, [50, 99])
        return {
            "requests": len(ms),
            "per_second": self.rate,
            "p50_ms": p50,
            "p99_ms": p99,
            "largest_ms": float(ms.max()),
            "errors": dict(self.errors),
        }


def headlines() -> list[Example]:
    examples = lab_examples(TASK, make_world(), train=8, validation=8, test=TEXTS, seed=0)
    return [example for example in examples if example.split == "test"]


def deployed(folder: Path, test: list[Example]) -> Path:
    shutil.copytree(shipped_teacher(), folder)
    write_deployment(Deployment(load_task(TASK), "none", 256), folder)
    write_test_texts(test, folder)
    return folder


def one_at_a_time(folder: Path, texts: list[str]) -> dict[str, float]:
    """The same decisions in a plain loop: no HTTP, no batches."""
    classifier = load_classifier(folder)
    classifier.classify(texts[:4])
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < PEER_SECONDS:
        classifier.classify([texts[done % len(texts)]])
        done += 1
    return {"per_second": done / (time.perf_counter() - started)}


async def load(address: str, texts: list[str], *, clients: int, seconds: float) -> Load:
    """Keep `clients` requests under way for `seconds`; labels of one text must stay the same."""
    result, labels = Load(time.perf_counter()), dict[str, str]()
    await asyncio.gather(
        *(
            client(address, texts[n::clients] or texts, labels, result, seconds)
            for n in range(clients)
        )
    )
    result.seconds = time.perf_counter() - result.started
    return result


async def client(
    address: str, texts: list[str], labels: dict[str, str], result: Load, seconds: float
) -> None:
    """One keep-alive connection; HTTP by hand, because clients share the cores with the server."""
    host, port = urlsplit(address).hostname, urlsplit(address).port
    reader, writer = await asyncio.open_connection(host, port)
    number = 0
    while time.perf_counter() - result.started < seconds:
        text = texts[number % len(texts)]
        number += 1
        sent = time.perf_counter()
        body = json.dumps({"texts": [text]}).encode()
        head = f"POST /classify HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        try:
            status, content = await answer(reader)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            result.errors[type(error).__name__] += 1
            writer.close()
            reader, writer = await asyncio.open_connection(host, port)
            continue
        result.latencies.append(time.perf_counter() - sent)
        if status != 200:
            result.errors[str(status)] += 1
        elif (
            labels.setdefault(text, content["results"][0]["label"])
            != content["results"][0]["label"]
        ):
            result.errors["another answer"] += 1
    writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, Any]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.split("content-length:")[1].split("\r\n")[0])
    return int(head.split()[1]), json.loads(await reader.readexactly(length))


class Refusals(threading.Thread):
    """Sends bad inputs, a round every few seconds, and counts what they get."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._netloc = urlsplit(address).netloc
        self._ended = threading.Event()
        self._seen: dict[str, Counter[str]] = {name: Counter() for name in BAD_INPUTS}

    def run(self) -> None:
        while True:
            for name, (body, kind) in BAD_INPUTS.items():
                self._seen[name][self._status(body, kind)] += 1
            if self._ended.wait(5):
                return

    def finish(self) -> dict[str, dict[str, int]]:
        self._ended.set()
        self.join()
        return {name: dict(seen) for name, seen in self._seen.items()}

    def _status(self, body: bytes, kind: str) -> str:
        connection = http.client.HTTPConnection(self._netloc, timeout=60)
        try:
            connection.request("POST", "/classify", body, {"content-type": kind})
            return str(connection.getresponse().status)
        except OSError as error:
            return type(error).__name__
        finally:
            connection.close()


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """`distillscale serve` on a free port; ends it by SIGTERM and wants exit code 0."""
    command = [sys.executable, "-m", "distillscale", "serve", str(folder), "--port", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield line.split(" at ")[1].split(";")[0]
        process.terminate()
        if process.wait(60) != 0:
            raise RuntimeError(f"the server ended with {process.returncode}")
    finally:
        process.kill()


def transformers_serve(folder: Path, texts: list[str], clients: int) -> dict[str, Any] | None:
    """The same model behind `transformers serve`: it writes an answer of up to 8 tokens.

    None where the server does not start (it needs the extra `test`).
    """
    sys.path.append(str(Path(__file__).parents[1] / "tests" / "models" / "endpoint"))
    from lab_server import serving as serving_teacher
    from lab_server import write_chat_teacher

    teacher = folder / "chat" / "teacher"
    teacher.parent.mkdir()
    write_chat_teacher(teacher)
    try:
        with serving_teacher(teacher) as server:
            return asyncio.run(chat_load(server.port, server.model, texts, clients))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return None


async def chat_load(port: int, model: str, texts: list[str], clients: int) -> dict[str, Any]:
    latencies: list[float] = []
    errors: Counter[str] = Counter()
    started = time.perf_counter()

    async def chat(own: list[str]) -> None:
        number = 0
        while time.perf_counter() - started < PEER_SECONDS:
            message = {"role": "user", "content": f"Headline: {own[number % len(own)]}"}
            number += 1
            body = json.dumps(
                {"model": model, "messages": [message], "max_tokens": 8, "temperature": 0}
            ).encode()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            sent = time.perf_counter()
            head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            content = await reader.read()
            writer.close()
            if content.startswith(b"HTTP/1.1 200"):
                latencies.append(time.perf_counter() - sent)
            else:
                errors[content[:12].decode(errors="replace")] += 1

    await asyncio.gather(*(chat(texts[n::clients] or texts) for n in range(clients)))
    seconds = time.perf_counter() - started
    return {"per_second": len(latencies) / seconds, "errors": dict(errors)}


if __name__ == "__main__":
    main()
