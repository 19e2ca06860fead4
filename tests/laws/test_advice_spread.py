from dataclasses import replace

import numpy as np
import pytest
from advice_tables import RUN, angle, moved, noisy_study, repeated
from laws_tables import at_ratio, table

from distillscale.laws.advice.law_points import law_points
from distillscale.laws.advice.scale import angle as angle_scale
from distillscale.laws.advice.scale import scale_of
from distillscale.laws.advice.spread import (
    law_residuals,
    law_spread,
    run_spread,
    without_copies,
)
from distillscale.laws.plan import plan_laws
from distillscale.laws.settings import with_settings


def test_a_share_of_n_has_the_variance_one_over_n_as_an_angle() -> None:
    rng, scale = np.random.default_rng(0), angle_scale(400)
    for share in (0.1, 0.5, 0.9):
        seen = scale.there(rng.binomial(400, share, 20_000) / 400)
        assert seen.var() == pytest.approx(1 / 400, rel=0.05)
        assert scale.back(scale.there(share)) == pytest.approx(share)


def test_all_or_nothing_right_is_a_quarter_of_an_example_off() -> None:
    scale = angle_scale(100)
    assert scale.there(1.0) == scale.there(1 - 0.25 / 100)
    assert scale.there(0.0) == scale.there(0.25 / 100)


def test_losses_are_compared_by_their_logarithm_and_unknown_costs_too() -> None:
    losses = table([at_ratio(1, 0.5, metric="gold_nll", value=v) for v in (0.5, 2.0)])
    costs = table([at_ratio(1, 0.5, metric="dollars", value=v) for v in (0.5, 20.0)])
    assert scale_of(losses).name == scale_of(costs).name == "logarithm"
    below = table([at_ratio(1, 0.5, metric="dollars", value=v) for v in (-1.0, 20.0)])
    assert scale_of(below).name == "value"


def test_repeated_runs_give_the_pooled_variance() -> None:
    study = with_settings(repeated({100: [0.8, 0.9], 200: [0.5, 0.6, 0.7], 400: [0.9]}))
    found = run_spread(study, scale_of(study), ())
    one, two = ([angle(v) for v in values] for values in ([0.8, 0.9], [0.5, 0.6, 0.7]))
    squares = np.var(one) * 2 + np.var(two) * 3
    assert found.variance == pytest.approx(squares / 3)
    assert found.degrees == 3


def test_the_stages_of_a_chain_are_no_runs_of_their_own() -> None:
    study = with_settings(noisy_study(0))
    general = study[study["metric"] == "general"]
    # Three configurations with three chains each; 15 stages would give 30.
    assert run_spread(general, scale_of(general), ()).degrees == pytest.approx(6)


def test_the_teacher_and_models_that_are_never_trained_are_left_out() -> None:
    trained = {100: [0.8, 0.9], 200: [0.5, 0.6]}
    both = repeated(trained)
    both.loc[both["stage"] == 0, "value"] = [0.1, 0.9, 0.1, 0.9]
    control = repeated({0: [0.2, 0.9, 0.4]}, supervision="none", method="none", cell="p")
    control["cell"] += control["seed"].astype(str)
    scale = angle_scale(500)
    alone = run_spread(with_settings(repeated(trained)), scale, ())
    study = with_settings(table([*both.to_dict("records"), *control.to_dict("records")]))
    assert run_spread(study, scale, ()).variance == pytest.approx(alone.variance)


def test_single_runs_are_judged_by_what_laws_leave_unexplained() -> None:
    found = []
    for seed in range(16):
        study = with_settings(noisy_study(seed, runs=1))
        rows = study[study["metric"] == "macro_f1"]
        plans = [p for p in plan_laws(rows) if p.x != "params_with_embeddings"]
        laws = [law_points(plan, scale_of(rows)) for plan in plans]
        fitted = [(law, law.fits(np.ones((1, len(law.points))))[0]) for law in laws]
        spread = run_spread(rows, scale_of(rows), fitted)
        assert spread.origin.startswith("single runs: what the data laws leave")
        found.append(spread.variance)
        assert law_spread("data", fitted).variance == spread.variance
        assert {name: r.degrees for name, r in law_residuals(fitted).items()}.keys() == {
            "data",
            "size",
        }
    assert np.mean(found) == pytest.approx(RUN**2, rel=0.3)


def test_without_a_law_lines_through_neighbours_tell_the_spread() -> None:
    rng = np.random.default_rng(1)
    rows = [
        at_ratio(stage, 0.9**stage, cell=f"c{chain}", dataset_size=chain + 1, stages=30,
                 metric="ms_per_example",
                 value=float(np.exp(0.7 * np.log(0.9**stage) + rng.normal(0, 0.1))))
        for chain in range(20)
        for stage in range(31)
    ]  # fmt: skip
    study = with_settings(table(rows))
    found = run_spread(study, scale_of(study), ())
    assert found.origin.startswith("single runs: what lines")
    assert found.variance == pytest.approx(0.01, rel=0.15)


def test_too_few_runs_tell_nothing() -> None:
    study = with_settings(repeated({100: [0.8, 0.9], 200: [0.7]}))
    assert run_spread(study, scale_of(study), ()) is None


def data_law():
    study = with_settings(noisy_study(2, runs=2))
    plan = next(p for p in plan_laws(study) if p.law == "data")
    return law_points(plan, scale_of(plan.rows))


def test_pulls_are_how_a_refit_answers_to_a_moved_point() -> None:
    law = data_law()
    everything = np.ones((1, len(law.points)))
    parameters = np.array([0.05, 4.0, 0.6])  # away from the bounds
    x = np.array([150.0, 800.0])
    pulls = law.pulls(parameters, x, everything[0])
    # Exactly on the curve, where the robust loss is quadratic and the fit's answer is linear.
    on_curve = law.value(parameters, law.points.x)
    for point in range(len(law.points)):
        ends = []
        for by in (-1e-3, 1e-3):
            value = on_curve.copy()
            value[point] = moved(value[point], by)
            y = law.points.on_scale(law.form, value)[None]
            changed = replace(law, problem=replace(law.problem, y=y))
            refitted = changed.fits(everything)[0]
            ends.append(law.scale.there(changed.value(refitted, x)))
        measured = (ends[1] - ends[0]) / 2e-3
        assert measured == pytest.approx(pulls[:, point], abs=0.02)


def test_leverage_grows_outside_the_points_and_counts_chains_once() -> None:
    law = data_law()
    parameters = law.fits(np.ones((1, len(law.points))))[0]
    pulls = law.pulls(parameters, np.array([300.0, 800.0, 8000.0]), np.ones(len(law.points)))
    inside, edge, outside = law.leverage(pulls)
    assert inside < edge < outside
    together = replace(law, cells=np.repeat("one", len(law.cells)))
    assert together.leverage(pulls)[0] >= pulls[0].sum() ** 2 - 1e-12
    assert together.leverage(pulls)[0] > 0.8


def test_a_copied_run_repeats_nothing() -> None:
    study = with_settings(repeated({100: [0.8, 0.9], 200: [0.5, 0.6]}))
    twice = table([*study.to_dict("records"), *study.assign(cell="copy").to_dict("records")])
    alone = run_spread(study, scale_of(study), ())
    found = run_spread(without_copies(with_settings(twice)), scale_of(study), ())
    assert found.variance == pytest.approx(alone.variance)
    assert found.degrees == alone.degrees
