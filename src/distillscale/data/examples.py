"""A corpus as files: Parquet with the columns of `tasks.Example`.

A folder of a corpus holds either `examples.parquet`, as an import writes it, or a file for each
split; with them its data card `README.md` and, where it is known, its task as `task.yaml`.
"""

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq

from distillscale.data.rows import check_columns
from distillscale.errors import InputError
from distillscale.tasks import Example, Split

EXAMPLES_FILE, TASK_FILE, CARD_FILE = "examples.parquet", "task.yaml", "README.md"
SPLITS: tuple[Split, ...] = get_args(Split)
SCHEMA = pa.schema([pa.field(field.name, pa.string(), nullable=False) for field in fields(Example)])
COLUMNS = {
    "id": "unique in the corpus",
    "text": "the input, runs of white space made one space",
    "label": "the gold class",
    "category": "the category of the class; without categories the class itself",
    "split": "train, validation or test",
    "source": "the file or dataset that the row is from",
}
"""What each column of an examples file means, for data cards."""


def example_files(path: Path) -> list[Path]:
    """The files of a corpus: the file itself, or those of a folder.

    Raises:
        InputError: there is no such file, or none in the folder.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder.")
    if (path / EXAMPLES_FILE).is_file():
        return [path / EXAMPLES_FILE]
    files = [path / f"{split}.parquet" for split in SPLITS if (path / f"{split}.parquet").is_file()]
    if not files:
        raise InputError(
            f"{path}: neither {EXAMPLES_FILE} nor a file of a split; `distillscale data import` "
            "makes such a folder."
        )
    return files


def read_examples(path: Path) -> list[Example]:
    """All examples of a corpus, in the order of its files.

    Raises:
        InputError: a file is not an examples file, or there is no example.
    """
    return [Example(**row) for row in read_table(path).to_pylist()]


def read_table(path: Path) -> pa.Table:
    """As `read_examples`, but as a table with the columns of `SCHEMA`."""
    table = pa.concat_tables([_read(file) for file in example_files(path)])
    if not table.num_rows:
        raise InputError(f"{path}: no examples; there must be at least one.")
    return table


def write_examples(examples: Iterable[Example], path: Path) -> None:
    """Write an examples file."""
    rows = [vars(example) for example in examples]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)


def _read(file: Path) -> pa.Table:
    if file.suffix.lower() != ".parquet":
        raise InputError(
            f"{file}: not an examples file (Parquet); `distillscale data import` makes one of it."
        )
    try:
        table = pq.read_table(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{file}: not readable as parquet ({error}).") from error
    try:
        check_columns(table.column_names, str(file), tuple(COLUMNS))
        return table.select(list(COLUMNS)).cast(SCHEMA)
    except (InputError, ValueError, pa.ArrowException) as error:
        raise InputError(
            f"{file}: not an examples file ({error}); `distillscale data import` makes one of it."
        ) from error
