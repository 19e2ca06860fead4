"""Calibration against its definition, bin by bin, and against scikit-learn's calibration curve."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from distillscale.evaluation.calibration import (
    BINS,
    calibration_error,
    confidence_bins,
    reliability_table,
)
from distillscale.evaluation.metrics import bootstrap_weights


@pytest.fixture(scope="module")
def decisions() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    confidence = rng.beta(4, 2, size=500)
    return confidence, rng.random(500) < confidence**2


def by_definition(confidence: np.ndarray, correct: np.ndarray) -> float:
    error = 0.0
    for low in np.arange(BINS) / BINS:
        inside = (confidence > low) & (confidence <= low + 1 / BINS)
        if inside.any():
            error += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return error


def test_error_is_its_definition(decisions):
    error = calibration_error(*decisions, np.ones((1, 500)))[0]
    assert error == pytest.approx(by_definition(*decisions), abs=1e-12)


def test_a_resample_counts_as_its_repeated_examples(decisions):
    confidence, correct = decisions
    weights = bootstrap_weights(500, replicates=5, seed=1)
    for error, counts in zip(
        calibration_error(confidence, correct, weights), weights.astype(int), strict=True
    ):
        rows = np.repeat(np.arange(500), counts)
        assert error == pytest.approx(by_definition(confidence[rows], correct[rows]), abs=1e-12)


def test_bins_are_scikit_learns(decisions):
    confidence, correct = decisions
    table = reliability_table(confidence, correct)
    accuracy, mean = calibration_curve(correct, confidence, n_bins=BINS, strategy="uniform")
    np.testing.assert_allclose(table["accuracy"], accuracy)
    np.testing.assert_allclose(table["confidence"], mean)
    assert table["examples"].sum() == 500
    assert ((table["confidence"] > table["low"]) & (table["confidence"] <= table["high"])).all()


def test_edges_belong_to_the_bin_below_and_zero_to_the_first():
    assert confidence_bins(np.array([0.0, 1 / BINS, 1.5 / BINS, 1.0])).tolist() == [
        0,
        0,
        1,
        BINS - 1,
    ]


def test_a_model_that_is_right_as_often_as_it_says_has_no_error():
    confidence = np.repeat([0.5, 0.9], [10, 10])
    correct = np.array([True] * 5 + [False] * 5 + [True] * 9 + [False])
    assert calibration_error(confidence, correct, np.ones((1, 20)))[0] == pytest.approx(
        0, abs=1e-12
    )
    sure = np.ones(20)
    assert calibration_error(sure, correct, np.ones((1, 20)))[0] == pytest.approx(0.3)
