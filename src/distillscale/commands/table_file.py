"""Write a table where the user asked for it: Parquet or CSV by the file's ending."""

from pathlib import Path

import pandas as pd

from distillscale.commands.output import check_file
from distillscale.errors import InputError

SUFFIXES = (".parquet", ".csv")


def check_table(out: Path | None) -> None:
    """Make sure, before anything is computed, that a table can be written.

    Raises:
        InputError: the ending is neither .parquet nor .csv, or the folder cannot be written.
    """
    if out is None:
        return
    if out.suffix not in SUFFIXES:
        raise InputError(f"--out {out}: it must end in {' or '.join(SUFFIXES)}.")
    check_file(out, "--out")


def write_table(table: pd.DataFrame, out: Path) -> None:
    """Write a table whole or not at all (a temporary file, then a rename)."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(out.name + ".tmp")
    if out.suffix == ".csv":
        table.to_csv(temporary, index=False)
    else:
        table.to_parquet(temporary, index=False)
    temporary.replace(out)
