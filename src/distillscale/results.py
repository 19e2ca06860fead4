"""The results table: one row per cell, stage and metric.

This module has no dependency on torch, so that laws can be refitted and reports redrawn on a
machine without it.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from distillscale.errors import InputError

COLUMNS: dict[str, str] = {
    "study": "name of the study",
    "cell": "name of the cell, unique in the study",
    "task": "name of the task",
    "supervision": "label | cot | blended | none (pruned only)",
    "thinking": "none | brief | full: depth of the teacher's reasoning",
    "method": "logit | lora | none (pruned only)",
    "schedule": "oneshot | uniform | decayed | explicit",
    "stages": "number of stages in the schedule",
    "dataset_size": "training examples given to the teacher for annotation",
    "seed": "seed of pruning, distillation and data order",
    "stage": "0 is the teacher, k the model after the k-th prune and distill",
    "prune_ratio": "share of the teacher's non-embedding parameters that is kept, as measured",
    "largest_cut": "largest share removed by one stage so far (0 at stage 0)",
    "params": "parameters without embeddings and LM head",
    "params_with_embeddings": "all parameters, tied weights counted once",
    "metric": "name of the metric",
    "value": "the metric's value; missing where it could not be measured",
    "chance": "value that guessing reaches; missing where that is not defined",
    "examples": "number of test examples behind the value",
    "replicates": "the metric on bootstrap resamples of the test examples, the same resamples for "
    "every cell of a task; empty where resampling does not apply",
}

BASELINE_COLUMNS: dict[str, str] = {
    "study": COLUMNS["study"],
    "task": COLUMNS["task"],
    "baseline": "tfidf | encoder | same-shape-gold | same-shape-distilled",
    "seed": "seed of weights and data order; missing where nothing is random",
    "dataset_size": "training examples, as many as the student with most has",
    "steps": "optimizer steps in all; missing where there are none",
    "params": "parameters without embeddings and LM head; of tfidf all its numbers",
    "params_with_embeddings": COLUMNS["params_with_embeddings"],
    "metric": COLUMNS["metric"],
    "value": COLUMNS["value"],
    "chance": COLUMNS["chance"],
    "examples": COLUMNS["examples"],
    "replicates": "as in the results table, on the same resamples as its models",
}
"""The columns of the table of baselines, which lies beside the results table: no law reads it."""

NUMBERS = [
    "stages", "dataset_size", "seed", "stage", "prune_ratio", "largest_cut", "params",
    "params_with_embeddings", "value", "chance", "examples",
]  # fmt: skip

NAMES = ["study", "cell", "task", "supervision", "thinking", "method", "schedule", "metric"]
WHOLE_NUMBERS = ["stages", "seed", "stage"]
SIZES = ["prune_ratio", "params", "params_with_embeddings"]

CELL_COLUMNS = [
    "study", "cell", "task", "supervision", "thinking", "method", "schedule", "stages",
    "dataset_size", "seed",
]  # fmt: skip


def configuration_name(supervision: str, method: str) -> str:
    """The name that figures and tables use for a combination: `logit-cot`, or `pruned only`."""
    return "pruned only" if method == "none" else f"{method}-{supervision}"


def read_results(path: Path) -> pd.DataFrame:
    """Read a results table and check its columns.

    A value that is infinite could not be measured: it is read as missing. Names are read as text.
    Of measurements that a table holds several times (a study added twice) the first is kept.

    Raises:
        InputError: the file is missing, not Parquet, lacks a column, has text for numbers, or a
            row without a name, seed, stage or positive size.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such results file; `distillscale study run` writes one.")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a Parquet file ({error}).") from error
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise InputError(f"{path}: not a results table, column `{missing[0]}` is missing.")
    for column in NUMBERS:
        if not pd.api.types.is_numeric_dtype(table[column]) and table[column].notna().any():
            raise InputError(f"{path}: column `{column}` holds {table[column].dtype}, not numbers.")
    _check_rows(path, table)
    values = table["value"].astype(float).replace([np.inf, -np.inf], np.nan)
    table = table.astype(dict.fromkeys(NAMES, str)).assign(value=values)
    return table[~table.duplicated([*CELL_COLUMNS, "stage", "metric", "prune_ratio", "value"])]


def _check_rows(path: Path, table: pd.DataFrame) -> None:
    """Refuse rows that belong to no run, or whose sizes are none."""
    for column in NAMES:
        _refuse(path, table[column], table[column].isna(), "give every row one")
    for column in WHOLE_NUMBERS:
        numbers = table[column].astype(float)
        _refuse(path, numbers, ~(numbers % 1 == 0) | (numbers < 0), "it must be a whole number")
    for column in SIZES:
        numbers = table[column].astype(float)
        _refuse(path, numbers, ~(numbers > 0) | np.isinf(numbers), "it must be a positive number")
    examples = table["dataset_size"].astype(float)
    _refuse(path, examples, (examples < 0) | np.isinf(examples), "it must not be negative")


def _refuse(path: Path, values: pd.Series, wrong: pd.Series, wanted: str) -> None:
    """One sentence on the first wrong entry of a column, if there is one; rows count from 1."""
    if wrong.any():
        place = int(wrong.to_numpy().argmax())
        value = values.iloc[place]
        shown = "empty" if pd.isna(value) else f"{value:g}"
        raise InputError(f"{path}: column `{values.name}` is {shown} in row {place + 1}; {wanted}.")


def write_results(table: pd.DataFrame, path: Path) -> None:
    """Write a results table whole or not at all (a temporary file, then a rename)."""
    _write(table[list(COLUMNS)], path)


def write_baselines(table: pd.DataFrame, path: Path) -> None:
    """Write a table of baselines in the same way."""
    _write(table[list(BASELINE_COLUMNS)], path)


def _write(table: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    table.to_parquet(temporary, index=False)
    temporary.replace(path)
