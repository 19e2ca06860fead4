from dataclasses import replace

import numpy as np
import pytest

from distillscale.laws.curved_forms import broken
from distillscale.laws.joint_forms import additive, multiplicative
from distillscale.laws.selection.choice import SELECTION_COLUMNS, select_form, selections_table
from distillscale.laws.selection.scores import aicc, effective_points
from distillscale.laws.selection.series import series_of_points

FORMS = ("data", "rectified", "broken")
SIZES = np.geomspace(30, 30_000, 13)


def chosen(curve, noise: float = 0.01, seed: int = 0, runs: int = 3, forms=FORMS, **more):
    """The selection for a known curve, three runs a size."""
    rng = np.random.default_rng(seed)
    x = np.repeat(SIZES, runs)
    y = curve(x) * np.exp(noise * rng.normal(size=x.size))
    seeds = np.tile(np.arange(runs), len(SIZES))
    return select_form(series_of_points("gold_nll", x, y, forms, seeds=seeds, **more))


def test_a_floor_is_found() -> None:
    selection = chosen(lambda x: 0.3 + 20 * x**-0.7)
    assert selection.chosen == "data"
    assert selection.improvement > 0.5
    assert selection.certainty > 0.95
    assert selection.verdict.startswith("`data` predicts best: log error 0.0")
    assert "below the two-parameter power law" in selection.verdict or "last" in selection.verdict


def test_a_pure_power_law_needs_no_more_than_two_parameters() -> None:
    selection = chosen(lambda x: 5 * x**-0.4)
    assert (selection.chosen, selection.best_baseline) == (None, "power law")
    assert selection.verdict.startswith("no law beats the two-parameter power law")


def test_a_broken_law_is_found() -> None:
    truth = np.array([0.02, 5.0, 0.15, 0.9, 200.0, 0.2])
    selection = chosen(lambda x: broken(truth, x), noise=0.002)
    assert selection.chosen == "broken"
    best = {score.model: score for score in selection.scores}
    assert best["broken"].aicc < best["data"].aicc < best["flat"].aicc


def test_a_metric_that_does_not_move_is_a_mean() -> None:
    selection = chosen(lambda x: np.full_like(x, 0.4), noise=0.1)
    assert (selection.chosen, selection.best_baseline) == (None, "flat")
    assert selection.verdict.startswith("no law beats the mean (log error")


def test_what_has_stopped_moving_is_best_carried_forward() -> None:
    """Error that falls, jumps back and stays: whoever goes on with the trend is wrong."""
    selection = chosen(lambda x: np.where(x < SIZES[5], 3 * x**-0.5, 0.3), noise=0.001)
    assert (selection.chosen, selection.best_baseline) == (None, "last point")
    assert selection.verdict.startswith("no law beats the last point (log error 0.0")


def test_scores_above_chance_are_judged_by_their_rmse() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat(np.geomspace(0.08, 1, 9), 3)
    y = 0.25 + 0.7 / (1 + (0.3 / x) ** 4) + 0.005 * rng.normal(size=x.size)
    series = series_of_points(
        "lab_facts", x, y, ["collapse"], direction="down", fixed={"chance": 0.25},
        seeds=np.tile([0, 1, 2], 9),
    )  # fmt: skip
    selection = select_form(series)
    assert (selection.chosen, selection.judged_by) == ("collapse", "rmse")
    assert "RMSE" in selection.verdict


@pytest.mark.parametrize(
    ("truth", "parameters", "wins"),
    [(additive, [0.2, 50, 4, 0.45, 0.5], "additive"),
     (multiplicative, [0.2, 60, 0.3, 0.35], "multiplicative")],
)  # fmt: skip
def test_joint_laws_compete_too(truth, parameters, wins: str) -> None:
    size, data = (g.ravel() for g in np.meshgrid(np.geomspace(1e4, 1e6, 6),
                                                 np.geomspace(50, 5000, 6)))  # fmt: skip
    x = np.stack([size, data])
    noise = np.exp(0.003 * np.random.default_rng(2).normal(size=36))
    y = truth(np.array(parameters, float), x) * noise
    forms = ["additive", "multiplicative"]
    for along, direction in ((1, "up"), (0, "down")):
        series = series_of_points("gold_nll", x, y, forms, along=along, direction=direction)
        selection = select_form(series)
        assert selection.chosen == selection.best_by_aicc == wins
        assert "AICc" not in selection.verdict


def test_aicc_is_heard_where_it_disagrees() -> None:
    """One run a size and much noise: the held-out sizes are luckily met by a broken law."""
    selection = chosen(lambda x: 0.1 + 5 * x**-0.4, noise=0.1, seed=6, runs=1)
    assert (selection.best_form, selection.best_by_aicc) == ("broken", "data")
    assert selection.verdict.endswith("; AICc prefers `data`.")


def test_weights_sum_to_one_and_the_stack_is_listed() -> None:
    selection = chosen(lambda x: 0.3 + 20 * x**-0.7)
    weights = [score.weight for score in selection.scores if score.weight is not None]
    assert sum(weights) == pytest.approx(1)
    assert [s.weight for s in selection.scores if s.model == "stacked"] == [None]


def test_aicc_by_hand() -> None:
    """n = 10 points, squares 2, a curve of 3 parameters: k = 4."""
    assert aicc(2.0, 10, 10, 3) == pytest.approx(10 * np.log(0.2) + 2 * 4 + 2 * 4 * 5 / (10 - 5))
    assert aicc(2.0, 10, 5, 3) is None


def test_runs_that_err_together_are_worth_fewer_points() -> None:
    rng = np.random.default_rng(0)
    x, seeds = np.repeat(SIZES, 6), np.tile(np.arange(6), len(SIZES))
    own = rng.normal(size=6)[seeds]
    together = series_of_points("gold_nll", x, np.exp(0.1 * own), ["data"], seeds=seeds)
    assert effective_points(together) == pytest.approx(6, abs=1)
    apart = replace(together, value=np.exp(0.1 * rng.normal(size=x.size)))
    assert effective_points(apart) > 40


def test_one_size_or_two_are_told_of() -> None:
    one = select_form(series_of_points("gold_nll", [100, 100], [0.5, 0.6], ["data"]))
    assert one.verdict == "no cut-off can be scored with 1 different x."
    assert (one.chosen, one.scores) == (None, ())
    two = select_form(series_of_points("gold_nll", [100, 200], [0.5, 0.4], ["data"]))
    assert two.verdict.startswith("no law can be fitted at the first cut-off; the ")


def test_table_and_text() -> None:
    selection = chosen(lambda x: 0.3 + 20 * x**-0.7)
    rows = selections_table([selection, selection])
    assert list(rows.columns) == SELECTION_COLUMNS
    assert len(rows) == 2 * len(selection.scores)
    assert rows["chosen"].sum() == 2
    assert rows.loc[rows["model"] == "last point", "versus_last_point"].eq(0).all()
    said = selection.as_text()
    assert said.startswith(f"points law of gold_nll over x: {selection.verdict}")
    assert all(score.model in said for score in selection.scores)
    assert selections_table([]).empty


def test_a_form_that_wins_in_the_fewer_resamples_is_not_chosen() -> None:
    """Three runs of much noise: the law is ahead by 4 %, thanks to one of them."""
    selection = chosen(lambda x: 0.1 + 5 * x**-0.4, noise=0.5, seed=53, forms=("data",))
    assert selection.improvement > 0.01
    assert selection.certainty < 0.5
    assert selection.chosen is None
    assert "no law beats" in selection.verdict
    assert f"smaller in {selection.certainty:.0%} of resamples only" in selection.verdict
