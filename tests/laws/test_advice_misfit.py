from typing import Any

import numpy as np
import pandas as pd
import pytest
from advice_tables import CONFIGURATIONS, RUN, moved
from laws_tables import at_ratio, table

from distillscale.laws.advice import check_coverage
from distillscale.laws.advice.law_points import LawPoints, law_points
from distillscale.laws.advice.misfit import PlaceMisses, place_misses, with_misfit
from distillscale.laws.advice.scale import scale_of
from distillscale.laws.advice.spread import Spread
from distillscale.laws.plan import plan_laws
from distillscale.laws.settings import with_settings

SIZES = (50, 100, 200, 400, 800, 1600)
RUNS = Spread(RUN**2, 30, "known")


def study(seed: int, misfit: float, seeds: int = 3) -> pd.DataFrame:
    """Data laws of three configurations, off their curves by `misfit` at each size, as an angle."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for supervision, method, thinking, _ in CONFIGURATIONS:
        for size in SIZES:
            off = rng.normal(0, misfit)
            for number in range(seeds):
                named = {
                    "supervision": supervision, "method": method, "thinking": thinking,
                    "schedule": "oneshot", "stages": 1, "dataset_size": size, "seed": number,
                    "cell": f"{method}-{supervision}-{size}-{number}",
                }  # fmt: skip
                value = moved(0.8 - 4 * size**-0.6, off + rng.normal(0, RUN))
                rows += [at_ratio(0, 1.0, **named), at_ratio(1, 0.4, **named, value=value)]
    return table(rows)


def laws(rows: pd.DataFrame) -> list[LawPoints]:
    named = with_settings(rows)
    return [law_points(plan, scale_of(named)) for plan in plan_laws(named) if plan.law == "data"]


def mean_misfit(misfit: float, studies: int = 30) -> float:
    found = [
        with_misfit(RUNS, [place_misses(law) for law in laws(study(seed, misfit))])
        for seed in range(studies)
    ]
    return float(np.mean([spread.misfit for spread in found]))


def test_deviations_that_runs_share_are_told_from_those_of_runs() -> None:
    assert mean_misfit(0.15) == pytest.approx(0.15**2, rel=0.3)


def test_laws_of_the_right_form_have_hardly_any_misfit() -> None:
    # Below zero is cut off, so the mean of a variance of 0 is a little above it.
    assert mean_misfit(0.0) < 0.2 * RUN**2


@pytest.mark.slow
def test_intervals_between_points_hold_at_their_rate_where_laws_misfit() -> None:
    trials = [
        one
        for seed in range(12)
        for one in check_coverage(study(seed, 0.15))
        if (one.kind, one.metric) == ("between", "all")
    ]
    held = sum(one.share * one.trials for one in trials) / sum(one.trials for one in trials)
    assert held == pytest.approx(0.9, abs=0.05)
    # The runs of a place are missed together: counted one by one they would look surer.
    count = trials[0].trials
    alone = np.mean([(one.share * (1 - one.share) / count) ** 0.5 for one in trials])
    assert np.mean([one.error for one in trials]) > 1.3 * alone


def test_outermost_places_the_teacher_and_what_may_not_be_known_are_left_out() -> None:
    law = laws(study(0, 0.1))[0]
    found = place_misses(law)
    assert len(found.misses) == found.degrees + 1 == len(SIZES) - 2
    assert found.runs.tolist() == [3.0] * 4
    without = (law.points.x != SIZES[2]).astype(float)
    assert len(place_misses(law, without).misses) == len(SIZES) - 3
    few = np.isin(law.points.x, SIZES[:3]).astype(float)
    assert place_misses(law, few).degrees == 0


def test_a_misfit_smaller_than_the_scatter_of_the_means_is_none() -> None:
    misses = PlaceMisses(np.array([0.01, -0.02, 0.0]), np.ones(3), np.full(3, 3.0), 3)
    assert with_misfit(RUNS, [misses]) is RUNS
    assert with_misfit(RUNS, []) is RUNS


def test_the_misfit_counts_with_its_own_degrees_of_freedom() -> None:
    misses = PlaceMisses(np.full(4, 0.4), np.ones(4), np.full(4, 2.0), 4)
    spread = with_misfit(RUNS, [misses])
    of_means = 0.4**2 / 2
    assert spread.misfit == pytest.approx(of_means - RUN**2 / 2)
    total, degrees = spread.total(1.5, 1.2, 0.01)
    assert total == pytest.approx(1.5 * RUN**2 + 1.2 * spread.misfit + 0.01)
    assert 4 < degrees < 20
