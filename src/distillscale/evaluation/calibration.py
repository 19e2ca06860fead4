"""Calibration: whether a model that says "90 %" is right nine times in ten.

A decision's confidence is the probability of the chosen label after a softmax over the closed set.
Confidences are sorted into `BINS` equal bins of [0, 1]; the expected calibration error is the mean
of |accuracy - confidence| over the bins, weighted by their examples (Guo et al. 2017, arXiv
1706.04599). It is biased upwards where bins hold few examples, and its bootstrap replicates, with
fewer different examples still, more so: an interval of it may lie above the value.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

BINS = 15

Floats = NDArray[np.float64]


def confidence_bins(confidence: Floats) -> NDArray[np.intp]:
    """The bin of each confidence, 0 to BINS - 1: bin b holds (b / BINS, (b + 1) / BINS], and 0."""
    return np.clip(np.ceil(confidence * BINS).astype(np.intp) - 1, 0, BINS - 1)


def calibration_error(
    confidence: Floats, correct: NDArray[np.bool_], weights: Floats
) -> NDArray[np.float64]:
    """Expected calibration error under each row of weights, shape [rows], in [0, 1].

    Args:
        confidence: probability of the decision, shape [examples].
        correct: whether the decision is right, shape [examples].
        weights: how often each example counts, shape [rows, examples].
    """
    in_bin = confidence_bins(confidence)[:, None] == np.arange(BINS)
    gap = weights @ (in_bin * (correct - confidence)[:, None])
    return np.abs(gap).sum(axis=1) / weights.sum(axis=1)


def reliability_table(confidence: Floats, correct: NDArray[np.bool_]) -> pd.DataFrame:
    """One row a bin that has examples: low, high, examples, confidence and accuracy (means)."""
    rows = pd.DataFrame(
        {"bin": confidence_bins(confidence), "confidence": confidence, "accuracy": correct}
    )
    table = rows.groupby("bin").agg(
        examples=("accuracy", "size"),
        confidence=("confidence", "mean"),
        accuracy=("accuracy", "mean"),
    )
    low = table.index.to_numpy() / BINS
    return table.assign(low=low, high=low + 1 / BINS).reset_index(drop=True)[
        ["low", "high", "examples", "confidence", "accuracy"]
    ]
