import numpy as np
import pandas as pd
import pytest
from laws_tables import study_table

from distillscale.laws.selection.leaderboard import (
    LEADERBOARD_COLUMNS,
    backtest_laws,
    coverage,
    leaderboard,
    leaderboard_text,
)


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
