"""Decisions on a test set as a Parquet file, from which every measure can be taken again.

One row an example:

    id, text, gold      of the example
    predicted           the label with the highest log-likelihood
    probability         of `predicted`, after a softmax over the labels
    gold_nll            -log of the gold label's probability, nats
    completion          what a model that reasons wrote; missing for others
    written             the label that it wrote itself; missing where none could be read
    scores              log-likelihood of every label (float32), in the order of the file's labels

The labels, and the number of tokens of each, are in the file's metadata. Without the scores it is a
plain table: `pandas.read_parquet(path)`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from distillscale.errors import InputError
from distillscale.evaluation.in_domain import InDomain

PREDICTIONS = "predictions.parquet"
_KEY = b"distillscale"


@dataclass(frozen=True)
class StoredPredictions:
    """What the file holds.

    Attributes:
        table: its columns but for the scores.
        labels: the closed set.
        label_tokens: number of tokens of each label, end-of-sequence token included.
        scores: log-likelihoods, shape [examples, labels].
    """

    table: pd.DataFrame
    labels: tuple[str, ...]
    label_tokens: tuple[int, ...]
    scores: NDArray[np.float32]


def write_predictions(
    result: InDomain,
    path: Path,
    *,
    ids: Sequence[str],
    texts: Sequence[str],
    labels: Sequence[str],
    label_ids: Sequence[Sequence[int]],
) -> None:
    """Write the decisions of `evaluate_in_domain` on examples with these ids and texts."""
    rows = result.predictions
    written = [row.completion for row in rows]
    scores = pa.array(result.scores.astype(np.float32).ravel(), pa.float32())
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "text": pa.array(texts, pa.string()),
            "gold": pa.array([row.gold for row in rows], pa.string()),
            "predicted": pa.array([row.predicted for row in rows], pa.string()),
            "probability": pa.array([row.probability for row in rows], pa.float32()),
            "gold_nll": pa.array([row.gold_nll for row in rows], pa.float32()),
            "completion": pa.array([own.text if own else None for own in written], pa.string()),
            "written": pa.array([own.label if own else None for own in written], pa.string()),
            "scores": pa.FixedSizeListArray.from_arrays(scores, len(labels)),
        }
    )
    about = {"labels": list(labels), "label_tokens": [len(ids) for ids in label_ids]}
    pq.write_table(table.replace_schema_metadata({_KEY: json.dumps(about).encode()}), path)


def read_predictions(path: Path) -> StoredPredictions:
    """Read what `write_predictions` wrote.

    Raises:
        InputError: it is no such file.
    """
    try:
        table = pq.read_table(path)
        about = json.loads((table.schema.metadata or {})[_KEY])
        labels, tokens = tuple(about["labels"]), tuple(about["label_tokens"])
        scores = table.column("scores").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: not a file of predictions ({error}).") from error
    return StoredPredictions(
        table.drop_columns(["scores"]).to_pandas(), labels, tokens, scores.reshape(-1, len(labels))
    )
