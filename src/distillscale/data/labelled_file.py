"""A user's own labelled file: CSV, JSONL or Parquet with a text and a label column."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.errors import ParserError

from distillscale.errors import InputError


def read_labelled_file(path: Path, text_column: str, label_column: str) -> list[tuple[str, str]]:
    """Read the (text, label) pairs of a file, in its order.

    Raises:
        InputError: the file cannot be read, lacks a column, or has an empty text or label; the
            sentence names the file, the row (counted from 1, without header) and the column.
    """
    return labelled_pairs(_read_table(path), str(path), text_column, label_column)


def labelled_pairs(
    table: pd.DataFrame, where: str, text_column: str, label_column: str
) -> list[tuple[str, str]]:
    """The (text, label) pairs of a table, with runs of white space in a text made one space.

    Args:
        where: what the table was read from, for the sentence of an error.

    Raises:
        InputError: as `read_labelled_file`, for everything but reading.
    """
    columns = (text_column, label_column)
    check_columns([str(name) for name in table.columns], where, columns)
    pairs = []
    for number, cells in enumerate(zip(*(table[name] for name in columns), strict=True), start=1):
        text, label = (
            _cell(value, f"{where}: row {number}: `{column}`")
            for column, value in zip(columns, cells, strict=True)
        )
        pairs.append((" ".join(text.split()), label))
    if not pairs:
        raise InputError(f"{where}: no rows; there must be at least one row a class.")
    return pairs


def check_columns(names: list[str], where: str, wanted: tuple[str, ...]) -> None:
    """Make sure that a table has the wanted columns.

    Raises:
        InputError: one is missing; the sentence says which name is nearest.
    """
    for column in wanted:
        if column not in names:
            near = difflib.get_close_matches(column, names, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(names)}."
            raise InputError(f"{where}: no column `{column}`; {hint}")


def _cell(value: Any, where: str) -> str:
    if not pd.api.types.is_scalar(value):
        raise InputError(f"{where} is a {type(value).__name__}; it must be one text.")
    if pd.isna(value) or not str(value).strip():
        raise InputError(f"{where} is empty; every row needs one.")
    return str(value).strip()


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv": _read_csv,
        ".jsonl": lambda file: pd.read_json(file, lines=True, dtype=False),
        ".parquet": pd.read_parquet,
    }
    kind = path.suffix.lower()
    if kind not in readers:
        raise InputError(f"{path}: `{path.suffix}` is not one of {', '.join(readers)}.")
    try:
        return readers[kind](path)
    except (ParserError, UnicodeDecodeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not readable as {kind[1:]} ({reason[:200]}).") from error


def _read_csv(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    if not isinstance(table.index, pd.RangeIndex):  # pandas took a surplus first field as index
        raise ValueError("rows have more fields than the header; quote texts that hold commas")
    return table
