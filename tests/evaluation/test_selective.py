"""Risk and coverage against their definitions, with ties and on resamples."""

import numpy as np
import pytest

from distillscale.evaluation.metrics import bootstrap_weights
from distillscale.evaluation.selective import area_under_risk_coverage, risk_coverage


@pytest.fixture(scope="module")
def decisions() -> tuple[np.ndarray, np.ndarray]:
    """A hundred decisions of about fifty different confidences."""
    rng = np.random.default_rng(3)
    confidence = rng.integers(1, 60, size=100) / 60
    return confidence, rng.random(100) < confidence


def area_by_definition(confidence: np.ndarray, correct: np.ndarray) -> float:
    return float(np.mean([1 - correct[confidence >= own].mean() for own in confidence]))


def area(confidence: np.ndarray, correct: np.ndarray) -> float:
    return float(area_under_risk_coverage(confidence, correct, np.ones((1, len(correct))))[0])


def test_area_is_its_definition(decisions):
    assert area(*decisions) == pytest.approx(area_by_definition(*decisions), abs=1e-12)


def test_a_resample_counts_as_its_repeated_examples(decisions):
    confidence, correct = decisions
    weights = bootstrap_weights(100, replicates=6, seed=2)
    areas = area_under_risk_coverage(confidence, correct, weights)
    for own, counts in zip(areas, weights.astype(int), strict=True):
        rows = np.repeat(np.arange(100), counts)
        expected = area_by_definition(confidence[rows], correct[rows])
        assert own == pytest.approx(expected, abs=1e-12)


def test_a_confidence_that_says_nothing_gives_the_error_rate(decisions):
    _, correct = decisions
    assert area(np.full(100, 0.7), correct) == pytest.approx(1 - correct.mean())


def test_knowing_ones_errors_gives_the_least_area(decisions):
    _, correct = decisions
    order = np.random.default_rng(0).permutation(100) / 1000
    best, worst = area(correct + order, correct), area(order - correct, correct)
    errors = int((~correct).sum())
    # only beyond the right ones is there risk: j errors among the first (right + j)
    assert best == pytest.approx(sum(j / (100 - errors + j) for j in range(1, errors + 1)) / 100)
    assert best < area(*decisions) < worst


def test_accuracy_at_coverage_by_hand():
    confidence = np.array([0.9, 0.8, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    correct = np.array([1, 1, 0, 1, 1, 0, 1, 0, 0, 0], dtype=bool)
    table = risk_coverage(confidence, correct, (0.1, 0.2, 0.7, 1.0)).set_index("asked")
    assert table["examples"].tolist() == [1, 3, 7, 10]  # the two at 0.8 are answered together
    assert table["coverage"].tolist() == [0.1, 0.3, 0.7, 1.0]
    assert table["threshold"].tolist() == [0.9, 0.8, 0.4, 0.1]
    np.testing.assert_allclose(table["accuracy"], [1, 2 / 3, 5 / 7, 0.5])
    np.testing.assert_allclose(table["risk"], 1 - table["accuracy"])


def test_full_coverage_is_the_plain_accuracy(decisions):
    table = risk_coverage(*decisions)
    assert table["accuracy"].iloc[-1] == pytest.approx(decisions[1].mean())
    assert (table["coverage"] >= table["asked"] - 1e-9).all()
    assert table["threshold"].is_monotonic_decreasing
