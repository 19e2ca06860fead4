"""The intervals of `fit_law` and `fit_laws` rest on variance components."""

import numpy as np
import pandas as pd
import pytest
from laws_tables import at_ratio, exact, examinee, row, study_table, table

from distillscale.laws.bootstrap import TEST_ONLY
from distillscale.laws.fit import fit_law
from distillscale.laws.plan import fit_laws, plan_laws
from distillscale.laws.uncertainty.tables import fitted_rows, pooled_noise

SIZES = (32, 96, 288, 864, 2592)


def cells(noise: float, seeds: int = 3, sizes=SIZES, seed: int = 0, **changes) -> pd.DataFrame:
    """Losses of one cell a size and seed, around 0.3 + 6 D^-0.5."""
    rng = np.random.default_rng(seed)
    rows = [
        row(cell=f"n{size}_s{k}", stage=1, seed=k, dataset_size=size, metric="gold_nll",
            **exact((0.3 + 6 * size**-0.5) * np.exp(noise * rng.normal())), **changes)
        for size in sizes for k in range(seeds)
    ]  # fmt: skip
    return table(rows)


def test_every_cell_is_a_run_and_the_intervals_say_so() -> None:
    fit = fit_law(cells(0.05), "data", "dataset_size")
    assert fit.covers == (
        "intervals cover run-to-run variation (15 runs) and test sampling; method parametric"
    )
    low, high = fit.intervals["beta"]
    assert low < 0.5 < high
    prediction = fit.predict(300)
    assert prediction.low < 0.3 + 6 * 300**-0.5 < prediction.high


def test_intervals_widen_with_the_noise_of_runs() -> None:
    width = [
        np.ptp(fit_law(cells(noise), "data", "dataset_size").intervals["beta"])
        for noise in (0.01, 0.03, 0.09)
    ]
    assert width[1] > 2 * width[0]
    assert width[2] > 2 * width[1]


def test_six_runs_give_a_wide_interval_and_three_sizes_none_that_counts() -> None:
    six = cells(0.05, seeds=1, sizes=(32, 77, 186, 447, 1077, 2592))
    fit, many = (fit_law(rows, "data", "dataset_size") for rows in (six, cells(0.05)))
    assert "(6 runs)" in fit.covers
    assert np.ptp(fit.intervals["beta"]) > 1.3 * np.ptp(many.intervals["beta"])
    few = fit_law(cells(0.05, seeds=2, sizes=(32, 288, 2592)), "data", "dataset_size")
    assert few.status == "few points"
    assert not any(few.identified(name) for name in few.estimate)


def test_ninety_percent_intervals_hold_the_truth_about_as_often() -> None:
    fits = [fit_law(cells(0.1, seed=k), "data", "dataset_size") for k in range(40)]
    held = [low <= 0.5 <= high for low, high in (fit.intervals["beta"] for fit in fits)]
    assert 31 <= sum(held) <= 40


def test_chains_of_one_seed_learn_their_noise_from_the_other_configurations() -> None:
    measured = study_table()
    fits = fit_laws(measured[measured["metric"] == "general"])
    chosen = [fit for fit in fits if fit.form == "collapse"]
    trained = [fit for fit in chosen if fit.group["method"] != "none"]
    assert len(trained) == 4
    assert all("(1 run, noise pooled over the 4 runs of 4 laws)" in fit.covers for fit in trained)
    (control,) = [fit for fit in chosen if fit.group["method"] == "none"]
    assert "(1 run) and test sampling" in control.covers


def test_noise_is_the_same_for_all_laws_of_a_pool() -> None:
    plans = plan_laws(study_table(seeds=(0, 1)))
    noise = pooled_noise(plans)
    pooled = {
        (plan.law, plan.metric, plan.x, plan.group["method"] == "none"): found
        for plan, found in zip(plans, noise, strict=True)
    }
    for plan, found in zip(plans, noise, strict=True):
        key = (plan.law, plan.metric, plan.x, plan.group["method"] == "none")
        assert found is pooled[key]
    assert any(found is not None and found.laws == 4 for found in noise)


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([0.8] * 6, "no trend"),
        ([0.1, 0.15, 0.2, 0.25, 0.3, 0.35], "no trend"),
        ([0.9, 0.6, np.nan, 0.4, 0.35, 0.33], "ok"),
    ],
)
def test_degenerate_cells_give_intervals_that_claim_nothing(values, status: str) -> None:
    sizes = (50, 100, 200, 400, 800, 1600)
    rows = table([
        row(cell=f"n{size}", stage=1, dataset_size=size, metric="gold_nll", **exact(value))
        for size, value in zip(sizes, values, strict=True)
    ])  # fmt: skip
    fit = fit_law(rows, "data", "dataset_size")
    assert fit.status == status
    if status == "no trend":
        assert not fit.identified("beta")
    assert all(np.isfinite(ends).all() for ends in fit.intervals.values())


def test_a_run_listed_twice_does_not_count_twice() -> None:
    """Pruned-only chains repeat themselves at every seed: three copies say no more than one."""
    rng = np.random.default_rng(4)
    take = examinee(rng, resamples=50)
    once = [
        at_ratio(stage, 0.7**stage, cell="s0", metric="macro_f1", **take(0.95 - 0.06 * stage))
        for stage in range(6)
    ]
    copies = [entry | {"cell": f"s{k}", "seed": k} for k in range(3) for entry in once]
    alone, thrice = (fitted_rows(table(rows), "size", "params") for rows in (once, copies))
    assert alone.runs.count == thrice.runs.count == 1
    intervals = [
        fit_law(table(rows), "size", "params").intervals["alpha"] for rows in (once, copies)
    ]
    assert np.ptp(intervals[1]) > 0.6 * np.ptp(intervals[0])


def test_points_that_are_all_one_run_fall_back_to_test_sampling() -> None:
    take = examinee(np.random.default_rng(0))
    rows = table([row(dataset_size=size, **take(0.9 - 3 / size)) for size in SIZES])
    assert fit_law(rows, "data", "dataset_size").covers == TEST_ONLY
