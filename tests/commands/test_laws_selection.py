"""`laws backtest`, `laws select` and `laws collapse` on a stored table."""

from pathlib import Path

import pandas as pd
import pytest
from small_table import results

from distillscale.results import write_results


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "[results]" / "results.parquet"
    rows = results()
    scores = rows[rows["metric"] == "macro_f1"].assign(metric="accuracy", chance=1 / 35)
    write_results(pd.concat([rows, scores]), path)
    return path


def test_backtest_prints_a_leaderboard_and_writes_its_predictions(call, stored, tmp_path):
    ended = call("laws", "backtest", stored, "--out", tmp_path / "new" / "x.parquet")
    assert ended.code == 0
    assert "data law of macro_f1 over dataset_size, fitted to" in ended.out
    assert all(model in ended.out for model in ("last point", "power law", "flat", "stacked"))
    written = pd.read_parquet(tmp_path / "new" / "x.parquet")
    assert {"signed_error", "covered", "fitted_until"} <= set(written.columns)
    assert str(tmp_path / "new" / "x.parquet") in ended.out


def test_select_says_one_sentence_a_law(call, stored, tmp_path):
    ended = call("laws", "select", stored, "--out", tmp_path / "x.csv")
    assert ended.code == 0
    lines = [line for line in ended.out.splitlines() if " law of " in line]
    assert lines
    words = ("predicts best", "no law beats", "no cut-off", "no law can be fitted")
    assert all(any(word in line for word in words) for line in lines)
    assert pd.read_csv(tmp_path / "x.csv")["model"].eq("last point").any()


def test_collapse_prints_points_and_gaps(call, stored, tmp_path):
    ended = call("laws", "collapse", stored, "--in-domain", "accuracy", "--general", "general",
                 "--out", tmp_path / "x.csv")  # fmt: skip
    assert ended.code == 0, ended.err
    assert "gap ln r*(general) - ln r*(in domain)" in ended.out
    assert set(pd.read_csv(tmp_path / "x.csv")["quantity"]) >= {"r_star", "gap"}


@pytest.mark.parametrize("command", ["backtest", "select", "collapse"])
def test_wrong_places_are_refused_before_anything_is_computed(complaint, stored, tmp_path, command):
    assert ".parquet or .csv" in complaint("laws", command, stored, "--out", tmp_path / "x.xlsx")
    folder = tmp_path / "x.csv"
    folder.mkdir()
    assert "name a file" in complaint("laws", command, stored, "--out", folder)
    assert "no such results file" in complaint("laws", command, tmp_path / "none.parquet")


def test_wrong_scores_are_refused(complaint, stored):
    assert "macro_f1 or accuracy" in complaint("laws", "collapse", stored, "--in-domain", "gold")
    assert "it has" in complaint("laws", "collapse", stored, "--general", "mmlu")
    assert "between 0 and 1" in complaint("laws", "collapse", stored, "--lost", "1.5")


def test_without_accuracy_macro_f1_has_no_chance_level(complaint, tmp_path):
    write_results(results(), tmp_path / "x.parquet")
    assert "`macro_f1`: a collapse point needs a chance level" in complaint(
        "laws", "collapse", tmp_path / "x.parquet"
    )


def test_an_empty_table_has_nothing_to_compare(complaint, tmp_path):
    path = tmp_path / "empty.parquet"
    write_results(results()[:0], path)
    assert "no law can be planned" in complaint("laws", "backtest", path)
    assert "no law can be planned" in complaint("laws", "select", path)
    assert "no uniform chain" in complaint("laws", "collapse", path)
