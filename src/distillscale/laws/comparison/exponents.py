"""Exponents of the data and size laws side by side by supervision format, and their differences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from distillscale.laws.arrays import Array
from distillscale.laws.bootstrap import interval
from distillscale.laws.comparison.matched import ORDER
from distillscale.laws.forms import FORMS
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
    """One law's exponent with its bootstrap draws, [draws]."""

    fit: LawFit
    name: str
    value: float
    draws: Array

    @property
    def format(self) -> str:
        """The supervision, with the depth of its reasoning; `pruned only` without any."""
        if self.fit.group["supervision"] == "none":
            return "pruned only"
        thinking = self.fit.group["thinking"]
        supervision = str(self.fit.group["supervision"])
        return supervision if thinking == "none" else f"{supervision} ({thinking})"


def exponent_table(fits: Sequence[LawFit], level: float) -> pd.DataFrame:
    """One row an exponent with its bootstrap interval, columns `EXPONENT_COLUMNS`."""
    rows = []
    for law, parameter in EXPONENTS.items():
        for exponent in sorted(_exponents(fits, law, parameter), key=_rank):
            low, high = interval(exponent.draws, level) or (None, None)
            rows.append(_head(exponent) | {
                "format": exponent.format,
                "value": exponent.value,
                "low": low,
                "high": high,
                "identified": exponent.fit.identified(parameter),
                "covers": exponent.fit.covers,
            })  # fmt: skip
    return pd.DataFrame(rows, columns=EXPONENT_COLUMNS)


def exponent_differences(fits: Sequence[LawFit], level: float) -> pd.DataFrame:
    """Exponents of two formats with all else equal and their difference, `DIFFERENCE_COLUMNS`.

    The two laws' draws are put together by chance: their runs are independent, and what they share
    through the test examples, which would narrow the difference, is left out. `identified`: the
    data determine both exponents; where they do not, the difference is no finding.
    """
    rows = [
        _row(min(pair, key=_rank), max(pair, key=_rank), level)
        for law, parameter in EXPONENTS.items()
        for pair in combinations(_exponents(fits, law, parameter), 2)
        if _comparable(*pair)
    ]
    return pd.DataFrame(rows, columns=DIFFERENCE_COLUMNS)


def _exponents(fits: Sequence[LawFit], law: str, parameter: str) -> Iterator[_Exponent]:
    for fit in fits:
        if fit.form == law and parameter in fit.estimate:
            place = FORMS[law].names.index(parameter)
            draws = np.array([row[place] for row in fit.draws])
            yield _Exponent(fit, parameter, fit.estimate[parameter], draws)


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


def _row(earlier: _Exponent, later: _Exponent, level: float) -> dict[str, Any]:
    count = min(len(earlier.draws), len(later.draws))
    # All laws are drawn from one seed, so draw b of one would move with draw b of another.
    apart = np.random.default_rng(0).permutation(later.draws[:count])
    low, high = interval(apart - earlier.draws[:count], level) or (None, None)
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
