"""What a user demands of a model (`general >= 0.6`), and what is to be least or most of all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite, isnan
from typing import Literal

import pandas as pd

from distillscale.errors import InputError
from distillscale.laws.advice.scale import direction_known
from distillscale.laws.metrics import metric

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
        """As a person writes it, the threshold with all its digits."""
        return f"{self.name} {'>=' if self.bound == 'min' else '<='} {exact(self.threshold)}"


@dataclass(frozen=True)
class Objective:
    """What is to be as small (`min`) or as large (`max`) as the constraints allow."""

    name: str = "params"
    bound: Literal["min", "max"] = "min"

    @property
    def is_size(self) -> bool:
        """Whether it is a size, known before any training."""
        return self.name in SIZES

    def loss(self, value: float) -> float:
        """Smaller is better; a missing value is the worst."""
        if isnan(value):
            return float("inf")
        return value if self.bound == "min" else -value

    def __str__(self) -> str:
        """Which model is looked for: `the smallest model`, `the model of highest macro_f1`."""
        if self.name == "params":
            return "the smallest model" if self.bound == "min" else "the largest model"
        return f"the model of {'lowest' if self.bound == 'min' else 'highest'} {self.name}"


def read_constraints(
    table: pd.DataFrame, minimum: Mapping[str, float], maximum: Mapping[str, float]
) -> tuple[Constraint, ...]:
    """Check demands against a results table: minima first, in the order given.

    Raises:
        InputError: a name that is neither a metric of the table nor a size, a threshold that is
            not a finite number, or a minimum above the maximum of the same name.
    """
    known = _known(table)
    demands = [Constraint(name, "min", value) for name, value in minimum.items()]
    demands += [Constraint(name, "max", value) for name, value in maximum.items()]
    for demand in demands:
        _check_name(f"--{demand.bound} {demand.name}", demand.name, known)
        if not isfinite(demand.threshold):
            raise InputError(f"--{demand.bound} {demand.name}={demand.threshold}: give a number.")
    for name in minimum.keys() & maximum.keys():
        if minimum[name] > maximum[name]:
            raise InputError(
                f"--min {name}={exact(minimum[name])} exceeds --max {name}="
                f"{exact(maximum[name])}; no value satisfies both."
            )
    return tuple(demands)


def read_objective(table: pd.DataFrame, text: str) -> Objective:
    """An objective as a user writes it: `params`, `macro_f1`, or with its direction `max:params`.

    Without a direction sizes are to be small, and metrics as is better for them.

    Raises:
        InputError: no such metric or size, or a metric of which it is not known what is better.
    """
    bound, colon, name = text.partition(":")
    if not colon or bound not in ("min", "max"):
        bound, name = "", text
    _check_name(f"--objective {text}", name, _known(table))
    values = table.loc[table["metric"] == name, "value"].dropna().to_numpy(dtype=float)
    if name not in SIZES and len(values) == 0:
        raise InputError(f"--objective {text}: no model has a value of `{name}`; choose another.")
    if bound == "min" or (not bound and name in SIZES):
        return Objective(name, "min")
    if bound == "max":
        return Objective(name, "max")
    if not direction_known(name, values):
        raise InputError(
            f"--objective {name}: it is not known which direction of this metric is better; write "
            f"min:{name} or max:{name}."
        )
    return Objective(name, "max" if metric(name).better == "higher" else "min")


def number(value: float) -> str:
    """A number for people: thousands grouped, three significant digits below."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def exact(value: float) -> str:
    """A number as it was given: thousands grouped, no digit less."""
    return f"{float(value):,}".removesuffix(".0")


def listed(constraints: Sequence[Constraint]) -> str:
    """Demands in one clause: `a >= 1, b >= 2 and c <= 3`."""
    texts = [str(constraint) for constraint in constraints]
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]])) or "no constraint"


def _known(table: pd.DataFrame) -> list[str]:
    return [*SIZES, *sorted(table["metric"].unique())]


def _check_name(given: str, name: str, known: list[str]) -> None:
    if name in known:
        return
    nearest = get_close_matches(name, known, n=1)
    hint = f"did you mean `{nearest[0]}`? " if nearest else ""
    raise InputError(f"{given}: no such metric or size; {hint}known: {', '.join(known)}.")
