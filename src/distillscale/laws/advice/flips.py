"""What would change the answer: the nearest threshold of each demand at which another one comes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, log10

import numpy as np

from distillscale.laws.advice.candidates import Candidate
from distillscale.laws.advice.constraints import Constraint, exact
from distillscale.laws.advice.field import Field
from distillscale.laws.advice.wording import describe_place
from distillscale.laws.arrays import Array

THRESHOLDS_TRIED = 60
HALVINGS = 14


@dataclass(frozen=True)
class Flip:
    """With `threshold` in place of the constraint's own the answer is `answer` (None: none)."""

    constraint: Constraint
    threshold: float
    answer: Candidate | None

    def __str__(self) -> str:
        """One line for a person."""
        places = ".0f" if abs(self.threshold) >= 1000 else ".6g"
        changed = replace(self.constraint, threshold=float(f"{self.threshold:{places}}"))
        before = exact(self.constraint.threshold)
        if self.answer is None:
            return f"{changed} in place of {before}: nothing satisfies all"
        return f"{changed} in place of {before}: {self.answer.label}, {describe_place(self.answer)}"


def flips(
    field: Field, constraints: Sequence[Constraint], choice: Candidate | None
) -> tuple[Flip, ...]:
    """For each demand the nearest stricter and the nearest laxer threshold that change the answer.

    Without an answer only laxer ones are looked for. Another size of the same chain is no other
    answer. Thresholds are found to 0.01 % of the distance that was searched.
    """
    found = []
    for place, constraint in enumerate(constraints):
        values = field.values_of(constraint.name)
        stricter, laxer = _beyond(values, constraint)
        for thresholds in (stricter, laxer) if choice is not None else (laxer,):
            flip = _first(field, constraints, place, thresholds, choice)
            if flip is not None and not (constraint.is_size and flip.threshold <= 0):
                found.append(flip)
    return tuple(found)


def _beyond(values: Array, constraint: Constraint) -> tuple[Array, Array]:
    """Thresholds to try on both sides, nearest first: the values that models have, and beyond."""
    known = np.unique(values[np.isfinite(values)])
    nudge = 1e-9 * max(1.0, float(np.abs(known).max(initial=0.0)))
    higher, lower = known[known > constraint.threshold], known[known < constraint.threshold][::-1]
    if constraint.bound == "min":
        return _thinned(higher + nudge), _thinned(lower)
    return _thinned(lower - nudge), _thinned(higher)


def _thinned(values: Array) -> Array:
    if len(values) <= THRESHOLDS_TRIED:
        return values
    kept = np.linspace(0, len(values) - 1, THRESHOLDS_TRIED).round().astype(int)
    return values[kept]


def _first(
    field: Field, constraints: Sequence[Constraint], place: int, thresholds: Array,
    choice: Candidate | None,
) -> Flip | None:  # fmt: skip
    def answer(threshold: float) -> Candidate | None:
        changed = list(constraints)
        changed[place] = replace(constraints[place], threshold=threshold)
        return field.best(changed)

    same = constraints[place].threshold
    for threshold in thresholds:
        if _identity(answer(threshold)) == _identity(choice):
            same = threshold
            continue
        other = float(threshold)
        for _ in range(HALVINGS):
            middle = (same + other) / 2
            if _identity(answer(middle)) == _identity(choice):
                same = middle
            else:
                other = middle
        return Flip(constraints[place], *_rounded(other, same, answer))
    return None


def _rounded(
    threshold: float, before: float, answer: Callable[[float], Candidate | None]
) -> tuple[float, Candidate | None]:
    """The threshold with three digits (a whole number from 1,000 on), if the answer is the same."""
    digits = 0 if abs(threshold) >= 1000 else 2 - floor(log10(abs(threshold) or 1.0))
    away = ceil if threshold > before else floor
    rounded = away(threshold * 10**digits) / 10**digits
    near, there = answer(rounded), answer(threshold)
    return (rounded, near) if _identity(near) == _identity(there) else (threshold, there)


def _identity(candidate: Candidate | None) -> object:
    """Of an answer; sizes between the same stages of a chain are one."""
    if candidate is None:
        return None
    between = candidate.anchor and (candidate.anchor.stage, candidate.anchor.dataset_size)
    return candidate.setting, candidate.stage, between
