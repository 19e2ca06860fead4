"""One text column of a user's file, and copies of the file with fewer rows.

Both stream: of a large file only the texts are held. Rows are counted as in `rows`.
"""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from distillscale.data.rows import column_names, read_rows
from distillscale.errors import InputError

Mask = NDArray[np.bool_]

_UTF8_MARK = b"\xef\xbb\xbf"


def read_text_column(path: Path, column: str) -> list[str]:
    """The texts of a column, in the file's order.

    Raises:
        InputError: the file cannot be read or lacks the column, or a text is empty or no text; the
            sentence names the file, the row and the column.
    """
    texts = []
    for number, (value,) in enumerate(read_rows(path, (column,)), start=1):
        where = f"{path}: row {number}: `{column}`"
        if value is None or (isinstance(value, str) and not value.strip()):
            raise InputError(f"{where} is empty; every row needs one.")
        if not isinstance(value, str):
            raise InputError(f"{where} is {value!r}; it must be a text.")
        if not _is_unicode(value):
            raise InputError(f"{where} is not valid UTF-8; save the file as UTF-8.")
        texts.append(value)
    if not texts:
        raise InputError(f"{path}: no rows; there must be at least one.")
    return texts


def copy_rows(path: Path, chosen: Mask, out: Path) -> None:
    """Write the chosen rows of a file to another of its kind, every column as it is.

    CSV is written with commas, whatever parted the fields before.

    Args:
        chosen: one entry a row of the file, which `read_text_column` has read without error.

    Raises:
        InputError: another column cannot be read.
    """
    try:
        _WRITERS[path.suffix.lower()](path, chosen, out)
    except (csv.Error, ValueError, OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: its rows cannot be copied ({reason}).") from error


def _is_unicode(text: str) -> bool:
    """Whether it has no half of a surrogate pair, which stands for a byte that is no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _copy_csv(path: Path, chosen: Mask, out: Path) -> None:
    columns = tuple(name.strip() for name in column_names(path))
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with out.open("w", encoding="utf-8", errors="surrogateescape", newline="") as copy:
        writer = csv.writer(copy, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        rows = zip(read_rows(path, columns), chosen, strict=True)
        writer.writerows(row for row, wanted in rows if wanted)


def _copy_json(path: Path, chosen: Mask, out: Path) -> None:
    with path.open("rb") as file, out.open("wb") as copy:
        lines = (line for line in file if line.strip())
        for line, wanted in zip(lines, chosen, strict=True):
            if wanted:
                copy.write(line.removeprefix(_UTF8_MARK).rstrip(b"\r\n") + b"\n")


def _copy_parquet(path: Path, chosen: Mask, out: Path) -> None:
    with pq.ParquetFile(path) as file, pq.ParquetWriter(out, file.schema_arrow) as writer:
        start = 0
        for batch in file.iter_batches():
            own = chosen[start : start + batch.num_rows]
            writer.write_batch(batch.filter(pa.array(own)))
            start += batch.num_rows


_WRITERS: dict[str, Callable[[Path, Mask, Path], None]] = {
    ".csv": _copy_csv,
    ".tsv": _copy_csv,
    ".jsonl": _copy_json,
    ".parquet": _copy_parquet,
}
