"""A file that votes are appended to as they come, and read from after a kill."""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from distillscale.errors import InputError
from distillscale.models.endpoint import Usage
from distillscale.teachers.votes import Vote

Key = tuple[str, int]
"""An example's id and the number of a vote on it."""

NOTHING = Usage()
_BATCH, _SECONDS = 32, 2.0
"""Votes, and the time, after which what was appended is made safe on the disk."""


class Journal:
    """The votes of one annotation: one JSON object a line, after a line with the run's identity.

    `labels` has the label of every vote that is there, `spent` what they and the requests without
    an answer took.

    Only labels and places in the file are held in memory, so that reasoning and log-probabilities
    of many examples need not fit. A line that a killed process left half written is cut off.

    Args:
        identity: what decides about the votes (task, model, prompt settings, texts); plain JSON.

    Raises:
        InputError: the file holds votes of another identity, or is damaged before its end.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self._path = path
        self.labels: dict[Key, str | None] = {}
        self.spent = Usage()
        self._places: dict[Key, int] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        self._pending, self._last_sync = 0, time.monotonic()
        try:
            self._replay(dict(identity))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Journal":
        """The journal itself; it is closed, and safe on the disk, at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Make everything safe on the disk."""
        self.sync()
        self._file.close()

    def add(self, vote: Vote, taken: Usage = NOTHING) -> None:
        """Append a vote and what it took; a vote that is there already is not repeated."""
        if (vote.example_id, vote.number) in self._places:
            return
        self._remember(vote, taken, self._append({"vote": asdict(vote), "taken": asdict(taken)}))
        self._pending += 1
        if self._pending >= _BATCH or time.monotonic() - self._last_sync > _SECONDS:
            self.sync()

    def charge(self, taken: Usage) -> None:
        """Append what a request without a vote took."""
        self._append({"vote": None, "taken": asdict(taken)})
        self.spent += taken

    def sync(self) -> None:
        """Make what was appended safe on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._pending, self._last_sync = 0, time.monotonic()

    def votes(self, keys: Iterator[Key]) -> Iterator[Vote]:
        """Read votes back, in the order of the keys; those that are not there are left out."""
        self._file.flush()
        with self._path.open("rb") as file:
            for key in keys:
                if key in self._places:
                    file.seek(self._places[key])
                    vote, _ = _entry(json.loads(file.readline()))
                    assert vote is not None
                    yield vote

    def _replay(self, identity: dict[str, Any]) -> None:
        self._file.seek(0)
        place = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                break  # cut off below
            try:
                content = json.loads(line)
                if number == 1:
                    self._check_identity(content, identity)
                else:
                    self._remember(*_entry(content), place)
            except (ValueError, TypeError) as error:
                raise InputError(
                    f"{self._path}: line {number} is damaged ({error}); remove the line, or name "
                    "a new folder."
                ) from error
            place += len(line)
        self._file.truncate(place)
        if place == 0:
            self._append(identity)
            self.sync()

    def _remember(self, vote: Vote | None, taken: Usage, place: int) -> None:
        self.spent += taken
        if vote is not None:
            self.labels[vote.example_id, vote.number] = vote.label
            self._places[vote.example_id, vote.number] = place

    def _check_identity(self, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        for name in sorted(found.keys() | wanted.keys()):
            if found.get(name) != wanted.get(name):
                raise InputError(
                    f"{self._path}: it holds votes of another run, whose {name} is "
                    f"`{found.get(name)}` instead of `{wanted.get(name)}`; name a new folder, or "
                    "repeat that run's options."
                )

    def _append(self, content: Mapping[str, Any]) -> int:
        place = self._file.seek(0, os.SEEK_END)
        self._file.write(json.dumps(content).encode() + b"\n")
        return place


def texts_identity(texts: Iterator[tuple[str, str]]) -> str:
    """A hash of examples' ids and texts, in order, for the identity of a run."""
    digest = hashlib.sha256()
    for pair in texts:
        digest.update(json.dumps(pair).encode())
    return digest.hexdigest()


def _entry(content: Mapping[str, Any]) -> tuple[Vote | None, Usage]:
    """What a line holds; a TypeError where it is none that this module wrote."""
    if not isinstance(content, dict) or content.keys() != {"vote", "taken"}:
        raise TypeError("it holds no vote")
    vote, taken = content["vote"], Usage(**content["taken"])
    if vote is None:
        return None, taken
    return Vote(**{name: _frozen(value) for name, value in vote.items()}), taken


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
