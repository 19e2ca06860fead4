"""Exponents of the data and size laws side by side by supervision format, and their differences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import hypot
from typing import Any

import pandas as pd

from distillscale.laws.comparison.matched import ORDER
from distillscale.laws.law_fit import LawFit

EXPONENTS = {"data": "beta", "size": "alpha"}
EXPONENT_COLUMNS = [
    "law", "metric", "x", "task", "method", "parameter", "format", "value", "low", "high",
    "identified", "covers",
]  # fmt: skip
DIFFERENCE_COLUMNS = [
    "law", "metric", "x", "task", "method", "parameter", "earlier", "later", "value_earlier",
    "value_later", "difference", "low", "high", "identified", "covers",
]  # fmt: skip
_SAME = ("task", "method", "schedule", "stages", "final_ratio", "dataset_size")


@dataclass(frozen=True)
class _Exponent:
    """One law's exponent."""

    fit: LawFit
    name: str

    @property
    def value(self) -> float:
        """The estimate."""
        return self.fit.estimate[self.name]

    @property
    def ends(self) -> tuple[float, float] | None:
        """Its interval at the fit's level, by the method that was chosen; None: unknown."""
        return self.fit.intervals[self.name]

    @property
    def format(self) -> str:
        """The supervision, with the depth of its reasoning; `pruned only` without any."""
        if self.fit.group["supervision"] == "none":
            return "pruned only"
        thinking = self.fit.group["thinking"]
        supervision = str(self.fit.group["supervision"])
        return supervision if thinking == "none" else f"{supervision} ({thinking})"


def exponent_table(fits: Sequence[LawFit]) -> pd.DataFrame:
    """One row an exponent with its interval at the fits' level, columns `EXPONENT_COLUMNS`."""
    rows = []
    for law, parameter in EXPONENTS.items():
        for exponent in sorted(_exponents(fits, law, parameter), key=_rank):
            low, high = exponent.ends or (None, None)
            rows.append(_head(exponent) | {
                "format": exponent.format,
                "value": exponent.value,
                "low": low,
                "high": high,
                "identified": exponent.fit.identified(parameter),
                "covers": exponent.fit.covers,
            })  # fmt: skip
    return pd.DataFrame(rows, columns=EXPONENT_COLUMNS)


def exponent_differences(fits: Sequence[LawFit]) -> pd.DataFrame:
    """Exponents of two formats with all else equal and their difference, `DIFFERENCE_COLUMNS`.

    The interval of a difference is put together from the two exponents' (square-and-add, MOVER;
    Zou and Donner 2008), as of independent estimates: what they share through the test examples,
    which would narrow it, is left out. `identified`: the data determine both exponents; where they
    do not, the difference is no finding.
    """
    rows = [
        _row(min(pair, key=_rank), max(pair, key=_rank))
        for law, parameter in EXPONENTS.items()
        for pair in combinations(_exponents(fits, law, parameter), 2)
        if _comparable(*pair)
    ]
    return pd.DataFrame(rows, columns=DIFFERENCE_COLUMNS)


def _exponents(fits: Sequence[LawFit], law: str, parameter: str) -> Iterator[_Exponent]:
    for fit in fits:
        if fit.form == law and parameter in fit.estimate:
            yield _Exponent(fit, parameter)


def _comparable(left: _Exponent, right: _Exponent) -> bool:
    """Whether the two differ in supervision alone, or in the depth of its reasoning alone."""
    ours, theirs = left.fit.group, right.fit.group
    depths = {str(ours["thinking"]), str(theirs["thinking"])} - {"none"}
    return (
        (left.fit.metric, left.fit.x) == (right.fit.metric, right.fit.x)
        and left.format != right.format
        and (ours["supervision"] == theirs["supervision"] or len(depths) <= 1)
        and all(ours.get(name) == theirs.get(name) for name in _SAME)
    )


def _rank(exponent: _Exponent) -> tuple[int, str]:
    order = ORDER["supervision"]
    supervision = str(exponent.fit.group["supervision"])
    place = order.index(supervision) if supervision in order else len(order)
    return place, exponent.format


def _row(earlier: _Exponent, later: _Exponent) -> dict[str, Any]:
    low, high = _difference(earlier, later) or (None, None)
    return _head(earlier) | {
        "earlier": earlier.format,
        "later": later.format,
        "value_earlier": earlier.value,
        "value_later": later.value,
        "difference": later.value - earlier.value,
        "low": low,
        "high": high,
        "identified": all(e.fit.identified(e.name) for e in (earlier, later)),
        "covers": earlier.fit.covers,
    }


def _difference(earlier: _Exponent, later: _Exponent) -> tuple[float, float] | None:
    if earlier.ends is None or later.ends is None:
        return None
    apart = later.value - earlier.value
    down = hypot(later.value - later.ends[0], earlier.ends[1] - earlier.value)
    up = hypot(later.ends[1] - later.value, earlier.value - earlier.ends[0])
    return apart - down, apart + up


def _head(exponent: _Exponent) -> dict[str, Any]:
    fit = exponent.fit
    return {
        "law": fit.form,
        "metric": fit.metric,
        "x": fit.x,
        "task": fit.group["task"],
        "method": fit.group["method"],
        "parameter": exponent.name,
    }
