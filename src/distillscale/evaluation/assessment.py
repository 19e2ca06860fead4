"""What a results table's metrics leave out, from the scores of a closed set: no model needed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from distillscale.evaluation.calibration import reliability_table
from distillscale.evaluation.class_tables import confused_pairs, confusion_counts, per_class
from distillscale.evaluation.length_normalised import (
    label_lengths,
    length_normalised_measurements,
)
from distillscale.evaluation.measurement import Measurement
from distillscale.evaluation.metrics import (
    REPLICATES,
    Floats,
    Indices,
    log_probabilities,
)
from distillscale.evaluation.selective import risk_coverage


@dataclass(frozen=True)
class Assessment:
    """What is to be said about a model's decisions on a test set.

    Attributes:
        normalised: accuracy and macro F1 by scores divided by the labels' lengths, as
            `length_normalised_measurements` gives them.
        confusion: counts; gold labels are the index, predicted labels the columns.
        classes: as `per_class` gives them.
        pairs: as `confused_pairs` gives them.
        reliability: as `reliability_table` gives it.
        coverage: as `risk_coverage` gives it.
    """

    normalised: tuple[Measurement, ...]
    confusion: pd.DataFrame
    classes: pd.DataFrame
    pairs: pd.DataFrame
    reliability: pd.DataFrame
    coverage: pd.DataFrame


def assess(
    scores: Floats,
    gold: Indices,
    labels: Sequence[str],
    label_tokens: Sequence[int],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Assessment:
    """Look closely at decisions by the highest log-likelihood.

    Args:
        scores: log-likelihoods, shape [examples, labels], of at least one example.
        gold: index of the right label, shape [examples].
        label_tokens: number of tokens of each label, end-of-sequence token included.
    """
    predicted = scores.argmax(axis=1)
    correct = predicted == gold
    confidence = np.exp(log_probabilities(scores).max(axis=1))
    counts = confusion_counts(gold, predicted, len(labels))
    lengths = label_lengths(labels, label_tokens)
    normalised = length_normalised_measurements(
        scores, gold, lengths, replicates=replicates, seed=seed
    )
    return Assessment(
        normalised=tuple(normalised),
        confusion=pd.DataFrame(counts, index=list(labels), columns=list(labels)),
        classes=per_class(counts, labels),
        pairs=confused_pairs(counts, labels),
        reliability=reliability_table(confidence, correct),
        coverage=risk_coverage(confidence, correct),
    )
