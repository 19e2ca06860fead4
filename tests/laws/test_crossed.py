"""The mean of paired differences against textbook tests and by simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, ttest_1samp

from distillscale.laws.comparison.crossed import (
    NOTHING,
    RUNS_AND_TEST,
    RUNS_ONLY,
    TEST_ONLY,
    crossed_mean,
)

NONE = np.zeros(0)


def test_of_one_stratum_without_replicates_it_is_students_t() -> None:
    values = np.array([0.11, 0.08, 0.15, 0.02])
    mean = crossed_mean(values, [NONE] * 4, ["a"] * 4, 0.95)
    reference = ttest_1samp(values, 0)
    assert mean.p == pytest.approx(reference.pvalue)
    assert (mean.low, mean.high) == pytest.approx(tuple(reference.confidence_interval(0.95)))
    assert (mean.units, mean.degrees, mean.covers) == (4, 3, RUNS_ONLY)


def test_strata_are_the_cells_of_a_regression() -> None:
    """Equal counts: the mean and its standard error are those of the mean of cell means."""
    from statsmodels.formula.api import ols

    values = np.random.default_rng(0).normal(0.1, 0.05, 12)
    strata = np.repeat(["a", "b", "c"], 4)
    fitted = ols("value ~ C(stratum) - 1", pd.DataFrame({"value": values, "stratum": strata}))
    reference = fitted.fit().t_test(np.full(3, 1 / 3))
    mean = crossed_mean(values, [NONE] * 12, strata.tolist(), 0.95)
    assert mean.value == pytest.approx(reference.effect.item())
    variances = [values[strata == s].var(ddof=1) for s in "abc"]
    assert np.sqrt(np.mean(variances) / 12) == pytest.approx(reference.sd.item())
    # Satterthwaite's degrees of freedom lie between one stratum's and the regression's.
    assert 3 <= mean.degrees <= 9
    half = (mean.high - mean.low) / 2
    low, high = reference.conf_int(0.05)[0]
    assert half >= (high - low) / 2


def test_a_single_run_has_an_interval_of_the_test_examples_and_no_test() -> None:
    replicates = np.array([0.08, 0.10, 0.12, 0.09, 0.11])
    mean = crossed_mean(np.array([0.1]), [replicates], ["a"], 0.9)
    half = norm.ppf(0.95) * replicates.std(ddof=1)
    assert (mean.low, mean.high) == pytest.approx((0.1 - half, 0.1 + half))
    assert (mean.p, mean.degrees, mean.covers) == (None, None, TEST_ONLY)
    nothing = crossed_mean(np.array([0.1]), [NONE], ["a"], 0.9)
    assert (nothing.low, nothing.high, nothing.p, nothing.covers) == (None, None, None, NOTHING)


def test_variance_that_all_runs_share_is_added_in_full_and_own_luck_once() -> None:
    rng = np.random.default_rng(1)
    shared, own = rng.normal(0, 0.02, 4000), rng.normal(0, 0.03, (3, 4000))
    values = np.array([0.0, 0.1, 0.2])
    runs = values.var(ddof=1) / 3
    mean = crossed_mean(values, list(shared + own), ["a"] * 3, 0.95)
    standard_error = abs(mean.value) / _t_quantile(mean.p, mean.degrees)
    assert standard_error**2 == pytest.approx(runs + 0.02**2, rel=0.01)
    assert mean.covers == RUNS_AND_TEST


def _t_quantile(p: float, degrees: float) -> float:
    from scipy.stats import t

    return float(t.isf(p / 2, degrees))


def test_equal_differences() -> None:
    same = crossed_mean(np.zeros(3), [NONE] * 3, ["a"] * 3, 0.95)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)
    shifted = crossed_mean(np.full(3, 0.5), [NONE] * 3, ["a"] * 3, 0.95)
    assert (shifted.low, shifted.high, shifted.p) == (0.5, 0.5, None)


def test_a_stratum_of_one_unit_has_the_others_variance() -> None:
    values = np.array([0.1, 0.3, 0.2])
    mean = crossed_mean(values, [NONE] * 3, ["a", "a", "b"], 0.95)
    variance = values[:2].var(ddof=1) * (1 / 2 + 1) / 4
    assert mean.value == pytest.approx(0.2)
    assert mean.value / _t_quantile(mean.p, mean.degrees) == pytest.approx(np.sqrt(variance))
    assert mean.degrees == 1


@pytest.mark.parametrize("runs", [0.0, 0.02])
@pytest.mark.parametrize("strata", [1, 4])
def test_intervals_cover_the_truth_at_their_rate(strata: int, runs: float) -> None:
    """Three seeds a stratum, 300 test examples that all runs share and each finds its own hard."""
    rng = np.random.default_rng(2)
    examples, count = 300, 3 * strata
    resamples = rng.multinomial(examples, np.full(examples, 1 / examples), size=200) / examples
    names = [stratum for stratum in range(strata) for _ in range(3)]
    covered = []
    for _ in range(500):
        difference = rng.normal(0, 0.3, examples) + rng.normal(0, 0.3, (count, examples))
        values = rng.normal(0, runs, count) + difference.mean(axis=1)
        offsets = (values - difference.mean(axis=1))[:, None]
        mean = crossed_mean(values, list(difference @ resamples.T + offsets), names, 0.95)
        covered.append(mean.low <= 0 <= mean.high)
    assert 0.92 <= np.mean(covered) <= 0.985
