"""Rows of a user's CSV, JSONL or Parquet file, one after the other, in memory that is bounded.

Rows are counted from 1, without header and blank lines, as spreadsheets and pandas count them.
"""

import codecs
import csv
import difflib
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from distillscale.errors import InputError

Row = tuple[object, ...]

_DELIMITERS = (",", ";", "\t", "|")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16's mark does, so it is looked for before
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks and the encodings they tell."""
_HEAD = 1024
_BATCH = 8192


def read_rows(path: Path, columns: tuple[str, ...], encoding: str | None = None) -> Iterator[Row]:
    """The wanted cells of each row, as the file holds them; a missing one is None.

    Delimiters of CSV (comma, semicolon, tab, bar) are told by the header, encodings by a byte
    order mark; without one it is UTF-8.

    Args:
        path: .csv, .tsv, .jsonl or .parquet.
        columns: names of the wanted columns.
        encoding: of a text file without byte order mark, where it is not UTF-8.

    Raises:
        InputError: the file cannot be read, lacks a column, or a row is broken; the sentence names
            file and row.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    kind = path.suffix.lower()
    if kind not in READERS:
        raise InputError(f"{path}: `{path.suffix}` is not one of {', '.join(READERS)}.")
    try:
        yield from READERS[kind](path, columns, encoding)
    except (csv.Error, ValueError, OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not readable as {kind[1:]} ({reason}).") from error


def column_names(path: Path, encoding: str | None = None) -> list[str]:
    """The columns of a file; of JSONL, those of its first row.

    Raises:
        InputError: the file cannot be read.
    """
    if path.suffix.lower() == ".parquet":
        with pq.ParquetFile(path) as file:
            return list(file.schema_arrow.names)
    with _open(path, encoding) as file:
        if path.suffix.lower() == ".jsonl":
            return list(next(_json_objects(path, file), {}))
        header = next((line for line in file if line.strip()), "")
    return max((next(csv.reader([header], delimiter=own), []) for own in _DELIMITERS), key=len)


def check_columns(names: list[str], where: str, wanted: tuple[str, ...]) -> None:
    """Make sure that a table has each wanted column once.

    Raises:
        InputError: one is missing, and the sentence says which name is nearest, or is there twice.
    """
    for column in wanted:
        if column not in names:
            near = difflib.get_close_matches(column, names, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(names) or 'none'}."
            raise InputError(f"{where}: no column `{column}`; {hint}")
        if names.count(column) > 1:
            raise InputError(f"{where}: {names.count(column)} columns are named `{column}`.")


def _csv_rows(path: Path, columns: tuple[str, ...], encoding: str | None) -> Iterator[Row]:
    with _open(path, encoding) as file:
        first = next((line for line in file if line.strip()), None)
        if first is None:
            raise InputError(f"{path}: it is empty; the first line must name the columns.")
        rows = csv.reader(
            itertools.chain([first], file), strict=True, delimiter=_delimiter(first, columns)
        )
        header = [name.strip() for name in next(rows)]
        check_columns(header, str(path), columns)
        places = [header.index(column) for column in columns]
        for number in itertools.count(1):
            try:
                row = next((row for row in rows if row), None)
            except csv.Error as error:
                raise InputError(
                    f"{path}: row {number}: not readable as csv ({error}); look for a quotation "
                    "mark that is not closed, or not doubled inside a text."
                ) from error
            if row is None:
                return
            if len(row) != len(header):
                raise InputError(
                    f"{path}: row {number} has {len(row)} fields, the header {len(header)}; quote "
                    "texts that hold the delimiter."
                )
            yield tuple(row[place] for place in places)


def _delimiter(header: str, columns: tuple[str, ...]) -> str:
    """The first delimiter by which the header has the columns, else the one with most fields."""
    fields: dict[str, list[str]] = {}
    for delimiter in _DELIMITERS:
        names = next(csv.reader([header], delimiter=delimiter), [])
        fields[delimiter] = [name.strip() for name in names]
        if set(columns) <= set(fields[delimiter]):
            return delimiter
    return max(fields, key=lambda delimiter: len(fields[delimiter]))


def _json_rows(path: Path, columns: tuple[str, ...], encoding: str | None) -> Iterator[Row]:
    with _open(path, encoding) as file:
        for number, row in enumerate(_json_objects(path, file), start=1):
            if number == 1:
                check_columns(list(row), str(path), columns)
            yield tuple(row.get(column) for column in columns)


def _json_objects(path: Path, file: TextIO) -> Iterator[dict[str, object]]:
    for number, line in enumerate((line for line in file if line.strip()), start=1):
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(
                f"{path}: row {number} is not JSON ({error}); every line is one object."
            ) from error
        if not isinstance(row, dict):
            raise InputError(f"{path}: row {number} is not a JSON object; every line is one.")
        yield row


def _parquet_rows(path: Path, columns: tuple[str, ...], encoding: str | None) -> Iterator[Row]:
    if encoding is not None:
        raise InputError(f"{path}: a Parquet file knows its encoding; name none.")
    with pq.ParquetFile(path) as file:
        check_columns(list(file.schema_arrow.names), str(path), columns)
        for batch in file.iter_batches(_BATCH, columns=list(columns)):
            cells = {name: batch.column(name).to_pylist() for name in columns}
            yield from zip(*(cells[name] for name in columns), strict=True)


Reader = Callable[[Path, tuple[str, ...], str | None], Iterator[Row]]
READERS: dict[str, Reader] = {
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".jsonl": _json_rows,
    ".parquet": _parquet_rows,
}


def _open(path: Path, encoding: str | None) -> TextIO:
    """Open a text file; a byte that is no text becomes half a surrogate pair, to be told by row.

    Raises:
        InputError: there is no such encoding, or it holds NUL bytes and so another encoding.
    """
    with path.open("rb") as binary:
        head = binary.read(_HEAD)
    told = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    chosen = told or encoding or "utf-8"
    try:
        codecs.lookup(chosen)
    except LookupError as error:
        raise InputError(
            f"{path}: there is no encoding `{chosen}`; utf-8, utf-16 and cp1252 are usual ones."
        ) from error
    if told is None and b"\0" in head and "16" not in chosen and "32" not in chosen:
        raise InputError(
            f"{path}: it holds NUL bytes, as UTF-16 without byte order mark does; name its "
            "encoding (for example utf-16-le), or save it as UTF-8."
        )
    return path.open(encoding=chosen, errors="surrogateescape", newline="")
