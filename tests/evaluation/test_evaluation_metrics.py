"""Metrics and their bootstrap against scikit-learn, resample by resample."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, f1_score

from distillscale.evaluation import metrics
from distillscale.evaluation.calibration import calibration_error
from distillscale.evaluation.measurement import Measurement
from distillscale.evaluation.metrics import (
    bootstrap_weights,
    closed_set_measurements,
    macro_f1,
    measure,
    measure_mean,
)
from distillscale.evaluation.selective import area_under_risk_coverage

CLASSES = 7


@pytest.fixture(scope="module")
def problem() -> tuple[np.ndarray, np.ndarray]:
    """Scores that know something, a long tail of classes, and one class that never occurs."""
    rng = np.random.default_rng(1)
    gold = rng.choice(CLASSES - 1, size=60, p=[0.5, 0.2, 0.15, 0.1, 0.03, 0.02])
    scores = rng.normal(size=(60, CLASSES)) * 2 - 30
    scores[np.arange(60), gold] += 2
    return scores, gold


def sklearn_metrics(scores: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    predicted = scores.argmax(axis=1)
    of_gold = softmax(scores, axis=1)[np.arange(len(gold)), gold]
    occurring = {"labels": np.unique(gold), "average": "macro", "zero_division": 0}
    return {
        "accuracy": accuracy_score(gold, predicted),
        "macro_f1": f1_score(gold, predicted, **occurring),
        "weighted_f1": f1_score(gold, predicted, average="weighted", zero_division=0),
        "gold_nll": -np.log(of_gold).mean(),
        "gold_probability": of_gold.mean(),
    }


def known_to_sklearn(measured: dict) -> dict:
    """Without ECE and AURC, which have tests of their own."""
    return {name: value for name, value in measured.items() if name not in ("ece", "aurc")}


def test_values_equal_sklearn(problem):
    scores, gold = problem
    measured = {item.metric: item.value for item in closed_set_measurements(scores, gold)}
    assert known_to_sklearn(measured) == pytest.approx(sklearn_metrics(scores, gold), abs=1e-12)


def test_replicates_equal_sklearn_on_the_resampled_examples(problem):
    scores, gold = problem
    measured = closed_set_measurements(scores, gold, replicates=25, seed=3)
    for number, counts in enumerate(bootstrap_weights(60, replicates=25, seed=3).astype(int)):
        rows = np.repeat(np.arange(60), counts)
        expected = sklearn_metrics(scores[rows], gold[rows])
        resampled = {item.metric: item.replicates[number] for item in measured}
        assert known_to_sklearn(resampled) == pytest.approx(expected, abs=1e-12)


def test_a_class_that_is_only_predicted_is_no_term_of_macro_f1():
    gold, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    # F1 of class 0: precision 1, recall 1/2; of class 1: 1; class 2 never occurs
    assert macro_f1(gold, predicted, np.ones((1, 4)))[0] == pytest.approx((2 / 3 + 1) / 2)


def test_calibration_and_selection_are_of_the_closed_sets_probabilities(problem):
    scores, gold = problem
    measured = {item.metric: item for item in closed_set_measurements(scores, gold)}
    confidence, correct = softmax(scores, axis=1).max(axis=1), scores.argmax(axis=1) == gold
    weights = bootstrap_weights(60)
    for name, compute in (("ece", calibration_error), ("aurc", area_under_risk_coverage)):
        assert measured[name].value == pytest.approx(
            compute(confidence, correct, np.ones((1, 60)))[0]
        )
        np.testing.assert_allclose(measured[name].replicates, compute(confidence, correct, weights))


def test_resamples_drawn_in_parts_are_those_drawn_at_once(monkeypatch):
    values = np.random.default_rng(0).normal(size=30)
    at_once = measure_mean("m", values, replicates=20)
    monkeypatch.setattr(metrics, "_LARGEST_WEIGHTS", 3 * 30)
    in_parts = measure_mean("m", values, replicates=20)
    np.testing.assert_allclose(in_parts.replicates, at_once.replicates, atol=1e-12)


def test_an_interval_holds_the_middle_of_the_replicates():
    replicates = tuple(np.arange(101) / 100)
    assert Measurement("m", 0.5, None, 9, replicates).interval() == pytest.approx((0.05, 0.95))
    assert Measurement("m", 0.5, None, 9, replicates).interval(0.5) == pytest.approx((0.25, 0.75))
    assert Measurement("m", 0.5, None, 9).interval() is None


def test_chance_is_that_of_a_uniform_guess(problem):
    chance = {item.metric: item.chance for item in closed_set_measurements(*problem)}
    assert chance["accuracy"] == chance["gold_probability"] == 1 / CLASSES
    assert chance["gold_nll"] == pytest.approx(np.log(CLASSES))
    assert chance["macro_f1"] is None
    assert chance["weighted_f1"] is None
    assert chance["ece"] is None
    assert chance["aurc"] is None


def test_equal_scores_have_the_likelihood_of_chance():
    gold = np.array([0, 3, 2])
    measured = {m.metric: m for m in closed_set_measurements(np.full((3, 4), -900.0), gold)}
    assert measured["gold_nll"].value == pytest.approx(measured["gold_nll"].chance)
    assert measured["gold_probability"].value == pytest.approx(0.25)


def test_resamples_depend_on_size_and_seed_only():
    weights = bootstrap_weights(40)
    assert weights.shape == (200, 40)
    assert (weights.sum(axis=1) == 40).all()
    np.testing.assert_array_equal(weights, bootstrap_weights(40))
    assert not np.array_equal(weights, bootstrap_weights(40, seed=1))


def test_bootstrap_spread_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=400)
    replicates = measure_mean("mean", values, replicates=4000).replicates
    assert np.std(replicates) == pytest.approx(values.std() / 20, rel=0.05)


def test_without_examples_a_metric_is_missing():
    nothing = closed_set_measurements(np.zeros((0, 5)), np.zeros(0, dtype=np.intp))
    assert {(item.value, item.examples, item.replicates) for item in nothing} == {(None, 0, ())}
    assert measure("m", 0, lambda weights: weights.sum(axis=1)).value is None
