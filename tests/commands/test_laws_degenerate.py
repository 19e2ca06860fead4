"""Every command on tables that say little: an answer, or a refusal in one sentence."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_table import results

COMMANDS = {
    "fit": ["laws", "fit"], "compare": ["laws", "compare"], "select": ["laws", "select"],
    "backtest": ["laws", "backtest"], "collapse": ["laws", "collapse"],
    "check": ["laws", "check"], "coverage": ["laws", "coverage", "--studies", "2"],
    "recommend": ["recommend", "--min", "macro_f1=0.8", "--results"],
}  # fmt: skip


def scored() -> pd.DataFrame:
    """A small table whose collapse points have a chance level."""
    rows = results()
    rows = rows[rows["metric"].isin(["macro_f1", "lab_facts"])]
    return rows.assign(replicates=[[v - 0.01, v, v + 0.01] * 3 for v in rows["value"]])


def with_value(value: float) -> Callable[[], pd.DataFrame]:
    return lambda: scored().assign(value=value, replicates=None)


ODD = {
    "constant": with_value(0.5),
    "missing": with_value(np.nan),
    "infinite": with_value(np.inf),
    "increasing": lambda: scored().assign(value=1 - scored()["value"], replicates=None),
    "one level": lambda: scored()[lambda rows: rows["stage"] == 1],
    "collinear": lambda: scored().assign(dataset_size=lambda rows: rows["params"] / 1000),
    "no variance": lambda: pd.concat(
        [scored().assign(seed=s, cell=scored()["cell"] + str(s), replicates=None) for s in range(3)]
    ),
    "one row": lambda: scored().iloc[[0]],
    "no rows": lambda: scored().iloc[:0],
    "teachers": lambda: scored()[lambda rows: rows["stage"] == 0],
    "no examples": lambda: scored().assign(examples=0),
    "other metric": lambda: scored().assign(metric="unheard_of"),
    "numbered": lambda: scored().assign(study=1, cell=2),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ODD)
def test_odd_tables_end_in_an_answer_or_one_sentence(
    call, tmp_path: Path, name: str, command: str
) -> None:
    ODD[name]().to_parquet(tmp_path / "x.parquet", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ended = call(*COMMANDS[command], tmp_path / "x.parquet")
    if ended.code == 2:
        assert ended.out == ""
        assert len(ended.err.splitlines()) == 1
    else:
        assert ended.code == 0, ended.err
        assert ended.out.strip()
        assert "nan" not in ended.out.lower().split()


WRONG = {
    "seed": (np.nan, r"column `seed` is empty in row 3; it must be a whole number"),
    "stage": (0.5, r"column `stage` is 0.5 in row 3; it must be a whole number"),
    "params": (-5, r"column `params` is -5 in row 3; it must be a positive number"),
    "prune_ratio": (0, r"column `prune_ratio` is 0 in row 3; it must be a positive number"),
    "task": (None, r"column `task` is empty in row 3; give every row one"),
    "dataset_size": (-1, r"column `dataset_size` is -1 in row 3; it must not be negative"),
}


@pytest.mark.parametrize("column", WRONG)
def test_a_row_that_is_no_measurement_is_named(complaint, tmp_path: Path, column: str) -> None:
    rows = scored().reset_index(drop=True)
    value, said = WRONG[column]
    if value is not None:
        rows[column] = rows[column].astype(float)
    rows.loc[2, column] = value
    rows.to_parquet(tmp_path / "x.parquet", index=False)
    for command in (["laws", "fit"], ["recommend", "--results"]):
        assert said in complaint(*command, tmp_path / "x.parquet")


def test_files_that_are_no_tables_are_refused_by_every_command(complaint, tmp_path: Path) -> None:
    (tmp_path / "empty.parquet").write_bytes(b"")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    for command in COMMANDS.values():
        assert "not a Parquet file" in complaint(*command, tmp_path / "empty.parquet")
        assert "column `study` is missing" in complaint(*command, tmp_path / "other.parquet")


@pytest.mark.slow
@pytest.mark.parametrize("repeated", [True, False])
def test_a_million_rows_are_read_in_seconds(call, tmp_path: Path, repeated: bool) -> None:
    """Rows of metrics that no law reads, or every measurement many times over."""
    rows = scored().assign(replicates=None)
    many = pd.concat([rows] * (1_000_000 // len(rows)))
    many = many if repeated else many.assign(metric="train_loss")
    pd.concat([rows, many]).to_parquet(tmp_path / "x.parquet", index=False)
    for command in ("select", "compare"):
        ended = call("laws", command, tmp_path / "x.parquet")
        assert ended.code == 0, ended.err
        assert "macro_f1" in ended.out
