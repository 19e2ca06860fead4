"""Selective classification: how right a model is on what it is most sure of.

The model answers where its confidence reaches a threshold and leaves the rest to somebody else.
Coverage is the share that it answers, risk the share of wrong answers among these (El-Yaniv and
Wiener 2010). Examples of one confidence are answered together or not at all.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

COVERAGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)

Floats = NDArray[np.float64]


def area_under_risk_coverage(
    confidence: Floats, correct: NDArray[np.bool_], weights: Floats
) -> Floats:
    """AURC under each row of weights, shape [rows], in [0, 1]; lower is better.

    The mean, over the examples, of the risk when all that are at least as confident are answered
    (Geifman and El-Yaniv 2017, arXiv 1705.08500). A confidence that says nothing gives the error
    rate.

    Args:
        confidence: of each decision, shape [examples].
        correct: whether the decision is right, shape [examples].
        weights: how often each example counts, shape [rows, examples].
    """
    order, ends = _thresholds(confidence)
    sorted_weights = weights[:, order]
    covered = sorted_weights.cumsum(axis=1)[:, ends]
    wrong = (sorted_weights * ~correct[order]).cumsum(axis=1)[:, ends]
    risk = wrong / np.where(covered > 0, covered, 1)
    at_threshold = np.diff(covered, axis=1, prepend=0)
    return (at_threshold * risk).sum(axis=1) / covered[:, -1]


def risk_coverage(
    confidence: Floats, correct: NDArray[np.bool_], coverages: Sequence[float] = COVERAGES
) -> pd.DataFrame:
    """Selective accuracy at coverages: one row for each, with at least the coverage asked for.

    Columns: asked, coverage, examples, threshold (the least confidence that is answered), accuracy
    and risk of what is answered.
    """
    order, ends = _thresholds(confidence)
    answered = ends + 1
    right = correct[order].cumsum()[ends]
    # Rounding must not ask for one example more: 0.7 of 10 examples are 7.
    needed = np.ceil(np.array(coverages) * len(confidence) - 1e-9)
    at = np.searchsorted(answered, np.maximum(needed, 1))
    accuracy = right[at] / answered[at]
    return pd.DataFrame(
        {
            "asked": coverages,
            "coverage": answered[at] / len(confidence),
            "examples": answered[at],
            "threshold": confidence[order][ends][at],
            "accuracy": accuracy,
            "risk": 1 - accuracy,
        }
    )


def _thresholds(confidence: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Examples from the most confident on, and the last place of each different confidence."""
    order = np.argsort(-confidence, kind="stable")
    falls = np.diff(confidence[order]) < 0
    return order, np.append(np.flatnonzero(falls), len(confidence) - 1)
