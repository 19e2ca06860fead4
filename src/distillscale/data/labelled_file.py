"""A user's own labelled file: CSV, JSONL or Parquet with a text and a label column."""

from collections.abc import Iterable
from pathlib import Path

from distillscale.data.rows import READERS, column_names, read_rows
from distillscale.errors import InputError


def read_labelled_file(path: Path, text_column: str, label_column: str) -> list[tuple[str, str]]:
    """Read the (text, label) pairs of a file, in its order.

    Raises:
        InputError: the file cannot be read, lacks a column, or has an empty text or label; the
            sentence names the file, the row (counted from 1, without header) and the column.
    """
    rows = read_rows(path, (text_column, label_column))
    return labelled_pairs(rows, str(path), text_column, label_column)


def read_texts(path: Path, text_column: str | None) -> list[str]:
    """Read the texts of a table's column, or the lines of a .txt file that are not blank.

    Raises:
        InputError: the file cannot be read, has no text, lacks the column or has an empty text
            in it, or a column is named for a .txt file or none for a table.
    """
    kind = path.suffix.lower()
    if kind == ".txt":
        texts = _read_lines(path, text_column)
    elif kind not in READERS and path.is_file():
        raise InputError(f"{path}: `{path.suffix}` is not one of {', '.join((*READERS, '.txt'))}.")
    elif text_column is None:
        if not path.is_file():
            raise InputError(f"{path}: no such file.")
        names = ", ".join(column_names(path))
        raise InputError(f"{path}: name the column with the texts; it has {names}.")
    else:
        texts = [
            cell_text(value, f"{path}: row {number}: `{text_column}`")
            for number, (value,) in enumerate(read_rows(path, (text_column,)), start=1)
        ]
    if not texts:
        raise InputError(f"{path}: no texts; there must be at least one.")
    return texts


def labelled_pairs(
    rows: Iterable[tuple[object, ...]], where: str, text_column: str, label_column: str
) -> list[tuple[str, str]]:
    """The (text, label) pairs of a table, with runs of white space in a text made one space.

    Args:
        rows: of each row its text and its label.
        where: what the table was read from, for the sentence of an error.

    Raises:
        InputError: a text or label is empty or no text, or there are no rows.
    """
    pairs = []
    for number, (text, label) in enumerate(rows, start=1):
        place = f"{where}: row {number}"
        words = cell_text(text, f"{place}: `{text_column}`").split()
        pairs.append((" ".join(words), cell_text(label, f"{place}: `{label_column}`")))
    if not pairs:
        raise InputError(f"{where}: no rows; there must be at least one row a class.")
    return pairs


def cell_text(value: object, where: str) -> str:
    """A cell as text without outer white space; numbers are written out.

    Raises:
        InputError: it is empty, holds several values, or bytes that are not in the encoding.
    """
    if isinstance(value, (list, dict, bytes)):
        raise InputError(f"{where} is a {type(value).__name__}; it must be one text.")
    if value is None or value != value:  # not a number
        raise InputError(f"{where} is empty; every row needs one.")
    text = str(value).strip()
    if not text:
        raise InputError(f"{where} is empty; every row needs one.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where} is not UTF-8 ({_stray_byte(text, error.start)}); save the file as UTF-8, or "
            "import it with its encoding: `distillscale data import --encoding cp1252`."
        ) from error
    return text


def _stray_byte(text: str, place: int) -> str:
    """What stands in the place of a lone surrogate: a byte, or half a pair that JSON can hold."""
    byte = ord(text[place]) - 0xDC00
    return f"byte 0x{byte:02x}" if 0x80 <= byte <= 0xFF else "half of a surrogate pair"


def _read_lines(path: Path, text_column: str | None) -> list[str]:
    if text_column is not None:
        raise InputError(f"{path}: a .txt file has no column `{text_column}`; name none.")
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not a readable UTF-8 text file ({error}).") from error
    return [line.strip() for line in lines if line.strip()]
