"""Decisions by the log-likelihood divided by a label's length.

A sum of log-likelihoods is lower for a longer label, other things equal. Division by the number of
characters is `acc_norm` of lm-evaluation-harness; division by the number of tokens, the
end-of-sequence token included, is the mean log-likelihood a token. The sum stays the decision rule
everywhere else: our labels end with the end-of-sequence token, so it is the log-probability of the
whole answer, and only it makes a distribution over the closed set.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from distillscale.evaluation.measurement import Measurement
from distillscale.evaluation.metrics import (
    REPLICATES,
    Floats,
    Indices,
    macro_f1,
    measure,
    measure_mean,
)


def label_lengths(labels: Sequence[str], label_tokens: Sequence[int]) -> dict[str, Floats]:
    """Lengths of the labels in each unit, `token` and `character`, shape [labels]."""
    return {
        "token": np.array(label_tokens, dtype=float),
        "character": np.array([len(label) for label in labels], dtype=float),
    }


def length_normalised_measurements(
    scores: Floats,
    gold: Indices,
    lengths: dict[str, Floats],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> list[Measurement]:
    """`accuracy_per_UNIT` and `macro_f1_per_UNIT` of the labels with the highest score a unit.

    Args:
        scores: log-likelihoods, shape [examples, labels].
        gold: index of the right label, shape [examples].
        lengths: of the labels in each unit, as `label_lengths` gives them.
    """
    measured = []
    for unit, length in lengths.items():
        predicted = (scores / length).argmax(axis=1)
        measured += [
            measure_mean(
                f"accuracy_per_{unit}",
                predicted == gold,
                chance=1 / len(length),
                replicates=replicates,
                seed=seed,
            ),
            measure(
                f"macro_f1_per_{unit}",
                len(gold),
                partial(macro_f1, gold, predicted),
                replicates=replicates,
                seed=seed,
            ),
        ]
    return measured
