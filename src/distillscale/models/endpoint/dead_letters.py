"""A file of the requests that got no answer, for a human to look at."""

import json
import os
from pathlib import Path

from distillscale.models.endpoint.exchange import Failure


class DeadLetters:
    """Appends failures to a JSONL file: id, reason, sentence, and the text that did not parse.

    A request that fails in the same way again, in this run or a resumed one, is not repeated. The
    file is made with the first failure.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = {(line["id"], line["reason"]) for line in read_dead_letters(path)}

    def append(self, failure: Failure) -> None:
        """Write one failure."""
        if (failure.request_id, failure.reason) in self._known:
            return
        self._known.add((failure.request_id, failure.reason))
        line = {
            "id": failure.request_id,
            "reason": failure.reason,
            "sentence": failure.sentence,
            "text": failure.text,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            if file.tell() and not _ends_line(self._path):
                file.write(b"\n")  # a killed process left half a line
            file.write(json.dumps(line).encode() + b"\n")


def read_dead_letters(path: Path) -> list[dict[str, str | None]]:
    """The failures in a file, without a line that a killed process left half written."""
    if not path.exists():
        return []
    letters = []
    for line in path.read_bytes().splitlines():
        try:
            letter = json.loads(line)
        except ValueError:
            continue
        if isinstance(letter, dict) and {"id", "reason"} <= letter.keys():
            letters.append(letter)
    return letters


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
