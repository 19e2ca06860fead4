import numpy as np
import pytest

from distillscale.laws.bootstrap import TEST_ONLY, draw, interval


def test_one_seed_uses_the_replicates_in_order_and_says_what_is_covered() -> None:
    replicates = [np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.4, 0.6])]
    draws = draw(np.array([0.2, 0.5]), replicates, [0, 0])
    assert draws.values == pytest.approx(np.array([[0.1, 0.5], [0.2, 0.4], [0.3, 0.6]]))
    assert (draws.weights == 1).all()
    assert draws.covers == TEST_ONLY


def test_the_bias_of_replicates_is_taken_off() -> None:
    draws = draw(np.array([0.9]), [np.array([0.6, 0.7, 0.8])], [0])
    assert draws.means() == pytest.approx([0.8, 0.9, 1.0])


def test_points_of_one_run_are_drawn_together() -> None:
    seeds = [0, 0, 1, 1, 2, 2]
    draws = draw(np.arange(6.0), [np.zeros(0)] * 6, seeds)
    assert (draws.weights[:, ::2] == draws.weights[:, 1::2]).all()
    assert (draws.weights[:, ::2].sum(axis=1) == 2).all()
    assert "run-to-run variation only (3 seeds)" in draws.covers


def test_spread_of_the_mean_over_few_runs_has_the_right_size() -> None:
    values = np.array([1.0, 2.0, 4.0])
    draws = draw(values, [np.zeros(0)] * 3, [1, 2, 3])
    assert draws.means().std() == pytest.approx(values.std(ddof=1) / np.sqrt(3), rel=0.1)


def test_two_seeds_are_too_few_to_resample() -> None:
    draws = draw(np.array([0.1, 0.2]), [np.ones(5)] * 2, [0, 1])
    assert (draws.weights == 1).all()
    assert draws.covers == TEST_ONLY


def test_without_seeds_and_replicates_there_is_no_interval() -> None:
    draws = draw(np.array([0.1]), [np.zeros(0)], [0])
    assert interval(draws.means()) is None
    assert draws.covers.startswith("no intervals")


def test_same_seed_same_draws() -> None:
    first, second = (draw(np.arange(4.0), [np.ones(9)] * 4, range(4), seed=7) for _ in range(2))
    assert (first.weights == second.weights).all()


def test_interval_is_by_percentile() -> None:
    assert interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))
