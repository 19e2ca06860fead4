"""`data dedup`: drop the near-duplicates of a file's text column."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distillscale.commands.output import check_new_folder
from distillscale.data.deduplicate import Decision, deduplicate
from distillscale.data.embedding import load_embedder
from distillscale.data.near_duplicates import NearDuplicateIndex, check_threshold
from distillscale.data.text_column import copy_rows, read_text_column

_TEXTS = 8192


def dedup_file(
    file: Path, text_column: str, threshold: float, embedder_name: str, out: Path
) -> None:
    """Write the kept rows of a file, and a table of the dropped ones, into a new folder.

    `kept` is a file of the same kind with the same columns and order. `dropped.parquet` has, for
    each dropped row, `row` and `text`, its keeper's `keeper_row` and `keeper_text`, and their
    `similarity`; rows are counted from 1, without header.

    Raises:
        InputError: the file, an option or the folder is wrong.
    """
    check_threshold(threshold)
    check_new_folder(out, "--out")
    texts = read_text_column(file, text_column)
    embedder = load_embedder(embedder_name)
    vectors = np.empty((len(texts), embedder.dimensions), np.float32)
    for start in range(0, len(texts), _TEXTS):
        vectors[start : start + _TEXTS] = embedder.encode(texts[start : start + _TEXTS])
    index = NearDuplicateIndex(embedder.dimensions)
    decision = deduplicate(index, texts, vectors, threshold)
    _write(file, texts, decision, out.absolute())
    total, kept, dropped = len(texts), len(decision.kept), len(decision.dropped)
    print(f"{file}: {total:,} rows, {kept:,} kept, {dropped:,} dropped ({dropped / total:.1%})")
    print(f"kept: {out / _kept_name(file)}; dropped, with keepers: {out / 'dropped.parquet'}")


def _write(file: Path, texts: list[str], decision: Decision, out: Path) -> None:
    """Write the folder under a temporary name beside its place, then rename it."""
    chosen = np.zeros(len(texts), bool)
    chosen[decision.kept] = True
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".dedup-") as name:
        folder = Path(name) / "result"
        folder.mkdir()
        copy_rows(file, chosen, folder / _kept_name(file))
        pq.write_table(_audit_table(texts, decision), folder / "dropped.parquet")
        folder.replace(out)


def _kept_name(file: Path) -> str:
    return f"kept{file.suffix.lower()}"


def _audit_table(texts: list[str], decision: Decision) -> pa.Table:
    keepers = decision.kept[decision.keepers]
    return pa.table(
        {
            "row": decision.dropped + 1,
            "text": pa.array([texts[place] for place in decision.dropped], pa.string()),
            "keeper_row": keepers + 1,
            "keeper_text": pa.array([texts[place] for place in keepers], pa.string()),
            "similarity": decision.similarities,
        }
    )
