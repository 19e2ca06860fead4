"""`data check`: which texts of one file are near-duplicates of texts of another."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from distillscale.commands.output import check_file
from distillscale.data.embedding import load_embedder
from distillscale.data.labelled_file import read_texts
from distillscale.data.leakage import Leak, find_leaks
from distillscale.data.near_duplicates import check_threshold
from distillscale.errors import InputError

_SHOWN = 10
_LETTERS = 100


def check_files(
    file: Path,
    other: Path,
    text_column: str,
    other_column: str | None,
    threshold: float,
    embedder_name: str,
    out: Path | None,
) -> bool:
    """Print the leaks of `file` into `other`, and write all of them where asked.

    The table has, for each leaking text, `row` and `text`, the most similar text of the other
    file as `other_row` and `other_text`, their `similarity`, and `exact`; rows count from 1.

    Returns:
        Whether there is any leak.

    Raises:
        InputError: a file, an option or the output is wrong.
    """
    check_threshold(threshold)
    if out is not None:
        check_file(out, "--out")
        if out.suffix.lower() != ".parquet":
            raise InputError(f"--out {out}: the table is written as .parquet; name such a file.")
    texts, others = read_texts(file, text_column), read_texts(other, other_column or text_column)
    leaks = find_leaks(texts, others, load_embedder(embedder_name), threshold)
    exact = sum(leak.exact for leak in leaks)
    print(
        f"{len(leaks):,} of {len(texts):,} texts of {file} are in {other}: {exact:,} the same but "
        f"for case, punctuation and links, {len(leaks) - exact:,} with a cosine of at least "
        f"{threshold:g} ({embedder_name})"
    )
    for leak in sorted(leaks, key=lambda leak: (leak.exact, -leak.similarity))[:_SHOWN]:
        kind = "same" if leak.exact else f"{leak.similarity:.3f}"
        print(f"{kind}\n  row {leak.left + 1}: {texts[leak.left][:_LETTERS]}")
        print(f"  row {leak.right + 1}: {others[leak.right][:_LETTERS]}")
    if len(leaks) > _SHOWN:
        hint = f"all are in {out}" if out else "--out FILE.parquet writes them"
        print(f"and {len(leaks) - _SHOWN:,} more; {hint}")
    if out is not None:
        _write(texts, others, leaks, out)
    return bool(leaks)


def _write(texts: list[str], others: list[str], leaks: list[Leak], out: Path) -> None:
    table = pa.table(
        {
            "row": pa.array([leak.left + 1 for leak in leaks], pa.int64()),
            "text": pa.array([texts[leak.left] for leak in leaks], pa.string()),
            "other_row": pa.array([leak.right + 1 for leak in leaks], pa.int64()),
            "other_text": pa.array([others[leak.right] for leak in leaks], pa.string()),
            "similarity": pa.array([leak.similarity for leak in leaks], pa.float64()),
            "exact": pa.array([leak.exact for leak in leaks], pa.bool_()),
        }
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(out.name + ".tmp")
    pq.write_table(table, temporary)
    temporary.replace(out)
