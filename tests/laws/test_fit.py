import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laws_tables import at_ratio, collapsed, exact, examinee, row, table

from distillscale.errors import InputError
from distillscale.laws.fit import fit_law

SIZES = [200, 400, 800, 1600, 3200, 6400]
RATIOS = [1.0, 0.71, 0.5, 0.35, 0.25, 0.16]
DATA_TRUTH = {"e_inf": 0.05, "B": 6.0, "beta": 0.5}
COLLAPSE_TRUTH = {"s0": 0.95, "r_star": 0.4, "k": 4.0}


def accuracy(size: float) -> float:
    return 1 - (0.05 + 6 * size**-0.5)


def data_rows(values, sizes=SIZES, **changes) -> pd.DataFrame:
    """One row a dataset size with the values (dictionaries of value, examples, replicates)."""
    return table([row(dataset_size=d, **v, **changes) for d, v in zip(sizes, values, strict=True)])


def knowledge_rows(values, **changes) -> pd.DataFrame:
    common = {"metric": "lab_facts", "chance": 0.25} | changes
    chain = zip(RATIOS, values, strict=True)
    return table([at_ratio(i, r, **common, **v) for i, (r, v) in enumerate(chain)])


def test_noise_free_data_law_is_recovered() -> None:
    fit = fit_law(data_rows([exact(accuracy(d)) for d in SIZES]), "data", "dataset_size")
    assert fit.estimate == pytest.approx(DATA_TRUTH, rel=1e-3)
    assert fit.status == "ok"
    assert not fit.unidentified
    assert fit.diagnostics.r2 == pytest.approx(1)
    assert fit.diagnostics.rmse == pytest.approx(0, abs=1e-6)


def test_noise_free_size_law_is_recovered_at_the_scale_of_billions() -> None:
    params = [5e9, 8e9, 13e9, 20e9, 32e9]
    loss = [0.3 + 2e4 * n**-0.5 for n in params]
    rows = table(
        [row(metric="gold_nll", params=n, **exact(v)) for n, v in zip(params, loss, strict=True)]
    )
    fit = fit_law(rows, "size", "params")
    assert fit.estimate == pytest.approx({"e_inf": 0.3, "A": 2e4, "alpha": 0.5}, rel=1e-2)
    assert fit.predict(1e10).value == pytest.approx(0.3 + 2e4 * 1e10**-0.5, rel=1e-4)


def test_noise_free_collapse_law_is_recovered() -> None:
    truth = (0.95, 0.4, 4.0, 0.25)
    fit = fit_law(knowledge_rows([exact(collapsed(*truth, r)) for r in RATIOS]), "collapse",
                  "prune_ratio")  # fmt: skip
    assert fit.estimate == pytest.approx(COLLAPSE_TRUTH | {"chance": 0.25}, rel=1e-3)
    assert fit.intervals["chance"] is None
    assert not fit.unidentified


def covered(fits, truth) -> dict[str, int]:
    """In how many of the fits the interval of each parameter holds the truth."""
    return {
        name: sum(fit.intervals[name][0] <= value <= fit.intervals[name][1] for fit in fits)
        for name, value in truth.items()
    }


def test_intervals_of_the_data_law_hold_the_truth_in_most_repetitions() -> None:
    fits = []
    for repetition in range(20):
        take = examinee(np.random.default_rng(repetition))
        fits.append(fit_law(data_rows([take(accuracy(d)) for d in SIZES]), "data", "dataset_size"))
    assert min(covered(fits, DATA_TRUTH).values()) >= 15
    held = [f.predict(1000).low <= accuracy(1000) <= f.predict(1000).high for f in fits]
    assert sum(held) >= 15


def test_intervals_of_the_collapse_law_hold_the_truth_in_most_repetitions() -> None:
    fits = []
    for repetition in range(20):
        take = examinee(np.random.default_rng(100 + repetition))
        rows = knowledge_rows([take(collapsed(0.95, 0.4, 4, 0.25, r)) for r in RATIOS])
        fits.append(fit_law(rows, "collapse", "prune_ratio"))
    assert min(covered(fits, COLLAPSE_TRUTH).values()) >= 15


def test_intervals_over_runs_hold_the_truth_in_most_repetitions() -> None:
    fits = []
    for repetition in range(20):
        rng = np.random.default_rng(200 + repetition)
        take = examinee(rng)
        runs = [
            data_rows([take(accuracy(d) + 0.02 * rng.normal()) for d in SIZES], seed=seed)
            for seed in range(4)
        ]
        fits.append(fit_law(pd.concat(runs), "data", "dataset_size"))
    assert min(covered(fits, DATA_TRUTH).values()) >= 15
    assert "run-to-run variation (4 seeds) and test sampling" in fits[0].covers
    assert fits[0].diagnostics.seeds == 4


def test_single_seed_says_what_its_intervals_leave_out() -> None:
    take = examinee(np.random.default_rng(0))
    fit = fit_law(data_rows([take(accuracy(d)) for d in SIZES]), "data", "dataset_size")
    assert fit.covers == "intervals cover test sampling only, not run-to-run variation"


def test_same_input_same_fit() -> None:
    def fit():
        take = examinee(np.random.default_rng(3))
        runs = [data_rows([take(accuracy(d)) for d in SIZES], seed=s) for s in range(3)]
        return fit_law(pd.concat(runs), "data", "dataset_size", seed=5)

    assert fit() == fit()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=7), st.sampled_from(["data", "collapse"]))
def test_fits_of_any_scores_are_finite_and_improve_with_x(scores: list[float], law: str) -> None:
    places = np.geomspace(0.1, 1, len(scores))
    rows = table([
        row(metric="lab_facts", chance=0.25, prune_ratio=x, dataset_size=1000 * x, value=value)
        for x, value in zip(places, scores, strict=True)
    ])  # fmt: skip
    fit = fit_law(rows, law, "prune_ratio" if law == "collapse" else "dataset_size")
    low, high = fit.x_range
    values = np.array([fit.predict(x).value for x in np.geomspace(low, high, 20)])
    assert np.isfinite(list(fit.estimate.values())).all()
    assert (np.diff(values) >= -1e-9).all()


@settings(max_examples=15, deadline=None)
@given(st.floats(1e-2, 1e4))
def test_the_unit_of_x_does_not_matter(factor: float) -> None:
    take = examinee(np.random.default_rng(8), resamples=20)
    values = [take(accuracy(d)) for d in SIZES]
    plain = fit_law(data_rows(values), "data", "dataset_size")
    scaled = fit_law(data_rows(values, [d * factor for d in SIZES]), "data", "dataset_size")
    exponent = plain.estimate["beta"]
    assert scaled.estimate["beta"] == pytest.approx(exponent, rel=1e-5)
    assert scaled.estimate["e_inf"] == pytest.approx(plain.estimate["e_inf"], rel=1e-5, abs=1e-9)
    assert scaled.estimate["B"] == pytest.approx(plain.estimate["B"] * factor**exponent, rel=1e-4)


def test_scaling_a_loss_scales_floor_and_factor_only() -> None:
    losses = [0.2 + 8 * d**-0.6 for d in SIZES]
    plain, tripled = (
        fit_law(data_rows([exact(c * v) for v in losses], metric="gold_nll"), "data",
                "dataset_size")
        for c in (1, 3)
    )  # fmt: skip
    assert tripled.estimate["beta"] == pytest.approx(plain.estimate["beta"], rel=1e-3)
    assert tripled.estimate["e_inf"] == pytest.approx(3 * plain.estimate["e_inf"], rel=1e-3)


def test_two_points_identify_nothing_but_still_interpolate() -> None:
    fit = fit_law(data_rows([exact(0.6), exact(0.8)], [100, 400]), "data", "dataset_size")
    assert fit.status == "few points"
    assert fit.unidentified["beta"] == "2 different x for 3 parameters"
    assert not any(fit.identified(name) for name in fit.estimate)
    assert 0.6 < fit.predict(200).value < 0.8


def test_constant_metric_has_no_trend_and_no_identified_exponent() -> None:
    fit = fit_law(data_rows([exact(0.8)] * 6), "data", "dataset_size")
    assert fit.status == "no trend"
    assert fit.diagnostics.r2 is None
    assert set(fit.unidentified) == {"e_inf", "B", "beta"}
    assert "flat profile" in fit.unidentified["beta"] or "interval" in fit.unidentified["beta"]
    assert fit.unidentified["B"] == "rests on beta, which is not identified"
    assert fit.predict(1000).value == pytest.approx(0.8, abs=1e-4)


def test_a_metric_that_gets_worse_has_no_trend() -> None:
    fit = fit_law(data_rows([exact(0.9 - 0.05 * i) for i in range(6)]), "data", "dataset_size")
    assert fit.status == "no trend"


def test_collapse_that_never_happened_is_not_identified() -> None:
    take = examinee(np.random.default_rng(0))
    fit = fit_law(knowledge_rows([take(0.9) for _ in RATIOS]), "collapse", "prune_ratio")
    assert not fit.identified("r_star")
    assert not fit.identified("k")


def test_a_small_test_set_seldom_identifies_a_floor_that_is_not_there() -> None:
    found = 0
    for repetition in range(10):
        take = examinee(np.random.default_rng(repetition), examples=150)
        rows = data_rows([take(1 - 4 * d**-0.5) for d in SIZES[:4]], SIZES[:4])
        found += fit_law(rows, "data", "dataset_size").identified("e_inf")
    assert found <= 2


def test_missing_values_are_left_out_and_counted() -> None:
    values = [exact(accuracy(d)) for d in SIZES]
    values[2] = exact(float("nan"))
    fit = fit_law(data_rows(values), "data", "dataset_size")
    assert fit.diagnostics.dropped == 1
    assert fit.diagnostics.points == 5
    assert fit.estimate == pytest.approx(DATA_TRUTH, rel=1e-2)


def test_nothing_but_missing_values_is_not_fitted() -> None:
    fit = fit_law(data_rows([exact(float("nan"))] * 6), "data", "dataset_size")
    assert fit.status == "not fitted"
    assert fit.estimate == {}
    with pytest.raises(InputError, match="was not fitted: no usable point"):
        fit.predict(100)


def test_a_perfect_score_counts_as_half_an_example_wrong() -> None:
    values = [{"value": v, "examples": 100, "replicates": []} for v in (0.6, 0.8, 0.9, 1.0)]
    rows = data_rows(values, [100, 200, 400, 800])
    fit = fit_law(rows, "data", "dataset_size", likelihood="log")
    assert np.isfinite(list(fit.estimate.values())).all()
    assert fit.predict(800).value == pytest.approx(0.98, abs=0.02)
    assert fit.predict(800).low is None


def test_a_loss_of_zero_has_no_logarithm_and_is_left_out() -> None:
    rows = data_rows([exact(v) for v in (0, 0.4, 0.3, 0.2, 0.15, 0.12)], metric="kl_answer")
    assert fit_law(rows, "data", "dataset_size").diagnostics.dropped == 1


def test_prediction_tells_inside_from_outside() -> None:
    fit = fit_law(data_rows([exact(accuracy(d)) for d in SIZES]), "data", "dataset_size")
    assert fit.predict(200).inside
    assert fit.predict(6400).inside
    assert not fit.predict(199).inside
    assert not fit.predict(50_000).inside
    with pytest.raises(InputError, match="positive"):
        fit.predict(0)


def test_interval_of_a_score_is_the_right_way_round() -> None:
    take = examinee(np.random.default_rng(2))
    fit = fit_law(data_rows([take(accuracy(d)) for d in SIZES]), "data", "dataset_size")
    prediction = fit.predict(700)
    assert prediction.low < prediction.value < prediction.high


@pytest.mark.parametrize(
    ("changes", "law", "message"),
    [
        ({}, "cubic", "`cubic`: no such law; there are data, size, collapse"),
        ({"metric": "examples_per_second"}, "data", "`examples_per_second` has no error scale"),
        ({}, "collapse", "needs a value in column `chance`"),
    ],
)
def test_wrong_requests_are_refused_in_one_sentence(changes, law: str, message: str) -> None:
    rows = data_rows([exact(accuracy(d)) for d in SIZES], **changes)
    with pytest.raises(InputError, match=message):
        fit_law(rows, law, "dataset_size")


def test_rows_of_several_metrics_are_refused() -> None:
    rows = table([row(metric="accuracy"), row(metric="macro_f1")])
    with pytest.raises(InputError, match="rows of one metric, not of 2"):
        fit_law(rows, "data", "dataset_size")


def test_a_floor_that_may_be_absent_is_stated_as_a_bound() -> None:
    rng = np.random.default_rng(0)
    losses = [6 * d**-0.3 * np.exp(0.02 * rng.normal()) for d in SIZES]
    fit = fit_law(data_rows([exact(v) for v in losses], metric="gold_nll"), "data", "dataset_size")
    assert not fit.identified("e_inf")
    assert fit.bounds["e_inf"].startswith("e_inf <= 0.")
    assert fit.unidentified["e_inf"] == f"only {fit.bounds['e_inf']} is known"


def test_delta_is_the_default_unless_given_or_adaptive() -> None:
    rng = np.random.default_rng(0)
    losses = [(0.2 + 6 * d**-0.5) * np.exp(0.01 * rng.normal()) for d in SIZES]
    rows = data_rows([exact(v) for v in losses], metric="gold_nll")
    deltas = [
        fit_law(rows, "data", "dataset_size", delta=delta).certificate.delta
        for delta in (None, 0.005, "adaptive")
    ]
    assert deltas[:2] == [0.1, 0.005]
    assert 0.003 < deltas[2] < 0.05


def test_a_law_of_several_inputs_is_not_fitted_to_one_column() -> None:
    rows = data_rows([exact(accuracy(d)) for d in SIZES])
    with pytest.raises(InputError, match="`additive` depends on N and D; `fit_rows` fits it"):
        fit_law(rows, "additive", "dataset_size")
