"""A real `distillscale serve` process on loopback, and requests to it by the standard library."""

import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_LONGEST_START = 120.0


@dataclass(frozen=True)
class Reply:
    """Status, headers and body of an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    """A server that runs: its process and its address."""

    process: subprocess.Popen[str]
    host: str
    port: int

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict | None = None
    ) -> Reply:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            names = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, names, reply.read())
        finally:
            connection.close()

    def get(self, path: str) -> Reply:
        return self.request("GET", path)

    def post(self, body: bytes | str, path: str = "/classify", **headers: str) -> Reply:
        content = body.encode() if isinstance(body, str) else body
        return self.request("POST", path, content, {"content-type": "application/json"} | headers)

    def classify(self, *texts: str) -> Reply:
        return self.post(json.dumps({"texts": texts}))


@contextmanager
def serving_folder(folder: Path, *options: str) -> Iterator[Served]:
    """Serve a folder on a free port until the block ends."""
    command = [sys.executable, "-m", "distillscale", "serve", str(folder), "--port", "0", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with (folder.parent / "server.log").open("w+") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
        late = threading.Timer(_LONGEST_START, process.kill)
        late.start()
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("serving "):
                log.seek(0)
                raise RuntimeError(f"the server did not start: {line}{log.read()}")
            late.cancel()
            address = urlsplit(line.split(" at ")[1].split(";")[0])
            yield Served(process, str(address.hostname), int(address.port or 0))
        finally:
            late.cancel()
            process.kill()
            process.wait()
