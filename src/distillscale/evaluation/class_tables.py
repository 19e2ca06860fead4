"""Decisions class by class: F1 and support, confusion counts, the pairs that are confused most."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Indices = NDArray[np.intp]


def confusion_counts(gold: Indices, predicted: Indices, classes: int) -> NDArray[np.int64]:
    """Examples of each gold class (rows) that were taken for each class (columns)."""
    counts = np.bincount(gold * classes + predicted, minlength=classes**2)
    return counts.reshape(classes, classes).astype(np.int64)


def per_class(confusion: NDArray[np.int64], labels: Sequence[str]) -> pd.DataFrame:
    """One row a class: label, support, predicted, precision, recall, f1.

    `support` counts its gold examples, `predicted` those taken for it. Precision is missing where
    nothing was taken for the class, recall where it has no gold example, F1 where both are.
    """
    hits = confusion.diagonal().astype(float)
    support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    return pd.DataFrame(
        {
            "label": list(labels),
            "support": support,
            "predicted": predicted,
            "precision": _ratio(hits, predicted),
            "recall": _ratio(hits, support),
            "f1": _ratio(2 * hits, support + predicted),
        }
    )


def confused_pairs(confusion: NDArray[np.int64], labels: Sequence[str]) -> pd.DataFrame:
    """Pairs of classes that were confused, the most frequent first: gold, predicted, count, share.

    `share` is the share of the gold class's examples.
    """
    gold, predicted = np.nonzero(confusion - np.diag(confusion.diagonal()))
    counts = confusion[gold, predicted]
    pairs = pd.DataFrame(
        {
            "gold": np.array(labels, dtype=object)[gold],
            "predicted": np.array(labels, dtype=object)[predicted],
            "count": counts,
            "share": counts / confusion.sum(axis=1)[gold],
        }
    )
    return pairs.sort_values("count", ascending=False, kind="stable").reset_index(drop=True)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
