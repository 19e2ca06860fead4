"""Fronts against the definition, and what becomes of ties, duplicates and gaps."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distillscale.errors import InputError
from distillscale.laws.pareto import directions, pareto_front

BETTER = {"macro_f1": "higher", "params": "lower"}


def table(*rows: tuple[float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(BETTER), index=[f"m{i}" for i in range(len(rows))])


def names(points: pd.DataFrame, better=BETTER) -> list[str]:
    return pareto_front(points, better).index.tolist()


def test_a_point_stays_if_none_is_as_good_in_all_and_better_in_one():
    points = table((0.9, 100), (0.8, 50), (0.7, 60), (0.5, 10))
    assert names(points) == ["m0", "m1", "m3"]


def test_the_direction_decides():
    points = table((0.9, 100), (0.8, 50))
    assert names(points, {"macro_f1": "higher", "params": "higher"}) == ["m0"]
    assert names(points, {"macro_f1": "lower", "params": "lower"}) == ["m1"]
    assert names(points, {"params": "higher"}) == ["m0"]


def test_duplicates_stay_together_and_ties_in_one_column_do_not():
    assert names(table((0.9, 100), (0.9, 100))) == ["m0", "m1"]
    assert names(table((0.9, 100), (0.9, 90), (0.8, 90))) == ["m1"]


def test_a_missing_value_is_no_advantage():
    nan = float("nan")
    assert names(table((nan, 1), (0.9, nan), (0.5, 10))) == ["m2"]
    assert names(table((nan, 1))) == []
    assert names(table()) == []


def test_order_and_other_columns_are_kept():
    points = table((0.5, 10), (0.9, 100)).assign(cell=["small", "large"])
    assert pareto_front(points, BETTER)["cell"].tolist() == ["small", "large"]


@settings(max_examples=40)
@given(st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, 2.0, 3.0, float("nan")])] * 3), max_size=25))
def test_three_columns_against_the_definition(rows):
    better = {"a": "higher", "b": "lower", "c": "lower"}
    points = pd.DataFrame(rows, columns=list(better), dtype=float)
    goodness = points.to_numpy() * [1, -1, -1]
    expected = [
        i
        for i, own in enumerate(goodness)
        if not np.isnan(own).any()
        and not any((other >= own).all() and (other > own).any() for other in goodness)
    ]
    assert pareto_front(points, better).index.tolist() == expected


@pytest.mark.parametrize(
    ("better", "message"),
    [({}, "name at least one column"), ({"f2": "higher"}, "there is no column `f2`")],
)
def test_bad_columns_are_named(better, message):
    with pytest.raises(InputError, match=message):
        pareto_front(table((0.9, 1)), better)


def test_directions_are_those_of_the_metrics():
    assert directions(["macro_f1", "decode_tokens_per_second", "mmlu"]) == {
        "macro_f1": "higher", "decode_tokens_per_second": "higher", "mmlu": "higher",
    }  # fmt: skip
    costs = ["ms_per_example_batch_32", "cost_per_million", "file_bytes", "params"]
    assert set(directions(costs).values()) == {"lower"}
