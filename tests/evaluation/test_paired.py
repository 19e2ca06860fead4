"""Paired tests: McNemar against statsmodels, the bootstrap against scikit-learn and its level."""

import numpy as np
import pytest
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar as reference

from distillscale.evaluation.metrics import bootstrap_weights
from distillscale.evaluation.paired import f1_differences, mcnemar, paired_bootstrap


@pytest.fixture(scope="module")
def decisions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gold, a model that is right four times in five, and one three times in five."""
    rng = np.random.default_rng(5)
    gold = rng.integers(0, 4, size=120)
    noise = rng.integers(0, 4, size=(2, 120))
    keep = rng.random((2, 120)) < np.array([[0.8], [0.5]])
    first, second = np.where(keep, gold, noise)
    return gold, first, second


def test_mcnemar_is_the_exact_test(decisions):
    gold, first, second = decisions
    right, also = first == gold, second == gold
    found = mcnemar(right, also)
    table = [[(right & also).sum(), (right & ~also).sum()], [(~right & also).sum(), 0]]
    assert found.p == pytest.approx(reference(table, exact=True).pvalue)
    assert (found.only_first, found.only_second) == (table[0][1], table[1][0])


def test_mcnemar_on_a_textbook_case():
    """6 against 16 discordant pairs: two-sided binomial p = 0.0525 (scipy and R's binom.test)."""
    first = np.array([True] * 6 + [False] * 16 + [True] * 50)
    second = np.array([False] * 6 + [True] * 16 + [True] * 50)
    assert mcnemar(first, second).p == pytest.approx(0.052479, abs=1e-5)


def test_equal_models_are_not_told_apart(decisions):
    gold, first, _ = decisions
    assert mcnemar(first == gold, first == gold).p == 1
    for item in f1_differences(gold, first, first, replicates=50):
        assert (item.value, item.low, item.high, item.p) == (0, 0, 0, 1)


def test_differences_are_scikit_learns_on_common_resamples(decisions):
    gold, first, second = decisions
    macro, weighted = f1_differences(gold, first, second, replicates=40, seed=2)
    drawn = []
    for counts in bootstrap_weights(120, 40, seed=2).astype(int):
        rows = np.repeat(np.arange(120), counts)
        own, other = (f1_score(gold[rows], m[rows], average="macro") for m in (first, second))
        drawn.append(own - other)
    assert macro.value == pytest.approx(
        f1_score(gold, first, average="macro") - f1_score(gold, second, average="macro")
    )
    assert (macro.low, macro.high) == pytest.approx(tuple(np.quantile(drawn, (0.05, 0.95))))
    assert weighted.metric == "weighted_f1"
    assert macro.p == pytest.approx(2 / 41)  # no resample turns the sign, so one in 41 on a side


def test_models_that_swap_change_the_sign_only(decisions):
    gold, first, second = decisions
    one, _ = f1_differences(gold, first, second, replicates=60)
    other, _ = f1_differences(gold, second, first, replicates=60)
    swapped = (-other.value, -other.high, -other.low, other.p)
    assert (one.value, one.low, one.high, one.p) == pytest.approx(swapped)


def test_p_keeps_its_level_where_models_are_equal():
    """Of 200 comparisons of models that are equally good, about a tenth has p below 0.1."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        difference = rng.normal(size=80)
        found.append(
            paired_bootstrap(
                "mean", 80, lambda w, d=difference: w @ d / w.sum(axis=1), replicates=200
            ).p
        )
    assert 0.05 < np.mean(np.array(found) < 0.1) < 0.17
