"""The intervals of `fit_law` and `fit_laws` rest on variance components."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from laws_tables import at_ratio, exact, examinee, row, study_table, table

from distillscale.errors import InputError
from distillscale.laws.bootstrap import TEST_ONLY
from distillscale.laws.fit import fit_law
from distillscale.laws.plan import fit_laws, plan_laws
from distillscale.laws.uncertainty.choices import load_choices, save_choices
from distillscale.laws.uncertainty.coverage import simulate_coverage
from distillscale.laws.uncertainty.intervals import Choice, intervals
from distillscale.laws.uncertainty.noise import estimate_noise
from distillscale.laws.uncertainty.tables import fitted_pool, fitted_rows, pooled_noise, pools
from distillscale.laws.uncertainty.targets import targets_of

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


def test_intervals_are_made_by_the_methods_that_were_chosen() -> None:
    rows = cells(0.05)
    usual = fit_law(rows, "data", "dataset_size")
    choice = Choice("components_t", {"B": "jacobian_t", "beta": "profile"})
    other = fit_law(rows, "data", "dataset_size", choice=choice)
    assert other.covers.endswith("method components_t, B by jacobian_t, beta by profile")
    assert other.estimate == usual.estimate
    assert (usual.first_order, other.first_order) == (False, True)
    fitted = fitted_rows(rows, "data", "dataset_size")
    limits = fitted.problem.form.limits(fitted.problem.x, fitted.problem.y[0], {})
    targets = targets_of(fitted.problem.form, fitted.reference, limits, [300.0])
    noise = estimate_noise([fitted])
    for name, method in {"e_inf": "components_t", **choice.parameters}.items():
        wanted = intervals(fitted, noise, targets, method, 0.9).of(name)
        assert other.intervals[name] == pytest.approx(wanted, rel=1e-3)
    # The curve's interval anywhere comes from draws, to first order.
    wanted = intervals(fitted, noise, targets, "components_t", 0.9).of("at 300")
    found = other.predict(300)
    assert np.log(found.high / found.low) == pytest.approx(np.log(wanted[1] / wanted[0]), rel=0.2)


def test_a_method_that_needs_more_runs_is_refused_and_an_unknown_one_too() -> None:
    with pytest.raises(InputError, match="needs 10 runs and this law has 5"):
        fit_law(cells(0.05, seeds=1), "data", "dataset_size", choice=Choice("cluster_bootstrap"))
    with pytest.raises(InputError, match="`profile` for the curve"):
        Choice("profile")
    with pytest.raises(InputError, match="`magic` for beta"):
        Choice("parametric", {"beta": "magic"})


@pytest.mark.parametrize("deviation", [0.01, 0.1])
def test_a_stated_prior_is_as_uncertain_as_it_says(deviation: float) -> None:
    rng = np.random.default_rng(0)
    rows = table([
        at_ratio(k, ratio, cell=f"s{seed}", seed=seed, metric="gold_nll",
                 **exact((0.02 + 900 * (1.6e6 * ratio) ** -0.5) * np.exp(0.05 * rng.normal())))
        for seed in range(3) for k, ratio in enumerate((0.8, 0.6, 0.45, 0.33, 0.25, 0.18), 1)
    ])  # fmt: skip
    stated = fit_law(rows, "size", "params", prior={"alpha": (0.5, deviation)}, level=0.95)
    low, high = stated.intervals["alpha"]
    assert high - low < 2 * 1.96 * deviation * 1.2
    if deviation == 0.01:  # nothing is known better than the prior
        assert high - low > 2 * 1.96 * deviation * 0.7
    with pytest.raises(InputError, match="stated prior: its intervals must be by one of"):
        fit_law(rows, "size", "params", prior={"alpha": (0.5, 0.1)}, choice=Choice("components_t"))


def test_methods_for_laws_that_are_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="`size law of nothing`, which is no law here"):
        fit_laws(study_table(), methods={"size law of nothing": Choice("parametric")})


def test_choices_are_written_and_read_and_used_by_their_pools_name(tmp_path: Path) -> None:
    table = study_table(seeds=(0, 1, 2))
    general = table[table["metric"] == "general"]
    (pool, control) = pools([plan for plan in plan_laws(general) if plan.law == "collapse"])
    assert control.name.endswith("pruned only")
    found = simulate_coverage(fitted_pool(pool), studies=20, replicates=20, methods=["parametric"])
    file = tmp_path / "methods.json"
    save_choices({pool.name: found}, file)
    choices = load_choices([file])
    assert choices == {pool.name: Choice("parametric")}
    fits = [f for f in fit_laws(general, methods=choices) if f.form == "collapse"]
    by_pool = {fit.group["method"] == "none": fit.covers for fit in fits}
    assert by_pool[False].endswith("method parametric")
    assert "method components_t (curve's widths x1.1), r_star by profile" in by_pool[True]
    file.write_text('{"a": {"curve": "magic", "parameters": {}}}')
    with pytest.raises(InputError, match="not a file of methods"):
        load_choices([file])


def test_noise_is_the_same_for_all_laws_of_a_pool() -> None:
    plans = plan_laws(study_table(seeds=(0, 1)))
    noise = [found for _, found in pooled_noise(plans)]
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
