"""Examples, questions and traces as Parquet files: one row a record, one column a field."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

Record = TypeVar("Record")


def write_records(records: Iterable[Record], path: Path) -> None:
    """Write frozen dataclasses whose fields are plain values or tuples of them."""
    rows = [dataclasses.asdict(record) for record in records]  # type: ignore[call-overload]
    pq.write_table(pa.Table.from_pylist(rows), path)


def read_records(path: Path, record_type: type[Record]) -> list[Record]:
    """Read what `write_records` wrote."""
    rows = pq.read_table(path).to_pylist()
    return [record_type(**{key: _frozen(value) for key, value in row.items()}) for row in rows]


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
