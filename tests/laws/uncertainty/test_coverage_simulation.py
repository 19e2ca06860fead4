from dataclasses import replace

import numpy as np
import pytest
from planned_laws import VARIANCES, covariance, law, measured

from distillscale.laws.uncertainty import coverage
from distillscale.laws.uncertainty.coverage import Coverage, simulate_coverage
from distillscale.laws.uncertainty.intervals import METHODS
from distillscale.laws.uncertainty.noise import expected_noise
from distillscale.laws.uncertainty.runs import Runs

QUICK = {"studies": 120, "replicates": 100}
UNPROFILED = ("parametric", "components_t")  # profiles take longest


def simulate(kind: str, laws: int = 3, **settings):
    fits = [law(kind) for _ in range(laws)]
    return simulate_coverage(fits, expected_noise(fits, VARIANCES[kind]), **(QUICK | settings))


def test_the_chosen_method_covers_on_a_design_of_independent_cells() -> None:
    found = simulate("data")
    assert {entry.method for entry in found.table} == set(METHODS)
    assert not found.refusals
    own = [entry for entry in found.table if entry.method == found.chosen]
    # 120 studies know a coverage to within 2 points; the window is widened by as much.
    assert all(entry.coverage >= 0.90 for entry in own)
    assert all(entry.coverage <= 0.99 or entry.open > 0.5 for entry in own)


@pytest.mark.parametrize("kind", ["size", "collapse"])
def test_three_chains_are_too_few_to_resample_and_other_methods_cover(kind: str) -> None:
    resampling = ("cluster_bootstrap", "wild_cluster", "jacobian_t")
    found = simulate(kind, methods=(*resampling, *UNPROFILED))
    assert {entry.method for entry in found.table} == set(UNPROFILED)
    assert len(found.refusals) == 3
    assert "`cluster_bootstrap` needs 10 runs and this law has 3" in found.refusals[0]
    own = [entry for entry in found.table if entry.method == found.chosen]
    assert min(entry.coverage for entry in own) > 0.88


def test_noise_that_is_larger_than_believed_is_missed() -> None:
    """The simulation can fail a method: one that takes runs for free of noise."""
    fits = [law("data") for _ in range(3)]
    fits = [replace(fit, runs=replace(fit.runs, test=0 * fit.runs.test)) for fit in fits]
    noise = expected_noise(fits, VARIANCES["data"])
    settings = QUICK | {"methods": ["components_t"]}
    honest = simulate_coverage(fits, noise, **settings)
    known = coverage.estimate_noise

    def too_small(laws):
        found = known(laws)
        return replace(found, variances=found.variances / 9, uncertainty=found.uncertainty / 81)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coverage, "estimate_noise", too_small)
        blind = simulate_coverage(fits, noise, **settings)
    worst = [min(entry.coverage for entry in found.table) for found in (honest, blind)]
    assert worst[0] > 0.88
    assert worst[1] < 0.75
    assert not blind.within


def test_six_runs_of_one_law_are_covered_or_refused() -> None:
    x = np.array([32.0, 77, 186, 447, 1077, 2592])
    runs = Runs(np.arange(6), np.ones(6, dtype=int), covariance(np.arange(6), 0.08))
    fit = law("data", runs, x)
    settings = QUICK | {"methods": ("cluster_bootstrap", *UNPROFILED)}
    found = simulate_coverage([fit], expected_noise([fit], VARIANCES["data"]), **settings)
    assert "`cluster_bootstrap` needs 10 runs and this law has 6" in found.refusals[0]
    own = {entry.target: entry for entry in found.table if entry.method == found.chosen}
    assert min(entry.coverage for entry in own.values()) > 0.88
    many = simulate("data", 1, methods=[found.chosen])
    fifteen = {entry.target: entry for entry in many.table}
    assert own["beta"].width > 1.2 * fifteen["beta"].width


def test_the_same_seed_gives_the_same_simulation() -> None:
    settings = {"studies": 30, "replicates": 20, "methods": UNPROFILED}
    first, again, other = (simulate("data", 2, seed=seed, **settings).table for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_narrowest_method_that_covers_is_chosen() -> None:
    def entry(method: str, share: float, width: float, is_open: float = 0.0) -> Coverage:
        return Coverage(method, "beta", share, 0.01, width, False, is_open, 500)

    narrow_misses = [entry("a", 0.85, 1.0), entry("b", 0.94, 2.0), entry("c", 0.96, 3.0)]
    assert coverage._choice(narrow_misses, 0.95) == ("b", True)
    none_holds = [entry("a", 0.85, 1.0), entry("b", 0.91, 2.0)]
    assert coverage._choice(none_holds, 0.95) == ("b", False)
    too_wide = [entry("a", 1.0, 9.0), entry("b", 1.0, 5.0, is_open=0.9)]
    assert coverage._choice(too_wide, 0.95) == ("b", True)


def test_simulated_studies_are_fitted_anew_and_not_from_the_truth() -> None:
    fits = [law("collapse")]
    noise = expected_noise(fits, VARIANCES["collapse"])
    simulated = coverage._simulated(fits[0], noise, 200, np.random.default_rng(0))
    estimate = simulated.estimate[:, 1] * simulated.reference
    assert np.median(estimate) == pytest.approx(0.3, rel=0.05)
    assert estimate.std() > 0.005
    real = measured("collapse", 200, seed=1)
    assert estimate.std() == pytest.approx((real.estimate[:, 1] * real.reference).std(), rel=0.4)
