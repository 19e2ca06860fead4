from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from laws_tables import at_ratio, row, study_table, table

from distillscale.errors import InputError
from distillscale.laws.chance import with_chance
from distillscale.laws.plan import plan_laws
from distillscale.laws.selection.backtest import (
    PREDICTION_COLUMNS,
    backtest_series,
    held_out,
    predictions,
)
from distillscale.laws.selection.forecast import run_correlation
from distillscale.laws.selection.series import Series, series_of, series_of_points

SIZES = np.array([50.0, 100, 200, 400, 800, 1600])


def losses(seed: int = 0, noise: float = 0.03, forms=("data",), seeds: int = 3) -> Series:
    rng = np.random.default_rng(seed)
    x = np.repeat(SIZES, seeds)
    y = (0.3 + 20 * x**-0.7) * np.exp(noise * rng.normal(size=x.size))
    return series_of_points("gold_nll", x, y, forms, seeds=np.tile(np.arange(seeds), len(SIZES)))


def test_levels_are_held_out_as_wholes_and_cuts_are_nested() -> None:
    test = backtest_series(losses(), draws=0)
    assert [cut.levels for cut in test.cuts] == [3, 4, 5]
    for cut in test.cuts:
        fitted, out = set(test.series.places[cut.fitted]), set(test.series.places[cut.out])
        assert max(fitted) < min(out)
        assert len(cut.fitted) + len(cut.out) == len(test.series)
    assert set(test.cuts[0].fitted) < set(test.cuts[1].fitted) < set(test.cuts[2].fitted)


def test_models_are_extrapolated_to_smaller_ones() -> None:
    series = series_of_points("gold_nll", SIZES, 1 / SIZES + 1, ["size"], direction="down")
    assert set(series.places[backtest_series(series, draws=0).cuts[0].out]) == {50, 100, 200}


def test_prune_ratios_that_differ_a_little_are_one_level() -> None:
    x = np.array([1.0, 0.7, 0.698, 0.49, 0.491, 0.34, 0.341])
    series = series_of_points("gold_nll", x, 1 / x, ["size"], direction="down")
    assert series.levels.tolist() == [0, 1, 1, 2, 2, 3, 3]


def test_nothing_beyond_a_cut_changes_its_predictions() -> None:
    """Held-out values replaced by nonsense: every prediction and interval stays as it was."""
    series = losses(forms=("data", "rectified"))
    whole = backtest_series(series, draws=10)
    for cut in whole.cuts:
        value = series.value.copy()
        value[cut.out] = np.random.default_rng(1).uniform(0.01, 9, len(cut.out))
        spoiled = backtest_series(replace(series, value=value), draws=10)
        (same,) = [other for other in spoiled.cuts if other.levels == cut.levels]
        for model, forecast in cut.forecasts.items():
            for part in ("value", "low", "high"):
                np.testing.assert_array_equal(
                    getattr(forecast, part), getattr(same.forecasts[model], part), err_msg=model
                )


def test_fitted_values_do_change_predictions() -> None:
    """So the test above can fail."""
    series = losses()
    value = series.value.copy()
    value[0] *= 3
    left, right = (backtest_series(s, draws=0) for s in (series, replace(series, value=value)))
    for model in left.models:
        if model != "last point":
            changed = left.cuts[0].forecasts[model].value != right.cuts[0].forecasts[model].value
            assert changed.all(), model


def test_baselines_are_what_their_names_say() -> None:
    series = losses()
    cut = backtest_series(series, draws=0).cuts[0]
    x, y = np.log(series.places), np.log(series.value)
    last = np.exp(y[cut.fitted][x[cut.fitted] == x[cut.fitted].max()].mean())
    np.testing.assert_allclose(cut.forecasts["last point"].value, last)
    np.testing.assert_allclose(cut.forecasts["flat"].value, np.exp(y[cut.fitted].mean()))
    slope, start = np.polyfit(x[cut.fitted], y[cut.fitted], 1)
    line = np.exp(start + slope * x[cut.out])
    np.testing.assert_allclose(cut.forecasts["power law"].value, line, rtol=1e-9)


def test_the_interval_of_the_power_law_is_that_of_linear_regression() -> None:
    """By the textbook formula for one predictor."""
    series = losses()
    cut = backtest_series(series, draws=0).cuts[0]
    x, y = np.log(series.places[cut.fitted]), np.log(series.value[cut.fitted])
    at = np.log(series.places[cut.out])
    residuals = y - np.polyval(np.polyfit(x, y, 1), x)
    sigma = np.sqrt((residuals**2).sum() / (len(x) - 2))
    spread = sigma * np.sqrt(1 + 1 / len(x) + (at - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum())
    width = np.log(cut.forecasts["power law"].high / cut.forecasts["power law"].low) / 2
    np.testing.assert_allclose(width, 2.3646 * spread, rtol=1e-4)  # t of 7 degrees of freedom


def test_intervals_hold_new_measurements_at_their_level() -> None:
    """15 studies of a known law: 270 predictions a model, those of one study not independent."""
    covered = {"data": [], "power law": [], "flat": []}
    for seed in range(15):
        rows = backtest_series(losses(seed), draws=40, seed=seed).table()
        for model, hits in covered.items():
            hits.extend(rows.loc[rows["model"] == model, "covered"])
    shares = {model: np.mean(hits) for model, hits in covered.items()}
    assert 0.85 <= shares["data"] <= 0.99  # 0.91 in 100 studies, see docs/law-selection.md
    assert shares["power law"] < 0.8  # the truth has a floor
    assert shares["flat"] < 0.7  # the truth has a trend


def test_a_run_s_points_that_err_together_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    independent = losses(seeds=6)
    shift = np.tile(rng.normal(size=6), len(SIZES))
    together = replace(independent, value=(0.3 + 20 * independent.places**-0.7) * np.exp(
        0.03 * shift))  # fmt: skip
    residuals = np.log(together.value) - np.log(0.3 + 20 * together.places**-0.7)
    assert run_correlation(residuals, together.seeds) == 0.95
    assert run_correlation(rng.normal(size=36), together.seeds) < 0.4
    assert run_correlation(residuals, tuple(range(36))) == 0


def test_no_interval_without_spare_points() -> None:
    """A curve through as many points as it has parameters says nothing of its noise."""
    cut = backtest_series(losses(seeds=1), draws=10).cuts[0]
    assert len(cut.fitted) == 3
    assert np.isnan(cut.forecasts["data"].low).all()
    assert np.isfinite(cut.forecasts["power law"].low).all()


def test_the_stack_starts_even_and_then_takes_what_predicted_well() -> None:
    test = backtest_series(losses(noise=0.002), draws=0)
    series, first = test.series, test.cuts[0]
    members = [model for model in test.models if model != "stacked"]
    mean = np.mean([np.log(first.forecasts[model].value) for model in members], axis=0)
    np.testing.assert_allclose(np.log(first.forecasts["stacked"].value), mean)
    last = test.cuts[-1]
    errors = {model: np.abs(test.errors(model, last)).mean() for model in test.models}
    assert errors["stacked"] < 0.5 * min(errors["last point"], errors["power law"], errors["flat"])
    assert len(held_out(series, test.cuts[:2], members, below=5)[1]) == 3 * (2 + 1)


def test_forms_with_too_many_parameters_are_named() -> None:
    test = backtest_series(losses(forms=("data", "broken")), draws=0)
    assert test.models == ("data", "last point", "power law", "flat", "stacked")
    assert "6 parameters, 3 different x at the first cut" in test.left_out["broken"]


@pytest.mark.parametrize(
    ("levels", "cuts"), [(1, []), (2, [1]), (3, [2]), (4, [3]), (7, [4, 5, 6])]
)
def test_short_series_have_few_cuts(levels: int, cuts: list[int]) -> None:
    x = 2.0 ** np.arange(levels)
    test = backtest_series(series_of_points("gold_nll", x, 1 / x, ["data"]), draws=0)
    assert [cut.levels for cut in test.cuts] == cuts


def test_many_levels_are_cut_six_times() -> None:
    x = np.geomspace(1, 1e4, 40)
    assert series_of_points("gold_nll", x, 1 / x, ["data"]).cuts == (20, 24, 28, 31, 35, 39)


def test_a_table_has_one_row_a_prediction() -> None:
    tests = [backtest_series(losses(seed), draws=0) for seed in range(2)]
    rows = predictions(tests)
    assert list(rows.columns) == PREDICTION_COLUMNS
    assert len(rows) == 2 * 5 * 3 * (3 + 2 + 1)
    np.testing.assert_allclose(rows["signed_error"], rows["predicted"] - rows["measured"])
    np.testing.assert_allclose(rows["log_error"], np.log(rows["predicted"] / rows["measured"]))
    assert (rows["fitted_until"] < rows["at"]).all()
    assert predictions([]).empty


def test_a_teacher_that_all_seeds_share_counts_once() -> None:
    plans = plan_laws(with_chance(study_table(seeds=(0, 1, 2))))
    (plan,) = [
        plan for plan in plans
        if (plan.metric, plan.x, plan.group["configuration"])
        == ("macro_f1", "params", "logit-cot")
    ]  # fmt: skip
    rows = plan.rows.copy()
    teacher = rows.index[rows["stage"] == 0]
    for index in teacher[1:]:
        rows.at[index, "value"] = rows.at[teacher[0], "value"]
        rows.at[index, "replicates"] = rows.at[teacher[0], "replicates"]
    series = series_of(replace(plan, rows=rows))
    assert (len(series), series.duplicates) == (16, 2)
    assert [form.name for form in series.forms] == ["size", "broken"]  # no accuracy, no chance


def test_equal_scores_without_replicates_are_not_called_repetitions() -> None:
    rows = [row(seed=s, dataset_size=d, stage=5, value=0.8) for s in (0, 1) for d in (100, 200)]
    plans = [plan for plan in plan_laws(table(rows)) if plan.law == "data"]
    assert [series_of(plan).duplicates for plan in plans] == [0]


def test_macro_f1_s_chance_is_that_of_accuracy() -> None:
    rows = table(
        [at_ratio(1, 0.5, metric="accuracy", chance=1 / 35), at_ratio(1, 0.5, metric="macro_f1"),
         at_ratio(1, 0.5, metric="gold_nll"), at_ratio(1, 0.5, metric="accuracy", task="b",
                                                       chance=0.1)]
    )  # fmt: skip
    filled = with_chance(rows)["chance"]
    assert filled[1] == pytest.approx(1 / 35)
    assert pd.isna(filled[2])


def test_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="must agree"):
        series_of_points("gold_nll", SIZES, SIZES[:3], ["data"])
    with pytest.raises(InputError, match="must agree"):
        series_of_points("gold_nll", SIZES, SIZES, ["additive"])
    with pytest.raises(InputError, match="positive"):
        series_of_points("gold_nll", SIZES - 50, SIZES, ["data"])
