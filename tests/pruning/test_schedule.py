import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillscale.errors import InputError
from distillscale.pruning.schedule import Schedule, prune_ratios

RATIOS = st.floats(0.01, 0.95)
STAGES = st.integers(1, 12)
GAMMAS = st.floats(0.1, 0.99)


def log_cuts(ratios: tuple[float, ...]) -> list[float]:
    return [math.log(before / after) for before, after in pairwise((1.0, *ratios))]


def test_oneshot_cuts_once():
    assert prune_ratios(Schedule("oneshot", 0.16)) == (0.16,)


def test_uniform_by_hand():
    # A quarter in two stages is a half twice; 1/8 in three stages is a half thrice.
    assert prune_ratios(Schedule("uniform", 0.25, 2)) == pytest.approx((0.5, 0.25))
    assert prune_ratios(Schedule("uniform", 0.125, 3)) == pytest.approx((0.5, 0.25, 0.125))


def test_decayed_by_hand():
    # gamma = 1/2, three stages: log-cuts in the proportion 4 : 2 : 1, of ln 2^7 in all.
    ratios = prune_ratios(Schedule("decayed", 1 / 128, 3, gamma=0.5))
    assert ratios == pytest.approx((1 / 16, 1 / 64, 1 / 128))


def test_explicit_is_as_given():
    assert prune_ratios(Schedule("explicit", ratios=(0.7, 0.3))) == (0.7, 0.3)


@given(RATIOS, STAGES)
def test_uniform_cuts_are_equal_and_end_at_the_final_ratio(final_ratio: float, stages: int):
    ratios = prune_ratios(Schedule("uniform", final_ratio, stages))
    assert len(ratios) == stages
    assert ratios[-1] == final_ratio
    assert log_cuts(ratios) == pytest.approx([-math.log(final_ratio) / stages] * stages)


@given(RATIOS, STAGES, GAMMAS)
def test_decayed_cuts_shrink_by_gamma(final_ratio: float, stages: int, gamma: float):
    ratios = prune_ratios(Schedule("decayed", final_ratio, stages, gamma))
    assert ratios[-1] == final_ratio
    assert all(before > after for before, after in pairwise((1.0, *ratios)))
    for before, after in pairwise(log_cuts(ratios)):
        assert after < before
        assert after == pytest.approx(gamma * before, rel=1e-4, abs=1e-12)


@given(RATIOS, STAGES)
def test_decayed_becomes_uniform_as_gamma_nears_one(final_ratio: float, stages: int):
    decayed = prune_ratios(Schedule("decayed", final_ratio, stages, 1 - 1e-12))
    assert decayed == pytest.approx(prune_ratios(Schedule("uniform", final_ratio, stages)))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"kind": "linear", "final_ratio": 0.5}, "kind 'linear'"),
        ({"kind": "oneshot"}, "final_ratio"),
        ({"kind": "oneshot", "final_ratio": 0.5, "stages": 2}, "stages"),
        ({"kind": "uniform", "final_ratio": 0.5}, "stages"),
        ({"kind": "uniform", "final_ratio": 0.5, "stages": 0}, "stages 0"),
        ({"kind": "uniform", "final_ratio": 0.5, "stages": 2.5}, "stages 2.5"),
        ({"kind": "uniform", "final_ratio": 1.0, "stages": 2}, "final_ratio 1.0"),
        ({"kind": "uniform", "final_ratio": 0.0, "stages": 2}, "final_ratio 0.0"),
        ({"kind": "uniform", "final_ratio": math.nan, "stages": 2}, "final_ratio nan"),
        ({"kind": "uniform", "final_ratio": 0.5, "stages": 2, "gamma": 0.5}, "gamma"),
        ({"kind": "decayed", "final_ratio": 0.5, "stages": 2}, "gamma"),
        ({"kind": "decayed", "final_ratio": 0.5, "stages": 2, "gamma": 1.0}, "gamma 1.0"),
        ({"kind": "decayed", "final_ratio": 0.5, "stages": 3, "gamma": 1e-30}, "stage 2"),
        ({"kind": "explicit"}, "ratios"),
        ({"kind": "explicit", "ratios": ()}, "ratios"),
        ({"kind": "explicit", "ratios": (0.5, 0.5)}, "stage 2"),
        ({"kind": "explicit", "ratios": (1.2, 0.5)}, "stage 1"),
        ({"kind": "explicit", "ratios": (0.5, -0.1)}, "stage 2"),
        ({"kind": "explicit", "final_ratio": 0.5, "ratios": (0.5,)}, "final_ratio"),
    ],
)
def test_impossible_schedules_are_refused(fields: dict, named: str):
    with pytest.raises(InputError, match=named):
        Schedule(**fields)
