"""Metrics of closed-set decisions, each computed at once on all bootstrap resamples.

A resample of n test examples is a row of n counts that sum to n ("how often was this example
drawn"), so a metric on R resamples is a product with an [R, n] matrix of weights. The plain value
is the metric under a row of ones: value and replicates come from the same code.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from distillscale.evaluation.calibration import calibration_error
from distillscale.evaluation.measurement import Measurement
from distillscale.evaluation.selective import area_under_risk_coverage
from distillscale.models.batches import slices

REPLICATES = 200
_LARGEST_WEIGHTS = 2**23
"""Weights held at once, 64 MiB: of a large test set, resamples are worked through in parts."""

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def bootstrap_weights(examples: int, replicates: int = REPLICATES, seed: int = 0) -> Floats:
    """How often each example occurs in each resample, shape [replicates, examples].

    Depends on its arguments only: every model that is measured on the same examples is measured on
    the same resamples, so differences between models can be bootstrapped in pairs.
    """
    return _draw(np.random.default_rng(seed), examples, replicates)


def resampled(
    examples: int,
    compute: Callable[[Floats], Floats],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Floats:
    """A metric on each resample of `bootstrap_weights`, shape [replicates]."""
    rng = np.random.default_rng(seed)
    parts = slices(replicates, max(1, _LARGEST_WEIGHTS // examples))
    return np.concatenate([compute(_draw(rng, examples, part.stop - part.start)) for part in parts])


def _draw(rng: np.random.Generator, examples: int, rows: int) -> Floats:
    """The next resamples of a stream: as many at once or one by one, they are the same."""
    draws = rng.multinomial(examples, np.full(examples, 1 / examples), size=rows)
    return draws.astype(np.float64)


def measure(
    metric: str,
    examples: int,
    compute: Callable[[Floats], Floats],
    *,
    chance: float | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Measurement:
    """A metric's value and its bootstrap replicates; missing where there are no examples.

    Args:
        compute: takes weights [rows, examples] and returns the metric of each row, shape [rows].
    """
    if examples == 0:
        return Measurement(metric, None, chance, 0)
    value = float(compute(np.ones((1, examples)))[0])
    drawn = resampled(examples, compute, replicates=replicates, seed=seed)
    return Measurement(metric, value, chance, examples, tuple(drawn.tolist()))


def measure_mean(
    metric: str,
    values: NDArray[np.generic],
    *,
    chance: float | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Measurement:
    """The mean of one value per example as a measurement; of booleans, the share that is true."""
    return measure(
        metric,
        len(values),
        lambda weights: weighted_mean(values, weights),
        chance=chance,
        replicates=replicates,
        seed=seed,
    )


def weighted_mean(values: NDArray[np.generic], weights: Floats) -> Floats:
    """Mean of one value per example under each row of weights, shape [rows]."""
    return weights @ values.astype(np.float64) / weights.sum(axis=1)


def macro_f1(gold: Indices, predicted: Indices, weights: Floats) -> Floats:
    """Unweighted mean of the classes' F1 under each row of weights, shape [rows], in [0, 1].

    The mean runs over the classes that occur in the (resampled) gold labels. A class that is
    predicted but never gold is no term of it; it costs the recall of the classes it took from.
    This is scikit-learn's `f1_score(average="macro", labels=np.unique(gold), zero_division=0)`.
    """
    f1, support = _f1_by_class(gold, predicted, weights)
    occurs = support > 0
    return (f1 * occurs).sum(axis=1) / occurs.sum(axis=1)


def weighted_f1(gold: Indices, predicted: Indices, weights: Floats) -> Floats:
    """Mean of the classes' F1, each weighted by its number of gold examples, shape [rows].

    This is scikit-learn's `f1_score(average="weighted", zero_division=0)`.
    """
    f1, support = _f1_by_class(gold, predicted, weights)
    return (f1 * support).sum(axis=1) / support.sum(axis=1)


def gold_log_probability(scores: Floats, gold: Indices) -> Floats:
    """Log-probability of the gold choice after a softmax over the closed set, shape [examples].

    Args:
        scores: log-likelihoods, shape [examples, choices].
    """
    return log_probabilities(scores)[np.arange(len(gold)), gold]


def log_probabilities(scores: Floats) -> Floats:
    """Log of the softmax over the closed set, shape [examples, choices]."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def closed_set_measurements(
    scores: Floats, gold: Indices, *, replicates: int = REPLICATES, seed: int = 0
) -> list[Measurement]:
    """The in-domain metrics of decisions by the highest log-likelihood.

    `accuracy`, `macro_f1`, `weighted_f1`; `gold_nll` (nats) and `gold_probability` are means over
    the examples of the gold choice's negative log-probability and probability within the closed
    set; `ece` is the expected calibration error, `aurc` the area under the risk-coverage curve.
    Chance is that of a uniform distribution over the choices; F1, `ece` and `aurc` have none.

    Args:
        scores: log-likelihoods, shape [examples, choices].
        gold: index of the right choice, shape [examples].
    """
    examples, choices = scores.shape
    predicted = scores.argmax(axis=1)
    correct = predicted == gold
    log_probability = gold_log_probability(scores, gold)
    confidence = np.exp(log_probabilities(scores).max(axis=1))
    metrics: dict[str, tuple[Callable[[Floats], Floats], float | None]] = {
        "accuracy": (lambda w: weighted_mean(correct, w), 1 / choices),
        "macro_f1": (lambda w: macro_f1(gold, predicted, w), None),
        "weighted_f1": (lambda w: weighted_f1(gold, predicted, w), None),
        "gold_nll": (lambda w: weighted_mean(-log_probability, w), float(np.log(choices))),
        "gold_probability": (lambda w: weighted_mean(np.exp(log_probability), w), 1 / choices),
        "ece": (lambda w: calibration_error(confidence, correct, w), None),
        "aurc": (lambda w: area_under_risk_coverage(confidence, correct, w), None),
    }
    return [
        measure(name, examples, compute, chance=chance, replicates=replicates, seed=seed)
        for name, (compute, chance) in metrics.items()
    ]


def _f1_by_class(gold: Indices, predicted: Indices, weights: Floats) -> tuple[Floats, Floats]:
    """F1 and number of gold examples of each class, both of shape [rows, classes]."""
    classes = np.arange(max(gold.max(), predicted.max()) + 1)
    is_gold = gold[:, None] == classes
    is_predicted = predicted[:, None] == classes
    support = weights @ is_gold
    hits = weights @ (is_gold & is_predicted)
    total = support + weights @ is_predicted
    return 2 * hits / np.where(total > 0, total, 1), support
