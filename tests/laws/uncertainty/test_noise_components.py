import numpy as np
import pytest
from planned_laws import VARIANCES, cells, chains, law, measured

from distillscale.errors import InputError
from distillscale.laws.uncertainty.noise import estimate_noise, expected_noise
from distillscale.laws.uncertainty.runs import Runs


@pytest.mark.parametrize("kind", ["data", "size", "collapse"])
def test_components_come_out_right_on_average(kind: str) -> None:
    fits = [measured(kind, 150, seed) for seed in range(4)]
    noise = estimate_noise(fits)
    # Negative solutions are cut at zero, which lifts the means a little.
    assert noise.variances.mean(axis=0) == pytest.approx(VARIANCES[kind], rel=0.3)
    assert noise.laws == 4


def test_pooling_over_laws_gives_more_degrees_of_freedom() -> None:
    one = estimate_noise([measured("size", 40, 0)])
    pooled = estimate_noise([measured("size", 40, seed) for seed in range(5)])
    assert np.median(pooled.degrees()) > 3 * np.median(one.degrees())
    spread = [noise.variances.sum(axis=1).std() for noise in (one, pooled)]
    assert spread[1] < 0.7 * spread[0]


def test_the_promised_spread_of_the_estimates_is_theirs() -> None:
    fits = [measured("data", 400, seed, variances=[0.2**2]) for seed in range(2)]
    noise = estimate_noise(fits)
    promised = np.sqrt(np.median(noise.uncertainty[:, 0, 0]))
    assert noise.variances[:, 0].std() == pytest.approx(promised, rel=0.2)


def test_test_sampling_alone_leaves_little_for_the_runs() -> None:
    noise = estimate_noise([measured("data", 100, seed, variances=[0.0]) for seed in range(5)])
    assert np.sqrt(np.median(noise.variances)) < 0.03  # its own deviation is 0.08


def test_as_many_parameters_as_points_leave_no_noise_to_see() -> None:
    x = np.array([30.0, 300, 3000])
    runs = Runs(np.arange(3), np.ones(3, dtype=int), np.zeros((3, 3)))
    with pytest.raises(InputError, match="3 points leave nothing over to estimate the noise"):
        estimate_noise([law("data", runs, x)])


def test_expected_noise_is_as_uncertain_as_measured_noise_is() -> None:
    known = VARIANCES["collapse"]
    expected = expected_noise([law("collapse") for _ in range(5)], known)
    found = estimate_noise([measured("collapse", 300, seed) for seed in range(5)])
    total = found.variances.sum(axis=1)
    promised = np.sqrt(expected.uncertainty.sum())
    assert expected.variances[0] == pytest.approx(known)
    assert total.std() == pytest.approx(promised, rel=0.3)


def test_runs_that_count_are_counted() -> None:
    noise = estimate_noise([measured("size", 1, seed) for seed in range(3)])
    assert noise.runs == 9
    assert noise.covariance(chains()).shape == (1, 18, 18)
    assert estimate_noise([measured("data", 1)]).covariance(cells()).shape == (1, 15, 15)
