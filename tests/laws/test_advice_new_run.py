import numpy as np
import pytest
from advice_tables import angle
from scipy.stats import norm
from scipy.stats import t as student

from distillscale.laws.advice.candidates import Candidate, Estimate
from distillscale.laws.advice.constraints import Constraint
from distillscale.laws.advice.new_run import NewRuns, half_width
from distillscale.laws.advice.scale import angle as angle_scale
from distillscale.laws.advice.spread import Spread

NOTHING = np.zeros(0)


def model(**metrics: Estimate) -> Candidate:
    return Candidate(
        "t", "logit-cot", "cot", "logit", "full", "oneshot", 1, 100, 0.5, 1, 0.5, 1000, 1200,
        metrics, 1, ("c",), (0.5,),
    )  # fmt: skip


def runs_of(*metrics: str, variance: float = 0.01, degrees: float = 10, together: float = 0.0):
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=4000), rng.normal(size=(4000, len(metrics)))
    residuals = np.sqrt(together) * shared[:, None] + np.sqrt(1 - together) * own
    spreads = {
        (name, ""): Spread(
            variance, degrees, "x", {(str(i), 1): r for i, r in enumerate(residuals[:, j])}
        )
        for j, name in enumerate(metrics)
    }
    pairs = {(one, two): together for one in spreads for two in spreads}
    return NewRuns({name: angle_scale(500) for name in metrics}, spreads, pairs)


def test_interval_and_probability_agree() -> None:
    runs, candidate = runs_of("macro_f1"), model(macro_f1=Estimate(0.8, 2.0, NOTHING))
    found = runs.forecast(candidate, "macro_f1")
    half = student.ppf(0.95, 10) * np.sqrt(0.02)
    assert angle(found.high) - angle(0.8) == pytest.approx(half)
    assert angle(0.8) - angle(found.low) == pytest.approx(half)
    assert runs.probability(candidate, Constraint("macro_f1", "min", found.low)) == pytest.approx(
        0.95
    )
    assert runs.probability(candidate, Constraint("macro_f1", "max", found.low)) == pytest.approx(
        0.05
    )
    assert runs.probability(candidate, Constraint("macro_f1", "min", 0.8)) == pytest.approx(0.5)


def test_test_sampling_widens_and_is_better_known_than_runs() -> None:
    runs = runs_of("macro_f1")
    sampled = np.random.default_rng(0).normal(0, 0.2, 5000)
    wide = runs.forecast(model(macro_f1=Estimate(0.8, 2.0, sampled)), "macro_f1")
    assert wide.deviation == pytest.approx(np.sqrt(0.02 + sampled.var(ddof=1)))
    assert wide.degrees == pytest.approx(10 * (wide.deviation**2 / 0.02) ** 2)
    assert "test sampling" in wide.covers


def test_the_teacher_is_no_run() -> None:
    found = runs_of("macro_f1").forecast(model(macro_f1=Estimate(0.8, 0.0, NOTHING)), "macro_f1")
    assert (found.low, found.high) == (0.8, 0.8)


def test_where_nothing_tells_how_runs_differ_no_probability_is_given() -> None:
    runs = NewRuns({"macro_f1": angle_scale(500)}, {("macro_f1", ""): None}, {})
    sampled = np.random.default_rng(0).normal(0, 0.05, 200)
    candidate = model(macro_f1=Estimate(0.8, 2.0, sampled))
    assert runs.forecast(candidate, "macro_f1").covers.startswith("test sampling only")
    demand = Constraint("macro_f1", "min", 0.5)
    assert runs.probability(candidate, demand) is None
    assert runs.joint(candidate, [demand, Constraint("params", "max", 2000)]) is None
    assert runs.joint(candidate, [Constraint("params", "max", 500)]) == 0


TWO = [Constraint("macro_f1", "min", 0.8), Constraint("general", "min", 0.8)]


def both_at_even_odds() -> Candidate:
    return model(general=Estimate(0.8, 2.0, NOTHING), macro_f1=Estimate(0.8, 2.0, NOTHING))


@pytest.mark.parametrize("together", [0.0, 0.5, 0.99])
def test_metrics_that_err_together_are_met_together(together: float) -> None:
    runs = runs_of("macro_f1", "general", together=together)
    # Sheppard 1899: two standard normals of correlation rho are both positive with probability
    # 1/4 + arcsin(rho) / 2 pi.
    expected = 0.25 + np.arcsin(together) / (2 * np.pi)
    assert runs.joint(both_at_even_odds(), TWO) == pytest.approx(expected, abs=0.02)


def test_opposite_demands_on_metrics_that_err_together_exclude_each_other() -> None:
    runs = runs_of("macro_f1", "general", together=0.99)
    opposite = [TWO[0], Constraint("general", "max", 0.8)]
    assert runs.joint(both_at_even_odds(), opposite) == pytest.approx(0.02, abs=0.02)


def test_paired_resamples_of_the_test_examples_count_as_erring_together() -> None:
    sampled = np.random.default_rng(0).normal(0, 0.5, 5000)
    runs = runs_of("macro_f1", "general", variance=1e-6)
    paired = model(general=Estimate(0.8, 2.0, sampled), macro_f1=Estimate(0.8, 2.0, sampled))
    assert runs.joint(paired, TWO) == pytest.approx(0.5, abs=0.01)
    apart = model(general=Estimate(0.8, 2.0, sampled[::-1]), macro_f1=Estimate(0.8, 2.0, sampled))
    assert runs.joint(apart, TWO) == pytest.approx(0.25, abs=0.02)


def test_three_demands_are_answered_the_same_every_time() -> None:
    runs = runs_of("macro_f1", "general", "accuracy", together=0.5)
    estimate = Estimate(0.8, 2.0, NOTHING)
    candidate = model(macro_f1=estimate, general=estimate, accuracy=estimate)
    three = [*TWO, Constraint("accuracy", "min", 0.8)]
    # Correlation 1/2 throughout: an orthant of 1/4 (David 1953).
    assert runs.joint(candidate, three) == pytest.approx(0.25, abs=0.02)
    assert runs.joint(candidate, three) == runs.joint(candidate, three)


def test_half_width_is_that_of_a_prediction_interval() -> None:
    spread = Spread(0.04, 7, "x")
    assert half_width(spread, 1 / 3, 0.9) == pytest.approx(
        student.ppf(0.95, 7) * 0.2 * np.sqrt(1 + 1 / 3)
    )
    assert half_width(Spread(0.0, 7, "x"), 1, 0.9, further=0.25) == pytest.approx(
        norm.ppf(0.95) * 0.5
    )
