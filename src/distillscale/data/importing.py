"""A user's table made into a corpus: streamed, checked row by row, every bad row named or counted.

Of each row only hashes of its id and its text stay in memory, 8 bytes each.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from ruamel.yaml import YAML

from distillscale.data.examples import EXAMPLES_FILE, SCHEMA, TASK_FILE
from distillscale.data.labelled_file import cell_text
from distillscale.data.rows import Row
from distillscale.data.split import normalised
from distillscale.errors import InputError
from distillscale.tasks import ClassDefinition, Example, Split, Task
from distillscale.tasks.task import check_task

DROPPED_FILE = "dropped.parquet"
_DROPPED_SCHEMA = pa.schema([("row", pa.int64()), ("reason", pa.string()), ("says", pa.string())])
_BATCH = 16_384
_MOST_LABELS = 1000


@dataclass(frozen=True)
class Columns:
    """The columns of a table that make an example; without `id`, rows are numbered."""

    text: str
    label: str
    id: str | None = None
    category: str | None = None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Those that are wanted, in the order in which a row holds them."""
        return tuple(name for name in (self.text, self.label, self.id, self.category) if name)


@dataclass(frozen=True)
class Origin:
    """Where rows come from: `name` in sentences and cards, `split` of all rows."""

    name: str
    split: Split

    @cached_property
    def source(self) -> str:
        """What each example says of its source: the name without folders."""
        return Path(self.name).name


@dataclass(frozen=True)
class Imported:
    """What came of an import: counts of rows read, kept and, by reason, dropped.

    `repeated` counts kept texts that are the same as one before; `task` has the classes.
    """

    rows: int
    kept: int
    repeated: int
    dropped: Mapping[str, int]
    classes: Mapping[str, int]
    task: Task


def import_rows(
    rows: Iterable[Row],
    columns: Columns,
    origin: Origin,
    folder: Path,
    *,
    task: Task | None,
    label_names: tuple[str, ...] = (),
    drop_bad_rows: bool = False,
) -> Imported:
    """Write rows as an examples file with its task into a folder that is there.

    Args:
        rows: cells in the order of `columns.names`.
        columns: where each part of an example is.
        origin: where the rows come from.
        folder: gets `examples.parquet`, `task.yaml` and, where rows are dropped,
            `dropped.parquet` (row, reason, sentence).
        task: whose classes the labels must be; None makes a task of the labels that are there.
        label_names: names of the classes, where the labels are numbers from 0.
        drop_bad_rows: leave bad rows out and count them by reason, instead of refusing the table.

    Raises:
        InputError: a row is bad (the first one is named), no row is left, or the labels make no
            task.
    """
    reader = _Reader(columns, origin, task, label_names)
    texts = _Seen()
    dropped: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    total = repeated = 0
    with ExitStack() as files:
        file = files.enter_context(pq.ParquetWriter(folder / EXAMPLES_FILE, SCHEMA))
        rejects: pq.ParquetWriter | None = None
        for first, batch in _batches(rows):
            total += len(batch)
            examples, bad = reader.read(first, batch)
            if bad and not drop_bad_rows:
                raise InputError(bad[0].says)
            if bad and rejects is None:
                path = folder / DROPPED_FILE
                rejects = files.enter_context(pq.ParquetWriter(path, _DROPPED_SCHEMA))
            if bad and rejects is not None:
                dropped.update(one.reason for one in bad)
                lines = [vars(one) for one in bad]
                rejects.write_table(pa.Table.from_pylist(lines, _DROPPED_SCHEMA))
            classes.update(example.label for example in examples)
            repeated += int(texts.add([normalised(example.text) for example in examples]).sum())
            lines = [vars(example) for example in examples]
            file.write_table(pa.Table.from_pylist(lines, SCHEMA))
    if not classes:
        raise InputError(
            f"{origin.name}: no rows{' are left' if total else ''}; at least one a class is needed."
        )
    made = reader.task(classes)
    write_task(made, folder / TASK_FILE)
    return Imported(total, classes.total(), repeated, dropped, classes, made)


def write_task(task: Task, path: Path) -> None:
    """Write a task as the YAML file that `load_task` reads."""
    content = {
        "name": task.name,
        "prompt": task.prompt,
        **({"instruction": task.instruction} if task.instruction else {}),
        "classes": [dict(vars(definition)) for definition in task.classes],
    }
    with path.open("w", encoding="utf-8") as file:
        yaml = YAML(pure=True)
        yaml.width = 10_000  # a class a line
        yaml.dump(content, file)


@dataclass(frozen=True)
class _BadRow:
    row: int
    reason: str
    says: str


class _Bad(Exception):
    """A row that cannot be an example; its arguments are the reason's name and the sentence."""


@dataclass
class _Reader:
    """Makes examples of rows; remembers ids and, without a task, the classes."""

    columns: Columns
    origin: Origin
    given: Task | None
    label_names: tuple[str, ...]
    categories: dict[str, str] = field(default_factory=dict)
    ids: "_Seen" = field(default_factory=lambda: _Seen())

    def read(self, first: int, batch: list[Row]) -> tuple[list[Example], list[_BadRow]]:
        """The examples of a batch whose first row has the number `first`, and its bad rows."""
        examples: list[Example] = []
        numbers: list[int] = []
        bad: list[_BadRow] = []
        for number, row in enumerate(batch, start=first):
            try:
                examples.append(self._example(number, row))
                numbers.append(number)
            except _Bad as error:
                bad.append(_BadRow(number, *error.args))
        if self.columns.id is None:
            return examples, bad
        known = self.ids.add([example.id for example in examples])
        for place in np.flatnonzero(known):
            says = f"id `{examples[place].id}` occurred before; an id must be unique."
            where = self._where(numbers[place], self.columns.id)
            bad.append(_BadRow(numbers[place], "duplicate id", f"{where}: {says}"))
        kept = [example for example, repeats in zip(examples, known, strict=True) if not repeats]
        return kept, sorted(bad, key=lambda one: one.row)

    def task(self, labels: Iterable[str]) -> Task:
        """The given task, or one of the labels that occur."""
        if self.given is not None:
            return self.given
        classes = tuple(
            ClassDefinition(label, self.categories[label], label) for label in sorted(labels)
        )
        name = Path(self.origin.name).stem or "imported"
        return check_task(Task(name, "Text: {text}", classes), self.origin.name)

    def _example(self, number: int, row: Row) -> Example:
        cells = dict(zip(self.columns.names, row, strict=True))
        text = self._cell(number, self.columns.text, cells)
        label = self._label(number, cells)
        own_id = self.columns.id
        return Example(
            id=f"row-{number:08d}" if own_id is None else self._cell(number, own_id, cells),
            text=" ".join(text.split()),
            label=label,
            category=self._category(number, label, cells),
            split=self.origin.split,
            source=self.origin.source,
        )

    def _cell(self, number: int, column: str, cells: Mapping[str, object]) -> str:
        try:
            return cell_text(cells[column], self._where(number, column))
        except InputError as error:
            reason = "empty" if " is empty;" in str(error) else "malformed"
            raise _Bad(f"{reason} {column}", str(error)) from error

    def _label(self, number: int, cells: Mapping[str, object]) -> str:
        column = self.columns.label
        label = self._cell(number, column, cells)
        if not self.label_names:
            return label
        if not label.isdecimal() or int(label) >= len(self.label_names):
            raise _Bad(
                "unknown label",
                f"{self._where(number, column)}: label `{label}` is not a number under "
                f"{len(self.label_names)}, the count of label names.",
            )
        return self.label_names[int(label)]

    def _category(self, number: int, label: str, cells: Mapping[str, object]) -> str:
        where = self._where(number, self.columns.label)
        if self.given is not None:
            try:
                return self.given.category_of(label)
            except InputError as error:
                raise _Bad("unknown label", f"{where}: {error}") from error
        column = self.columns.category
        category = label if column is None else self._cell(number, column, cells)
        known = self.categories.setdefault(label, category)
        if len(self.categories) > _MOST_LABELS:
            raise InputError(
                f"{where}: over {_MOST_LABELS:,} different labels up to here; is `"
                f"{self.columns.label}` the column of the labels?"
            )
        if known != category:
            raise _Bad(
                "second category",
                f"{where}: label `{label}` has the category `{category}` here and `{known}` "
                "before; a label has one.",
            )
        return category

    def _where(self, number: int, column: str) -> str:
        return f"{self.origin.name}: row {number}: `{column}`"


class _Seen:
    """Which strings occurred before, by a hash of 64 bits.

    Sorted runs whose lengths at least halve, so that adding n strings costs n log n in all. Of
    ten million different strings, some two are taken for one with a chance of three in a million.
    """

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []

    def add(self, strings: list[str]) -> NDArray[np.bool_]:
        """Remember the strings; of each, whether it occurred before, here or earlier."""
        digests = (
            hashlib.blake2b(one.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            for one in strings
        )
        hashes = np.frombuffer(b"".join(digests), np.uint64)
        unique, first = np.unique(hashes, return_index=True)
        known = np.ones(len(hashes), bool)
        known[first] = False
        for run in self._runs:
            known |= run[np.minimum(np.searchsorted(run, hashes), len(run) - 1)] == hashes
        if len(unique):
            self._runs.append(unique)
        while len(self._runs) > 1 and 2 * len(self._runs[-1]) > len(self._runs[-2]):
            self._runs.append(np.union1d(self._runs.pop(), self._runs.pop()))
        return known


def _batches(rows: Iterable[Row]) -> Iterator[tuple[int, list[Row]]]:
    """Lists of rows, each with the number of its first row, counted from 1."""
    rows, first = iter(rows), 1
    while batch := list(itertools.islice(rows, _BATCH)):
        yield first, batch
        first += len(batch)
