"""Likelihoods against SciPy, and what they recover from simulated studies."""

import numpy as np
import pytest
from laws_tables import collapsed, row, table
from scipy import special, stats

from distillscale.errors import InputError
from distillscale.laws import FORMS, fit_law, fit_points
from distillscale.laws.likelihoods import (
    BetaBinomial,
    extra_deviation,
    likelihood_of,
    sampling_errors,
    trigamma,
)
from distillscale.laws.problem import Measured, own_parameters, problem_of, redrawn
from distillscale.laws.solve import solve

RATIOS = np.geomspace(0.12, 1, 12)
TRUTH = np.array([0.95, 0.4, 4.0, 0.25])
CHANCE = {"chance": 0.25}
RANDOM = np.random.default_rng(0)


def answers(x, trials, rho: float, rng, truth=TRUTH) -> np.ndarray:
    """Shares of right answers, overdispersed by rho."""
    mean, s = FORMS["collapse"].curve(truth, x), (1 - rho) / rho
    return rng.binomial(trials, rng.beta(mean * s, (1 - mean) * s)) / trials


def test_losses_are_scipys_beta_binomial() -> None:
    trials = RANDOM.integers(1, 400, 30)
    right = RANDOM.integers(0, trials + 1)
    mean = RANDOM.uniform(0.05, 0.95, 30)
    for s in (2.0, 50.0, 1e4):
        reference = -stats.betabinom.logpmf(right, trials, mean * s, (1 - mean) * s)
        found = BetaBinomial(trials.astype(float)).losses(right / trials, mean, np.log(s))
        assert found == pytest.approx(reference, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("place", [0.5, 3.0, 7.0])
def test_slopes_and_curvatures_are_the_derivatives_of_the_losses(place: float) -> None:
    likelihood = BetaBinomial(np.array([40.0, 240.0, 240.0]))
    score, mean = np.array([0.3, 1.0, 0.6]), np.array([0.25, 0.97, 0.5])
    step = 1e-5

    def derivatives(of) -> list[np.ndarray]:
        """By the mean and by ln s."""
        return [
            (of(mean + m, place + s) - of(mean - m, place - s)) / (2 * step)
            for m, s in ((step, 0), (0, step))
        ]

    found = likelihood.slopes(score, mean, place)
    slopes = derivatives(lambda m, s: likelihood.losses(score, m, s))
    assert np.array(found[:2]) == pytest.approx(np.array(slopes), rel=1e-5, abs=1e-5)
    by_mean = derivatives(lambda m, s: likelihood.slopes(score, m, s)[0])
    by_s = derivatives(lambda m, s: likelihood.slopes(score, m, s)[1])
    assert found[2] == pytest.approx(by_mean[0], rel=1e-4, abs=1e-4)
    assert found[3] == pytest.approx(by_mean[1], rel=1e-4, abs=1e-4)
    assert found[4] == pytest.approx(by_s[1], rel=1e-4, abs=1e-4)


def test_trigamma_is_scipys() -> None:
    x = np.geomspace(1e-6, 1e7, 500)
    assert trigamma(x) == pytest.approx(special.zeta(2, x), rel=1e-9)


def test_counts_recover_the_curve_and_the_overdispersion() -> None:
    x = np.repeat(RATIOS, 40)
    fit = fit_points("collapse", x, answers(x, 400, 0.02, np.random.default_rng(1)), fixed=CHANCE,
                     likelihood="beta-binomial", trials=np.full(len(x), 400))  # fmt: skip
    wanted = dict(zip(FORMS["collapse"].names, TRUTH, strict=True))
    assert fit.estimate == pytest.approx(wanted, rel=0.05)
    assert fit.noise["overdispersion"] == pytest.approx(0.02, rel=0.15)
    assert fit.certificate.doubts == ()
    assert fit.certificate.delta is None
    assert fit.certificate.reached > 0.5
    assert abs(fit.certificate.other_solver) < 1e-5
    for name in ("s0", "r_star", "k"):
        assert fit.profiles[name].low < wanted[name] < fit.profiles[name].high
    assert fit.sensitivity() == []


def test_binomial_answers_have_no_overdispersion() -> None:
    x = np.repeat(RATIOS, 5)
    rng = np.random.default_rng(2)
    score = rng.binomial(200, FORMS["collapse"].curve(TRUTH, x)) / 200
    fit = fit_points("collapse", x, score, fixed=CHANCE, likelihood="beta-binomial",
                     trials=np.full(len(x), 200))  # fmt: skip
    assert fit.noise["overdispersion"] < 0.004


def fits_of(score: np.ndarray, x: np.ndarray, likelihood: str, trials) -> np.ndarray:
    """r* and k of many simulated studies, [studies, 2]."""
    form = FORMS["collapse"]
    place = form.reference(x)
    measured = Measured(x / place, score[0], np.ones(len(x)), likelihood,
                        trials=np.full(len(x), trials, dtype=float))  # fmt: skip
    delta = np.inf if likelihood == "score" else None
    batch, _ = problem_of(form, measured, CHANCE, delta=delta)
    found, _ = solve(redrawn(batch, score, np.ones(score.shape)))
    return form.rescale(own_parameters(batch, found), place)[:, 1:3]


def test_many_points_at_chance_do_not_set_the_slope() -> None:
    """30 models at chance, asked few questions, beside 8 that collapse: counts, and squares."""
    x = np.concatenate([np.geomspace(0.25, 1, 8), np.geomspace(0.03, 0.1, 30)])
    rng = np.random.default_rng(3)
    trials = np.concatenate([np.tile([1000, 50], 4), np.full(30, 20)])
    scores = np.stack([answers(x, trials, 0.002, rng) for _ in range(150)])
    truth = TRUTH[1:3]
    counts = fits_of(scores, x, "beta-binomial", trials)
    assert np.median(counts, axis=0) == pytest.approx(truth, rel=0.04)
    squares = fits_of(scores, x, "score", trials)
    spread = [np.median(np.abs(found - truth), axis=0) for found in (counts, squares)]
    assert (spread[0] < 0.8 * spread[1]).all()
    # The usual line through logits of the share that is kept: points at chance, whose logits are
    # noise that was cut off, flatten it.
    share = ((scores - 0.25) / (TRUTH[0] - 0.25)).clip(0.01, 0.99)
    lines = [np.polyfit(np.log(x), special.logit(row), 1) for row in share]
    slopes = np.array([line[0] for line in lines])
    assert np.median(slopes) < 0.6 * TRUTH[2]


def test_adding_points_at_chance_hardly_moves_counts() -> None:
    few = np.geomspace(0.25, 1, 8)
    many = np.concatenate([few, np.geomspace(0.03, 0.1, 30)])
    score = answers(many, 200, 0.005, np.random.default_rng(4))
    small, large = (
        fit_points("collapse", x, score[: len(x)], fixed=CHANCE, likelihood="beta-binomial",
                   trials=np.full(len(x), 200))
        for x in (few, many)
    )  # fmt: skip
    assert large.estimate["r_star"] == pytest.approx(small.estimate["r_star"], rel=0.05)
    assert large.estimate["k"] == pytest.approx(small.estimate["k"], rel=0.1)


def test_extra_deviation_is_what_sampling_leaves_unexplained() -> None:
    rng = np.random.default_rng(5)
    errors = rng.uniform(0.005, 0.02, 2000)
    for tau in (0.0, 0.01, 0.05):
        residuals = np.sqrt(errors**2 + tau**2) * rng.normal(size=2000)
        for delta in (1.345, np.inf):
            assert extra_deviation(residuals, errors, 0, delta) == pytest.approx(
                tau, rel=0.1, abs=0.003
            )
    spoiled = residuals.copy()
    spoiled[:40] *= 20
    assert (
        extra_deviation(spoiled, errors, 0, 1.345)
        < 0.06
        < 0.1
        < extra_deviation(spoiled, errors, 0, np.inf)
    )


def test_standard_errors_have_a_floor_and_fill_gaps() -> None:
    found = sampling_errors(np.array([0.0, 4e-4, np.nan]), np.array([0.005, 0.005, 0.005]))
    assert found == pytest.approx([0.005, 0.02, 0.02])
    assert sampling_errors(np.full(2, np.nan), np.zeros(2)) == pytest.approx([1e-4, 1e-4])


def test_a_noisy_score_counts_less_on_the_error_scale() -> None:
    sizes = np.geomspace(100, 1e5, 9)
    error = 0.05 + 6 * sizes**-0.5
    errors = np.full(9, 0.002)
    errors[4] = 0.2
    spoiled = error.copy()
    spoiled[4] += 0.2
    kept, cleaned = (
        fit_points("data", sizes, y, likelihood="error", errors=errors) for y in (spoiled, error)
    )
    assert kept.estimate["beta"] == pytest.approx(cleaned.estimate["beta"], rel=0.02)
    alike = fit_points("data", sizes, spoiled, likelihood="error")
    assert abs(alike.estimate["beta"] - 0.5) > 5 * abs(kept.estimate["beta"] - 0.5)


def test_a_point_without_bootstrap_variance_does_not_dominate() -> None:
    """A replicate-free point that is off: runs differ by more, and it moves the curve little."""
    sizes = np.geomspace(100, 1e5, 10)
    rng = np.random.default_rng(6)
    error = 0.05 + 6 * sizes**-0.5 + 0.01 * rng.normal(size=10)
    errors = np.full(10, 0.01)
    errors[7] = 1e-4
    error[7] += 0.03
    fit = fit_points("data", sizes, error, likelihood="error", errors=errors)
    assert fit.noise["extra_sd"] > 0.002
    residual = fit.predict(sizes) - error
    assert abs(residual[7]) > 0.01


@pytest.mark.parametrize(
    ("metric", "law", "counted", "wanted"),
    [
        ("gold_nll", "data", True, "log"),
        ("macro_f1", "data", True, "error"),
        ("accuracy", "collapse", False, "error"),
        ("lab_facts", "collapse", True, "beta-binomial"),
        ("lab_facts", "collapse", False, "score"),
        ("lab_facts", "data", False, "log"),
    ],
)
def test_the_metric_chooses_its_likelihood(metric, law, counted, wanted) -> None:
    assert likelihood_of(metric, FORMS[law], counted=counted) == wanted


def knowledge(**changes):
    return table([
        row(metric="lab_facts", chance=0.25, prune_ratio=r, value=round(240 * v) / 240,
            **{"examples": 240} | changes)
        for r, v in ((r, collapsed(0.95, 0.4, 4, 0.25, r)) for r in RATIOS)
    ])  # fmt: skip


def test_a_law_states_its_likelihood_and_noise() -> None:
    counted = fit_law(knowledge(), "collapse", "prune_ratio")
    assert counted.likelihood == "beta-binomial"
    assert set(counted.noise) == {"overdispersion"}
    assert counted.deltas == ()
    assert counted.statement("r_star").startswith("r_star = 0.4")
    plain = fit_law(knowledge(examples=0), "collapse", "prune_ratio")
    assert (plain.likelihood, plain.noise) == ("score", {})
    assert [r.delta for r in plain.deltas] == pytest.approx([0.009, 0.09, None])
    assert counted.estimate["r_star"] == pytest.approx(plain.estimate["r_star"], rel=0.02)


@pytest.mark.parametrize("sd", [0.002, 0.2])
def test_a_prior_decides_where_the_points_do_not(sd: float) -> None:
    """Sizes so small that the floor is anywhere: a tight prior fixes it, a loose one does not."""
    sizes = np.geomspace(100, 800, 6)
    loss = (0.3 + 6 * sizes**-0.5) * np.exp(0.01 * np.random.default_rng(7).normal(size=6))
    free = fit_points("data", sizes, loss, delta=0.03)
    stated = fit_points("data", sizes, loss, delta=0.03, prior={"e_inf": (0.3, sd)})
    widths = [fit.profiles["e_inf"].high - fit.profiles["e_inf"].low for fit in (free, stated)]
    if sd == 0.002:
        assert stated.estimate["e_inf"] == pytest.approx(0.3, abs=0.005)
        assert widths[1] < 0.2 * widths[0]
        assert stated.estimate["beta"] == pytest.approx(0.5, abs=0.05)
        assert stated.statement("e_inf").endswith("with the prior 0.3 +- 0.002")
    else:
        assert widths[1] > 0.5 * widths[0]
    assert stated.certificate.doubts == ()


def test_a_prior_is_one_residual_more() -> None:
    """With known noise the estimate minimises the penalised sum of squares."""
    sizes = np.geomspace(100, 1e4, 8)
    error = 0.1 + 6 * sizes**-0.5 + 0.005 * np.random.default_rng(8).normal(size=8)
    fit = fit_points("data", sizes, error, likelihood="error", errors=np.full(8, 0.005),
                     delta=np.inf, prior={"e_inf": (0.02, 0.01)})  # fmt: skip
    spread = np.sqrt(0.005**2 + fit.noise["extra_sd"] ** 2)

    def objective(values: np.ndarray) -> float:
        misfit = (FORMS["data"].curve(values, sizes) - error) / spread
        return float((misfit**2).sum() + ((values[0] - 0.02) / 0.01) ** 2)

    best = np.array([*fit.estimate.values()])
    least = objective(best)
    for j in range(3):
        for factor in (0.999, 1.001):
            moved = best.copy()
            moved[j] *= factor
            assert objective(moved) >= least - 1e-7


def test_draws_of_a_prior_spread_like_it_where_points_are_silent() -> None:
    rows = table([
        row(metric="gold_nll", dataset_size=d, value=3 + 0.5 * d**-0.05, seed=s)
        for d in (100, 200, 400, 800) for s in range(4)
    ])  # fmt: skip
    fit = fit_law(rows, "data", "dataset_size", prior={"e_inf": (1.0, 0.2)})
    floors = np.array(fit.draws)[:, 0]
    assert floors.std() > 0.05
    assert fit.prior == {"e_inf": (1.0, 0.2)}
    assert "with the prior 1 +- 0.2" in fit.statement("e_inf")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"likelihood": "poisson"}, "choose one of log, error, beta-binomial, score"),
        ({"likelihood": "score"}, "fitted on the log error"),
        ({"likelihood": "beta-binomial"}, "needs the number of examples of every point"),
        ({"likelihood": "error", "errors": [0.1]}, "`errors` must be 8 numbers"),
        ({"prior": {"gamma": (0, 1)}}, "the law `data` fits e_inf, B, beta"),
        ({"prior": {"B": (1, 1)}}, "depends on the unit of the inputs"),
        ({"prior": {"beta": (0.3, 0)}}, "must be numbers, the second positive"),
    ],
)
def test_requests_without_a_meaning_are_refused(options, message: str) -> None:
    sizes = np.geomspace(100, 1e4, 8)
    with pytest.raises(InputError, match=message):
        fit_points("data", sizes, 0.1 + sizes**-0.5, **options)
