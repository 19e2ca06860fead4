from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from advice_tables import noisy_study, repeated
from laws_tables import table

from distillscale.laws.advice import Coverage, check_coverage


def shares(studies: list[pd.DataFrame], level: float) -> dict[str, float]:
    held: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for study in studies:
        for found in check_coverage(study, level=level):
            if found.metric == "all":
                held[found.kind][0] += found.share * found.trials
                held[found.kind][1] += found.trials
    return {kind: hits / trials for kind, (hits, trials) in held.items()}


@pytest.mark.slow
def test_intervals_hold_at_their_rate_for_repeated_runs_and_between_points() -> None:
    studies = [noisy_study(seed) for seed in range(2)]
    nine, half = shares(studies, 0.9), shares(studies, 0.5)
    assert set(nine) == {"repeat", "between", "beyond"}
    assert nine["repeat"] == pytest.approx(0.9, abs=0.04)
    assert half["repeat"] == pytest.approx(0.5, abs=0.07)
    assert nine["between"] == pytest.approx(0.92, abs=0.06)
    assert half["between"] == pytest.approx(0.55, abs=0.15)
    assert nine["beyond"] > 0.8  # nothing promises a rate there


def test_single_runs_can_be_checked_within_chains_and_between_dataset_sizes() -> None:
    found = check_coverage(noisy_study(0, runs=1))
    kinds = {one.kind: one for one in found if one.metric == "all"}
    assert set(kinds) == {"between", "stage", "beyond"}
    assert kinds["stage"].trials == 3 * 4 * 2  # configurations, inner stages, metrics
    assert kinds["stage"].cells == 3
    assert kinds["between"].trials == 3 * 2  # configurations, inner dataset sizes


def test_repeats_of_many_settings_hold_at_their_rate() -> None:
    rng = np.random.default_rng(3)
    values = {
        size: list(np.sin((1.8 + rng.normal(0, 0.1, 3)) / 2) ** 2) for size in range(100, 140)
    }
    (everything, own) = (one for one in check_coverage(repeated(values)) if one.kind == "repeat")
    assert (everything.trials, everything.cells) == (120, 120)
    assert everything.share == pytest.approx(0.9, abs=0.06)
    assert own.share == everything.share
    assert 0.005 < everything.error < 0.04


def test_an_outlier_is_not_covered() -> None:
    rng = np.random.default_rng(3)
    values = {size: list(0.8 + rng.normal(0, 0.005, 3)) for size in range(100, 120)}
    values[500] = [0.8, 0.8, 0.3]
    found = check_coverage(repeated(values))
    outlying = [one for one in found if one.kind == "repeat"]
    assert outlying[0].share < 1


def test_what_nothing_else_predicts_is_not_checked() -> None:
    assert check_coverage(repeated({100: [0.8]})) == []
    assert check_coverage(table([])) == []


def test_coverage_counts_cells_and_places_as_units() -> None:
    from distillscale.laws.advice.check import Trial, _coverage

    def trials(cells: int, places: int) -> list[Trial]:
        return [
            Trial("stage", "t", "m", f"c{i % cells}", f"p{i % places}", float(i % 2), 0.5)
            for i in range(100)
        ]

    assert _coverage("stage", "m", trials(2, 100)) == Coverage(
        "stage", "m", 100, 2, 0.5, pytest.approx(0.5)
    )
    assert _coverage("stage", "m", trials(100, 100)).error == pytest.approx(0.5 / np.sqrt(99))
    assert _coverage("stage", "m", trials(100, 2)).error == pytest.approx(0.5)
