"""A real OpenAI-compatible server for tests: `transformers serve` with the lab's teacher.

The teacher writes plain text, so the copy that is served gets a chat template that renders the
user's message and the cue for a depth of reasoning, and a response template that tells the
reasoning from the answer, as those of instruction-tuned models do.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from distillscale.lab.teacher import shipped_teacher

_CHAT_TEMPLATE = (
    "{%- set system = messages[0]['content'] if messages[0]['role'] == 'system' else '' -%}"
    "{{ messages[-1]['content'] }}"
    "{%- if not enable_thinking %}{{ '\nAnswer:' }}"
    "{%- elif 'one short sentence' in system %}{{ '\nThink briefly:' }}"
    "{%- else %}{{ '\nThink:' }}{% endif -%}"
)
_RESPONSE_TEMPLATE = {
    "defaults": {"role": "assistant"},
    "start_anchor": ["\nThink", "\nAnswer:"],
    "fields": {
        "reasoning_content": {
            "open_pattern": r"^( briefly)?:",
            "close": "\nAnswer:",
            "content": "text",
        },
        "content": {"close": "<end>", "content": "text"},
    },
}
_LONGEST_START = 120.0


@dataclass(frozen=True)
class LabServer:
    """A running server: where it listens and how it calls its model."""

    port: int
    model: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


def write_chat_teacher(folder: Path) -> None:
    """A copy of the shipped teacher with a chat template and a response template."""
    shutil.copytree(shipped_teacher(), folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config |= {"chat_template": _CHAT_TEMPLATE, "response_template": _RESPONSE_TEMPLATE}
    path.write_text(json.dumps(config))


@contextmanager
def serving(folder: Path) -> Iterator[LabServer]:
    """Serve a checkpoint folder on a free loopback port until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    log = folder.parent / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        _wait_until_healthy(port, process, log)
        yield LabServer(port, str(folder))
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait_until_healthy(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _LONGEST_START
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as response:
                assert response.status == 200
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"transformers serve did not start:\n{log.read_text()[-2000:]}")
