"""Answers of an endpoint as they come, kept until their iteration is complete."""

import dataclasses
import json
import unicodedata
from pathlib import Path
from types import TracebackType
from typing import Any

from distillscale.models.endpoint import Answer, Outcome, Usage


class Journal:
    """Appends outcomes to a JSONL file, and knows those that an earlier process wrote there.

    `texts` holds the texts of each answered request.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = _lines(path)
        self.texts: dict[str, tuple[str, ...]] = {
            line["id"]: tuple(line["texts"]) for line in lines if line["texts"] is not None
        }
        whole = "".join(json.dumps(line) + "\n" for line in lines).encode()
        path.write_bytes(whole)  # without a line that a killed process left half written
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> "Journal":
        """The journal itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()

    def append(self, outcome: Outcome) -> None:
        """Write an outcome; of a failure only what it took, so that it is asked again."""
        texts = _texts(outcome) if isinstance(outcome, Answer) else None
        if texts is not None:
            self.texts[outcome.request_id] = texts
        usage = dataclasses.asdict(outcome.usage)
        line = {"id": outcome.request_id, "texts": texts, "usage": usage}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def spent_in(path: Path) -> Usage:
    """What the requests in a journal took."""
    return sum((Usage(**line["usage"]) for line in _lines(path)), start=Usage())


def _texts(answer: Answer) -> tuple[str, ...]:
    """The texts of an answer, composed (NFC) and without outer spaces."""
    texts = (unicodedata.normalize("NFC", text).strip() for text in answer.value["texts"])
    return tuple(text for text in texts if text)


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:  # half written by a process that was killed
            break
    return lines
