"""A run's folder on disk: written after every iteration so that any kill loses at most one.

    FOLDER/checkpoint/state.json        written last, under another name and renamed: it alone
                                        says which of the other files count
    FOLDER/checkpoint/corpus-00001.parquet, dropped-00001.parquet   one of each an iteration
    FOLDER/checkpoint/index/            vectors and lists of the index of near-duplicates
    FOLDER/checkpoint/journal/          an endpoint's answers in the iteration under way
    FOLDER/examples.parquet, dropped.parquet, report.json           when the run has stopped

Each iteration draws from a random stream that the seed and its number name, so the two together
are the random state.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distillscale.data.examples import EXAMPLES_FILE
from distillscale.data.generation.recipe import Recipe
from distillscale.data.generation.records import NO_USAGE, Dropped, Iteration
from distillscale.data.near_duplicates import NearDuplicateIndex
from distillscale.errors import DamagedArtifact, InputError
from distillscale.models.endpoint import Usage
from distillscale.tasks import Example

_FORMAT = 1

CORPUS_SCHEMA = pa.schema([(field.name, pa.string()) for field in dataclasses.fields(Example)])
"""Columns of `tasks.Example`."""

DROPPED_SCHEMA = pa.schema(
    [
        ("iteration", pa.int32()),
        ("text", pa.string()),
        ("label", pa.string()),
        ("category", pa.string()),
        ("reason", pa.string()),
        ("keeper", pa.string()),
        ("keeper_text", pa.string()),
        ("similarity", pa.float32()),
    ]
)
"""Columns of `Dropped`."""


@dataclass(frozen=True)
class State:
    """What the next iteration starts from.

    Attributes:
        iterations: the complete ones.
        weights: of the categories, for the next one.
        few_shot: by category, for the next one.
        usage: of the endpoint, so far.
        rows: of the index of near-duplicates.
        files: SHA-256 of each part of corpus and dropped rows, by name, in their order.
    """

    iterations: tuple[Iteration, ...]
    weights: Mapping[str, float]
    few_shot: Mapping[str, tuple[Example, ...]]
    usage: Usage = NO_USAGE
    rows: int = 0
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def total(self) -> int:
        """Accepted rows."""
        return self.iterations[-1].total if self.iterations else 0

    @property
    def next_iteration(self) -> int:
        """The number of the iteration that comes next."""
        return len(self.iterations) + 1


class Checkpoint:
    """The folder of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._inner = folder / "checkpoint"
        self._state_file = self._inner / "state.json"

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self._state_file.exists()

    def begin(self, recipe: Recipe, state: State) -> None:
        """Write the state before the first iteration, so that it is known what was begun."""
        self._inner.mkdir(parents=True, exist_ok=True)
        self._write_state(recipe, state)

    def save(
        self,
        recipe: Recipe,
        state: State,
        index: NearDuplicateIndex,
        accepted: Sequence[Example],
        dropped: Sequence[Dropped],
    ) -> State:
        """Write an iteration: its rows, the index, last the state; returns it with checksums."""
        number = len(state.iterations)
        files = dict(state.files)
        for kind, rows, schema in (
            ("corpus", accepted, CORPUS_SCHEMA),
            ("dropped", dropped, DROPPED_SCHEMA),
        ):
            path = self._inner / f"{kind}-{number:05d}.parquet"
            table = pa.Table.from_pylist([dataclasses.asdict(row) for row in rows], schema)
            _write_table([table], schema, path)
            files[path.name] = _checksum(path)
        index.save(self._inner / "index")
        state = dataclasses.replace(state, rows=len(index), files=files)
        self._write_state(recipe, state)
        return state

    def load(self, recipe: Recipe) -> State:
        """Read the state.

        Raises:
            InputError: the run was begun with another recipe.
            DamagedArtifact: a file is not what was written.
        """
        content = self._content()
        recipe.check_same(content["recipe"], f"--out {self.folder}")
        state = State(
            iterations=tuple(_iteration(item) for item in content["iterations"]),
            weights=content["weights"],
            few_shot={
                category: tuple(Example(**item) for item in items)
                for category, items in content["few_shot"].items()
            },
            usage=Usage(**content["usage"]),
            rows=content["rows"],
            files=content["files"],
        )
        for name, checksum in state.files.items():
            path = self._inner / name
            if not path.is_file() or _checksum(path) != checksum:
                raise DamagedArtifact(f"{path}: it is not what was written.")
        return state

    def load_index(self, state: State) -> NearDuplicateIndex:
        """Read the index of near-duplicates as it was at a state that holds rows.

        Raises:
            DamagedArtifact: a file is not what was written.
        """
        try:
            return NearDuplicateIndex.load(self._inner / "index", state.rows)
        except InputError as error:
            raise DamagedArtifact(str(error)) from error

    def accepted(self, state: State) -> Iterator[pa.Table]:
        """The accepted rows, part by part."""
        return self._parts(state, "corpus-")

    def write_tables(self, state: State) -> None:
        """Join the parts to `examples.parquet` and `dropped.parquet`, one part at a time."""
        _write_table(self.accepted(state), CORPUS_SCHEMA, self.folder / EXAMPLES_FILE)
        dropped = self._parts(state, "dropped-")
        _write_table(dropped, DROPPED_SCHEMA, self.folder / "dropped.parquet")

    def _write_state(self, recipe: Recipe, state: State) -> None:
        content = {
            "format": _FORMAT,
            "recipe": recipe.to_json(),
            "random": {"seed": recipe.seed, "next_stream": state.next_iteration},
            **dataclasses.asdict(state),
        }
        write_text(json.dumps(content, indent=1), self._state_file)

    def _parts(self, state: State, prefix: str) -> Iterator[pa.Table]:
        for name in state.files:
            if name.startswith(prefix):
                yield pq.read_table(self._inner / name)

    def _content(self) -> dict[str, Any]:
        try:
            content = json.loads(self._state_file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DamagedArtifact(f"{self._state_file}: it is not what was written.") from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise DamagedArtifact(f"{self._state_file}: another version wrote it.")
        return content


def write_text(text: str, path: Path) -> None:
    """Write a file under another name and rename it: one of the right name is a whole one."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _write_table(parts: Iterable[pa.Table], schema: pa.Schema, path: Path) -> None:
    unfinished = path.with_name(f"{path.name}.unfinished")
    with pq.ParquetWriter(unfinished, schema) as writer:
        for part in parts:
            writer.write_table(part)
    unfinished.replace(path)


def _iteration(item: Mapping[str, Any]) -> Iteration:
    return Iteration(**{**item, "similarities": tuple(item["similarities"])})


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
