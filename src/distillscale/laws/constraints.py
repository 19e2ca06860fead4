"""What a user demands of a model: `general >= 0.6`, `params <= 500,000`."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite, isnan
from typing import Literal

import pandas as pd

from distillscale.errors import InputError

SIZES = ("params", "params_with_embeddings", "prune_ratio", "dataset_size")


@dataclass(frozen=True)
class Constraint:
    """One demand: the metric or size `name` is at least (`min`) or at most (`max`) `threshold`."""

    name: str
    bound: Literal["min", "max"]
    threshold: float

    def met(self, value: float) -> bool:
        """Whether a value satisfies the demand; a missing one (NaN) does not."""
        return value >= self.threshold if self.bound == "min" else value <= self.threshold

    def shortfall(self, value: float) -> float:
        """How far a value misses the demand, as a share of the threshold; infinite if missing."""
        if isnan(value):
            return float("inf")
        missing = self.threshold - value if self.bound == "min" else value - self.threshold
        return max(0.0, missing) / (abs(self.threshold) or 1.0)

    @property
    def is_size(self) -> bool:
        """Whether it limits a size (known before any training), not a measured metric."""
        return self.name in SIZES

    def __str__(self) -> str:
        """As a person writes it."""
        return f"{self.name} {'>=' if self.bound == 'min' else '<='} {number(self.threshold)}"


def read_constraints(
    table: pd.DataFrame, minimum: Mapping[str, float], maximum: Mapping[str, float]
) -> tuple[Constraint, ...]:
    """Check demands against a results table: minima first, in the order given.

    Raises:
        InputError: a name that is neither a metric of the table nor a size, a threshold that is
            not a finite number, or a minimum above the maximum of the same name.
    """
    known = [*SIZES, *sorted(table["metric"].unique())]
    demands = [Constraint(name, "min", value) for name, value in minimum.items()]
    demands += [Constraint(name, "max", value) for name, value in maximum.items()]
    for demand in demands:
        if demand.name not in known:
            raise InputError(_unknown(demand, known))
        if not isfinite(demand.threshold):
            raise InputError(f"--{demand.bound} {demand.name}={demand.threshold}: give a number.")
    for name in minimum.keys() & maximum.keys():
        if minimum[name] > maximum[name]:
            raise InputError(
                f"--min {name}={number(minimum[name])} exceeds --max {name}="
                f"{number(maximum[name])}; no value satisfies both."
            )
    return tuple(demands)


def number(value: float) -> str:
    """A number for people: thousands grouped, three significant digits below."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _unknown(demand: Constraint, known: list[str]) -> str:
    nearest = get_close_matches(demand.name, known, n=1)
    hint = f"did you mean `{nearest[0]}`? " if nearest else ""
    return (
        f"--{demand.bound} {demand.name}: no such metric or size; {hint}known: {', '.join(known)}."
    )
