"""What decisions cost in money: derived from measured times and a price that the user states.

A price is never assumed, and no table of results holds one: it differs by machine, provider and
day. A study file may state it, for its report.
"""

from math import isfinite

import pandas as pd

from distillscale.errors import InputError

COST_METRIC = "cost_per_million"
"""The name of the derived metric, in units of the stated price."""

TIME_METRIC = "ms_per_example_batch_32"
"""The time that it is derived from: a machine that is paid by the hour is kept busy."""

_MS_PER_HOUR = 3_600_000
_MILLION = 1_000_000


def cost_per_million(ms_per_example: float, hourly_price: float) -> float:
    """Money for a million decisions on a machine that makes them one after the other, all the time.

    Args:
        ms_per_example: milliseconds for each example, of batches the batch's time divided by its
            examples; at least 0.
        hourly_price: of the machine that the times were measured on, in any currency.

    Raises:
        InputError: the price is not a positive number.
    """
    check_price(hourly_price)
    return ms_per_example * _MILLION / _MS_PER_HOUR * hourly_price


def check_price(hourly_price: float) -> None:
    """Refuse a price that cannot be one.

    Raises:
        InputError: it is not a positive, finite number.
    """
    if not (isfinite(hourly_price) and hourly_price > 0):
        raise InputError(
            f"--hourly-price {hourly_price:g}: it must be a positive number, what an hour of the "
            "machine costs."
        )


def with_cost(table: pd.DataFrame, hourly_price: float) -> pd.DataFrame:
    """A results table with the rows of `cost_per_million` added.

    One row for each of `ms_per_example_batch_32`; a table without it comes back as it is.

    Raises:
        InputError: the price is not a positive number.
    """
    check_price(hourly_price)
    rows = table[table["metric"] == TIME_METRIC].copy()
    rows["metric"] = COST_METRIC
    rows["value"] = cost_per_million(1.0, hourly_price) * rows["value"]
    return pd.concat([table, rows], ignore_index=True)
