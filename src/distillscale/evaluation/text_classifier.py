"""How well and how fast anything decides that gives labels scores for texts."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from distillscale.evaluation.in_domain import label_indices
from distillscale.evaluation.latency import BATCH_SIZE, time_decisions
from distillscale.evaluation.measurement import Measurement
from distillscale.evaluation.metrics import REPLICATES, closed_set_measurements
from distillscale.models.batches import slices

Score = Callable[[Sequence[str]], NDArray[np.float64]]
"""Log-likelihoods of the labels for one batch of texts, shape [texts, labels]."""


def evaluate_text_classifier(
    score: Score,
    texts: Sequence[str],
    gold: Sequence[str],
    labels: Sequence[str],
    *,
    replicates: int = REPLICATES,
    singles: int = 5,
) -> list[Measurement]:
    """The metrics of `closed_set_measurements`, and the times from text to decision.

    The resamples are those of every model that is measured on as many examples. Times are those of
    `time_decisions`, and the second one as a rate, `examples_per_second`.

    Args:
        gold: label of each text.
        labels: the closed set, in the order of the scores.
        singles: texts timed one at a time, at most.

    Raises:
        InputError: a gold label is not in the closed set.
    """
    index = label_indices(gold, labels)
    scores = np.concatenate([score(texts[part]) for part in slices(len(texts), BATCH_SIZE)])
    alone, together = time_decisions(score, texts, singles=singles)
    assert together.value is not None
    rate = Measurement("examples_per_second", 1000 / together.value, None, together.examples)
    return [
        *closed_set_measurements(scores, index, replicates=replicates), alone, together, rate,
    ]  # fmt: skip
