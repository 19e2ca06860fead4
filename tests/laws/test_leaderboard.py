from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from laws_tables import study_table

from distillscale.laws.selection.backtest import SeriesBacktest, backtest_series
from distillscale.laws.selection.leaderboard import (
    LEADERBOARD_COLUMNS,
    backtest_laws,
    common_series,
    coverage,
    leaderboard,
    leaderboard_text,
)
from distillscale.laws.selection.series import series_of_points


@pytest.fixture(scope="module")
def tests():
    rows = study_table()
    kept = rows["metric"].isin(["macro_f1", "gold_nll", "general"])
    return backtest_laws(rows[kept & rows["supervision"].isin(["label", "cot"])], draws=20)


def test_each_law_has_its_board_and_laws_beat_baselines_where_they_are_true(tests) -> None:
    board = leaderboard(tests)
    assert list(board.columns) == LEADERBOARD_COLUMNS
    assert set(board["law"]) == {"data", "size", "collapse"}
    exact = board[(board["metric"] == "gold_nll") & (board["x"] == "params")]
    assert exact["model"].iloc[0] == "size"  # measured without noise
    assert exact["absolute_error"].is_monotonic_increasing
    assert exact.set_index("model").loc["size", "versus_last_point"] < -0.9
    assert (board.loc[board["model"] == "last point", "versus_last_point"] == 0).all()
    assert (board["series"] == 3).all()


def test_means_are_those_of_the_predictions(tests) -> None:
    """By hand for one series: every cut-off counts alike."""
    (test,) = [
        t for t in tests
        if (t.series.metric, t.series.law, t.series.group["configuration"])
        == ("general", "collapse", "logit-cot")
    ]  # fmt: skip
    row = leaderboard([test]).set_index("model").loc["flat"]
    errors = [cut.forecasts["flat"].value - test.series.value[cut.out] for cut in test.cuts]
    assert row["signed_error"] == pytest.approx(np.mean([e.mean() for e in errors]))
    assert row["absolute_error"] == pytest.approx(np.mean([np.abs(e).mean() for e in errors]))
    assert row["predictions"] == sum(map(len, errors)) == 6


def test_text(tests) -> None:
    said = leaderboard_text(leaderboard(tests), tests)
    assert "collapse law of general over prune_ratio, fitted to 3, 4, 5 of 6 levels" in said
    assert "the smallest held out" in said
    assert "broken       left out: 6 parameters, 3 different dataset_size" in said
    assert max(map(len, said.splitlines())) <= 110


def one_series(configuration: str, sizes: int, hard: float, seed: int) -> SeriesBacktest:
    """A data law of the given many sizes, its measurements off by `hard`."""
    rng = np.random.default_rng(seed)
    x = np.geomspace(100, 1e5, sizes)
    y = (0.2 + 8 * x**-0.5) * np.exp(hard * rng.normal(size=sizes))
    series = series_of_points("gold_nll", x, y, ["data", "broken"])
    group = {"configuration": configuration, "task": "t", "thinking": "none"}
    return backtest_series(replace(series, group=group), draws=0)


@pytest.fixture(scope="module")
def uneven() -> list[SeriesBacktest]:
    """Hard series of five sizes, to which the broken law cannot be fitted, and one easy long one.

    The long one has twelve sizes: six at the first cut-off, as many as the broken law's parameters.
    """
    return [one_series(f"short{i}", 5, 0.3, i) for i in range(4)] + [one_series("l", 12, 0.0, 9)]


def test_a_form_that_fits_few_and_easy_series_is_not_ranked_above_one_that_fits_all(uneven) -> None:
    board = leaderboard(uneven).set_index("model")
    plain = {
        model: np.mean([
            np.mean([np.abs(cut.forecasts[model].value - t.series.value[cut.out]).mean()
                     for cut in t.cuts])
            for t in uneven if model in t.models
        ])
        for model in ("data", "broken")
    }  # fmt: skip
    assert plain["broken"] < plain["data"]  # what a ranking over whatever was fitted would say
    assert not board.loc["broken", "ranked"]
    assert (board.loc["broken", "fitted"], board.loc["broken", "series"]) == (1, 1)
    ranked = board[board["ranked"]]
    assert (ranked["series"] == 5).all()
    assert list(board.index)[-1] == "broken"
    assert ranked["absolute_error"].is_monotonic_increasing
    # Against the last point it is compared on the long series alone.
    alone = leaderboard(uneven[-1:]).set_index("model")
    assert board.loc["broken", "versus_last_point"] == pytest.approx(
        alone.loc["broken", "versus_last_point"]
    )
    said = leaderboard_text(leaderboard(uneven), uneven)
    assert "ranked on the 5 of 5 series" in said
    assert "not ranked: fitted to fewer series; on these alone" in said
    assert "broken       left out of 4 of 5 series: 6 parameters, 3 different x" in said


def test_forms_that_fit_most_series_are_ranked_where_all_of_them_fit(uneven) -> None:
    longs = [one_series(f"long{i}", 12, 0.1, 20 + i) for i in range(5)]
    board = leaderboard([*uneven[:2], *longs])
    assert board["ranked"].all()
    assert (board["series"] == 5).all()
    assert board.set_index("model")["fitted"].to_dict() == {
        "data": 7, "broken": 5, "last point": 7, "power law": 7, "flat": 7, "stacked": 7
    }  # fmt: skip
    on_common = leaderboard(longs).set_index("model")["absolute_error"].to_dict()
    assert board.set_index("model")["absolute_error"].to_dict() == pytest.approx(on_common)
    said = leaderboard_text(board, [*uneven[:2], *longs])
    assert "ranked on the 5 of 7 series that all of them can be fitted to" in said


def test_models_are_dropped_from_the_ranking_until_half_of_the_series_are_common() -> None:
    fitted = pd.DataFrame({
        "last point": [True] * 6, "data": [True] * 5 + [False], "broken": [False] * 4 + [True] * 2,
        "rare": [True] + [False] * 5,
    })  # fmt: skip
    models, common = common_series(fitted)
    assert models == ["last point", "data"]
    assert common.tolist() == [True] * 5 + [False]


def test_series_of_other_schedules_are_not_taken_for_one() -> None:
    tests = [one_series("a", 5, 0.1, seed) for seed in (0, 1)]
    groups = [t.series.group | {"schedule": name, "stages": 1, "final_ratio": 0.4}
              for t, name in zip(tests, ("oneshot", "uniform"), strict=True)]  # fmt: skip
    apart = [
        replace(t, series=replace(t.series, group=g)) for t, g in zip(tests, groups, strict=True)
    ]
    assert (leaderboard(apart)["series"] == 2).all()


def test_nothing_gives_an_empty_board() -> None:
    assert leaderboard(backtest_laws(study_table()[:0])).empty


def test_coverage_of_independent_hits_has_the_binomial_s_error() -> None:
    covered = pd.Series([True] * 90 + [False] * 10)
    share, error = coverage(covered, pd.Series(range(100)))
    assert share == 0.9
    assert error == pytest.approx(np.sqrt(0.9 * 0.1 / 100), rel=0.1)


def test_hits_that_come_together_say_less() -> None:
    covered = pd.Series(np.repeat([True] * 9 + [False], 10))
    alone = coverage(covered, pd.Series(range(100)))[1]
    together = coverage(covered, pd.Series(np.repeat(range(10), 10)))[1]
    assert together == pytest.approx(np.sqrt(0.9 * 0.1 / 9))
    assert together > 3 * alone


def test_intervals_that_all_hold_are_not_certain_to() -> None:
    assert 0.03 < coverage(pd.Series([True] * 10), pd.Series(range(10)))[1] < 0.15
