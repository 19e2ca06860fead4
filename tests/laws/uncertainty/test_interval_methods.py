from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from planned_laws import SIZES, cells, covariance, law, measured

from distillscale.errors import InputError
from distillscale.laws.form import Form, Parameter
from distillscale.laws.solve import Batch
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.intervals import METHODS, intervals, widths
from distillscale.laws.uncertainty.jacobian import reach_by_components
from distillscale.laws.uncertainty.noise import estimate_noise
from distillscale.laws.uncertainty.runs import Runs
from distillscale.laws.uncertainty.targets import targets_of


def targets(fit: Fitted, *places: float):
    form = fit.problem.form
    limits = form.bounds(fit.problem.x, fit.problem.y[0], fit.known)
    return targets_of(form, fit.reference, limits, places)


def straight_line(runs: Runs, x: np.ndarray, y: np.ndarray) -> Fitted:
    """An ordinary regression as a law: all that is known of it must hold here."""

    def rescale(values, factor):
        scaled = values.copy()
        scaled[..., 1] /= factor
        return scaled

    def gradient(values, x):
        return np.ones((*values.shape[:-1], 1, 1)) * np.stack([np.ones_like(x), x])

    def unbounded(x, y, fixed):
        return np.array([[-np.inf, np.inf]] * 2)

    form = Form(
        "line", "a + b x", "test", "score",
        (Parameter("a", "", "none"), Parameter("b", "", "none")),
        lambda values, x: values[..., :1] + values[..., 1:] * x,
        gradient, rescale, lambda x, y: np.zeros((len(y), 1, 2)), unbounded, unbounded,
    )  # fmt: skip
    design = np.stack([np.ones_like(x), x], axis=1)
    estimate = np.linalg.lstsq(design, y, rcond=None)[0]
    high = np.full((1, 2), np.inf)
    batch = Batch(form, x, y[None], np.ones((1, len(x))), -high, high, np.inf)
    return Fitted(batch, estimate[None], runs, np.asarray(1.0))


def test_components_of_independent_runs_give_the_textbook_interval_of_a_line() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, 12)
    y = 0.3 + 0.2 * x + 0.05 * rng.normal(size=12)
    runs = Runs(np.arange(12), np.ones(12, dtype=int), np.zeros((12, 12)))
    fit = straight_line(runs, x, y)
    found = intervals(fit, estimate_noise([fit]), targets(fit), "components_t", 0.9)
    book = sm.OLS(y, sm.add_constant(x)).fit().conf_int(alpha=0.1)
    assert [found.of("a"), found.of("b")] == pytest.approx(book, rel=1e-3)


def test_the_sandwich_of_single_points_is_hc2() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 1, 20)
    y = 0.3 + 0.2 * x + 0.1 * x * rng.normal(size=20)
    runs = Runs(np.arange(20), np.ones(20, dtype=int), np.zeros((20, 20)))
    fit = straight_line(runs, x, y)
    found = intervals(fit, estimate_noise([fit]), targets(fit), "jacobian_t", 0.95)
    errors = sm.OLS(y, sm.add_constant(x)).fit(cov_type="HC2").bse
    half = np.array([np.ptp(found.of(name)) / 2 for name in ("a", "b")])
    quantiles = half / errors
    # Bell and McCaffrey's degrees of freedom lie below n - 2.
    assert ((quantiles > 2.1) & (quantiles < 2.6)).all()


def test_cr2_is_the_usual_sandwich_where_clusters_are_balanced() -> None:
    """A mean of balanced clusters: CR2 is the variance of the cluster means over their number."""
    rng = np.random.default_rng(2)
    run = np.repeat(np.arange(6), 4)
    x = np.tile([0.0, 1, 2, 3], 6)
    y = 0.5 + 0.1 * np.repeat(rng.normal(size=6), 4) + 0.02 * rng.normal(size=24)
    stage = np.tile(np.arange(1, 5), 6)
    fit = straight_line(Runs(run, stage, np.zeros((24, 24))), x, y)
    found = intervals(fit, estimate_noise([fit]), targets(fit), "jacobian_t", 0.95)
    slopes = np.array([np.polyfit(x[run == r], y[run == r], 1)[0] for r in range(6)])
    half = 2.571 * slopes.std(ddof=1) / np.sqrt(6)  # t with five degrees of freedom
    assert np.ptp(found.of("b")) / 2 == pytest.approx(half, rel=1e-3)


def test_shared_test_examples_widen_what_no_residual_shows() -> None:
    alone = measured("data", 1, seed=3)
    shifted = replace(cells(), test=cells().test + 0.2**2)  # moves all points together
    fit = Fitted(alone.problem, alone.estimate, shifted, alone.reference)
    noise = estimate_noise([alone])
    for method in METHODS:
        narrow = intervals(alone, noise, targets(alone, 288.0), method, 0.95)
        wide = intervals(fit, noise, targets(fit, 288.0), method, 0.95)
        assert np.ptp(np.log(wide.of("at 288"))) > 1.3 * np.ptp(np.log(narrow.of("at 288"))), method


def test_what_children_inherit_counts_most_at_the_end_of_a_chain() -> None:
    fit = measured("collapse", 1)
    noise = estimate_noise([fit])
    # Of the same size at the middle stage, three steps from the teacher.
    own = replace(noise, variances=np.array([[3 * 0.04**2, 0.0]]))
    walk = replace(noise, variances=np.array([[0.0, 0.04**2]]))
    places = targets(fit, 0.16, 1.0)[-2:]
    (last, first), (last_of_walk, first_of_walk) = (
        reach_by_components(fit, each, places, 0.95)[0] for each in (own, walk)
    )
    assert last_of_walk > last
    assert first_of_walk < 0.7 * first


@pytest.mark.parametrize("method", list(METHODS))
def test_methods_agree_where_the_points_say_much(method: str) -> None:
    fit = measured("data", 1, seed=5, variances=[0.02**2],
                   runs=replace(cells(), test=covariance(np.arange(15), 0.01)))  # fmt: skip
    noise = estimate_noise([fit])
    wanted = intervals(fit, noise, targets(fit, 288.0), "components_t", 0.9)
    found = intervals(fit, noise, targets(fit, 288.0), method, 0.9)
    ratio = widths(found, targets(fit, 288.0)) / widths(wanted, targets(fit, 288.0))
    assert ((ratio > 0.6) & (ratio < 1.7)).all()
    assert (found.low < found.high).all()


@pytest.mark.parametrize("method", list(METHODS))
def test_wider_levels_give_wider_intervals_and_the_same_seed_the_same(method: str) -> None:
    fit = measured("data", 2)
    noise = estimate_noise([fit])
    narrow, wide, again = (
        intervals(fit, noise, targets(fit), method, level, replicates=100)
        for level in (0.8, 0.95, 0.95)
    )
    assert (wide.high - wide.low > narrow.high - narrow.low).all()
    assert (wide.low == again.low).all()


def test_bootstraps_refuse_few_runs_in_one_sentence() -> None:
    fit = measured("size", 1)
    noise = estimate_noise([fit])
    for method, fewest in (("cluster_bootstrap", 10), ("wild_cluster", 6), ("jacobian_t", 4)):
        with pytest.raises(InputError, match=f"`{method}` needs {fewest} runs and this law has 3"):
            intervals(fit, noise, targets(fit), method, 0.95)
    with pytest.raises(InputError, match="`magic`: no such method of intervals; there are"):
        intervals(fit, noise, targets(fit), "magic", 0.95)


def test_intervals_say_what_they_cover_and_from_how_many_runs() -> None:
    fits = [measured("size", 1, seed) for seed in range(4)]
    found = intervals(fits[0], estimate_noise(fits), targets(fits[0]), "components_t", 0.95)
    assert found.covers == (
        "intervals cover run-to-run variation (3 runs, noise pooled over the 12 runs of 4 laws) "
        "and test sampling; method components_t"
    )


def test_six_runs_give_a_wide_interval() -> None:
    x = np.array([32.0, 77, 186, 447, 1077, 2592])
    runs = Runs(np.arange(6), np.ones(6, dtype=int), covariance(np.arange(6), 0.08))
    six, many = measured("data", 60, runs=runs, x=x), measured("data", 60)
    median = {}
    for name, fit in (("six", six), ("many", many)):
        noise = estimate_noise([fit])
        for method in ("components_t", "parametric", "profile"):
            found = intervals(fit, noise, targets(fit), method, 0.95, replicates=100)
            median[name, method] = np.median(widths(found, targets(fit))[:, 2])
    for method in ("components_t", "parametric", "profile"):
        assert median["six", method] > 1.25 * median["many", method]


def test_a_curve_that_does_not_depend_on_a_parameter_says_nothing_of_it() -> None:
    flat = law("data")
    estimate = flat.estimate.copy()
    estimate[0, 1] = 0.0  # nothing is left that an exponent could act on
    fit = Fitted(flat.problem, estimate, flat.runs, flat.reference)
    noise = estimate_noise([measured("data", 1)])
    found = intervals(fit, noise, targets(fit), "components_t", 0.95)
    assert found.of("beta") == (0.0, 5.0)


def test_prediction_intervals_are_wider_outside_the_points() -> None:
    fit = measured("data", 1)
    found = intervals(
        fit, estimate_noise([fit]), targets(fit, 288.0, SIZES.max() * 30), "components_t", 0.95
    )
    inside, outside = found.of("at 288"), found.of("at 7.776e+04")
    assert outside[1] / outside[0] > 1.5 * inside[1] / inside[0]
