"""Money follows from time and a stated price, and from nothing else."""

import math

import pandas as pd
import pytest

from distillscale.errors import InputError
from distillscale.laws.cost import cost_per_million, with_cost


def test_an_hour_of_decisions_costs_the_hourly_price():
    # 3.6 ms each: a million in an hour.
    assert cost_per_million(3.6, 2.5) == pytest.approx(2.5)
    assert cost_per_million(36.0, 2.5) == pytest.approx(25.0)


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan, math.inf])
def test_a_price_must_be_stated_sensibly(price):
    with pytest.raises(InputError, match=r"--hourly-price .*: it must be a positive number"):
        cost_per_million(1.0, price)


def test_a_table_gains_rows_that_differ_in_metric_and_value_alone():
    table = pd.DataFrame(
        {
            "cell": ["a", "a", "b"],
            "metric": ["macro_f1", "ms_per_example_batch_32", "ms_per_example_batch_32"],
            "value": [0.9, 3.6, None],
        }
    )
    priced = with_cost(table, 2.0)
    pd.testing.assert_frame_equal(priced.iloc[:3], table)
    added = priced.iloc[3:]
    assert added["metric"].tolist() == ["cost_per_million"] * 2
    assert added["cell"].tolist() == ["a", "b"]
    assert added["value"].iloc[0] == pytest.approx(2.0)
    assert math.isnan(added["value"].iloc[1])
    assert len(with_cost(table.iloc[:1], 2.0)) == 1
