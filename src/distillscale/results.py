"""The results table: one row per cell, stage and metric.

This module has no dependency on torch, so that laws can be refitted and reports redrawn on a
machine without it.
"""

from pathlib import Path

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

NUMBERS = [
    "stages", "dataset_size", "seed", "stage", "prune_ratio", "largest_cut", "params",
    "params_with_embeddings", "value", "chance", "examples",
]  # fmt: skip

CELL_COLUMNS = [
    "study", "cell", "task", "supervision", "thinking", "method", "schedule", "stages",
    "dataset_size", "seed",
]  # fmt: skip


def configuration_name(supervision: str, method: str) -> str:
    """The name that figures and tables use for a combination: `logit-cot`, or `pruned only`."""
    return "pruned only" if method == "none" else f"{method}-{supervision}"


def read_results(path: Path) -> pd.DataFrame:
    """Read a results table and check its columns.

    Raises:
        InputError: the file is missing, not Parquet, lacks a column, or has text for numbers.
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
    return table


def write_results(table: pd.DataFrame, path: Path) -> None:
    """Write a results table whole or not at all (a temporary file, then a rename)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    table[list(COLUMNS)].to_parquet(temporary, index=False)
    temporary.replace(path)
