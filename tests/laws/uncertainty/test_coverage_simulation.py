from dataclasses import replace

import numpy as np
import pytest
from planned_laws import VARIANCES, covariance, law, measured

from distillscale.errors import InputError
from distillscale.laws.uncertainty import coverage
from distillscale.laws.uncertainty.coverage import Coverage, simulate_coverage
from distillscale.laws.uncertainty.intervals import METHODS, Choice, intervals, stretched
from distillscale.laws.uncertainty.noise import expected_noise
from distillscale.laws.uncertainty.runs import Runs
from distillscale.laws.uncertainty.targets import targets_of

QUICK = {"studies": 120, "replicates": 100}
UNPROFILED = ("parametric", "components_t")  # profiles take longest


def simulate(kind: str, laws: int = 3, **settings):
    fits = [law(kind) for _ in range(laws)]
    return simulate_coverage(fits, expected_noise(fits, VARIANCES[kind]), **(QUICK | settings))


def test_the_chosen_method_covers_on_a_design_of_independent_cells() -> None:
    found = simulate("data")
    assert {entry.method for entry in found.table} == set(METHODS)
    assert not found.refusals
    own = found.of_chosen
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
    own = found.of_chosen
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
    own = {entry.target: entry for entry in found.of_chosen}
    assert min(entry.coverage for entry in own.values()) > 0.88
    many = simulate("data", 1, methods=[found.chosen.curve])
    fifteen = {entry.target: entry for entry in many.table}
    assert own["beta"].width > 1.2 * fifteen["beta"].width


def test_the_same_seed_gives_the_same_simulation() -> None:
    settings = {"studies": 30, "replicates": 20, "methods": UNPROFILED}
    first, again, other = (simulate("data", 2, seed=seed, **settings).table for seed in (1, 1, 2))
    assert first == again
    assert first != other


def entry(
    method: str, share: float, width: float, target: str = "beta", is_open: float = 0.0
) -> Coverage:
    return Coverage(method, target, share, 0.01, width, False, is_open, 500)


def test_the_narrowest_method_that_covers_is_chosen() -> None:
    narrow_misses = [entry("a", 0.85, 1.0), entry("b", 0.94, 2.0), entry("c", 0.96, 3.0)]
    assert coverage._best(narrow_misses, 0.95) == (("b", 1.0), True)
    none_holds = [entry("a", 0.85, 1.0), entry("b", 0.91, 2.0)]
    assert coverage._best(none_holds, 0.95) == (("b", 1.0), False)
    too_wide = [entry("a", 1.0, 9.0), entry("b", 1.0, 5.0, is_open=0.9)]
    assert coverage._best(too_wide, 0.95) == (("b", 1.0), True)


def test_a_parameter_has_another_method_only_where_the_curves_method_fails_it() -> None:
    curve = [
        entry("parametric", 0.95, 1.0, "curve at lowest x"),
        entry("profile", 0.95, 0.5, "curve at lowest x"),  # has no draws to answer anywhere
        entry("components_t", 0.95, 2.0, "curve at lowest x"),
    ]
    fine = [entry("parametric", 0.93, 2.0, "A"), entry("profile", 0.95, 1.0, "A")]
    failed = [entry("parametric", 0.80, 1.0), entry("profile", 0.95, 2.0)]
    chosen, within = coverage._choice([*curve, *fine, *failed], 0.95)
    assert (chosen, within) == (Choice("parametric", {"beta": "profile"}), True)
    hopeless = [entry("parametric", 0.80, 1.0), entry("profile", 0.70, 2.0)]
    assert coverage._choice([*curve, *hopeless], 0.95) == (Choice("parametric"), False)


def test_the_curves_intervals_are_stretched_only_where_no_method_holds_by_itself() -> None:
    narrow = [entry("parametric", 0.85, 1.0, "curve at lowest x")]
    widening = [
        replace(entry("components_t", share, stretch, "curve at lowest x"), stretch=stretch)
        for stretch, share in ((1.0, 0.90), (1.1, 0.93), (1.2, 0.96))
    ]
    fine = [entry("components_t", 0.95, 1.0)]
    chosen = coverage._choice([*narrow, *widening, *fine], 0.95)
    assert chosen == (Choice("components_t", stretch=1.1), True)
    holding = [entry("parametric", 0.94, 3.0, "curve at lowest x"), *widening]
    assert coverage._choice([*holding, entry("parametric", 0.95, 1.0)], 0.95)[0].stretch == 1


def test_stretched_intervals_reach_so_many_times_as_far_on_the_targets_scale() -> None:
    fit = law("data")
    limits = fit.problem.form.limits(fit.problem.x, fit.problem.y[0], {})
    targets = targets_of(fit.problem.form, fit.reference, limits, [300.0])
    noise = expected_noise([fit], VARIANCES["data"])
    plain = intervals(fit, noise, targets, "components_t", 0.95)
    wide = stretched(plain, targets, fit.estimate, 1.3)
    place = targets[-1].name
    (low, high), (lower, higher) = plain.of(place), wide.of(place)
    assert np.log(higher / lower) == pytest.approx(1.3 * np.log(high / low))
    with pytest.raises(InputError, match="stretch 3"):
        Choice("components_t", stretch=3.0)


def test_simulated_studies_are_fitted_anew_and_not_from_the_truth() -> None:
    fits = [law("collapse")]
    noise = expected_noise(fits, VARIANCES["collapse"])
    simulated = coverage._simulated(fits[0], noise, 200, np.random.default_rng(0))
    estimate = simulated.estimate[:, 1] * simulated.reference
    assert np.median(estimate) == pytest.approx(0.3, rel=0.05)
    assert estimate.std() > 0.005
    real = measured("collapse", 200, seed=1)
    assert estimate.std() == pytest.approx((real.estimate[:, 1] * real.reference).std(), rel=0.4)
