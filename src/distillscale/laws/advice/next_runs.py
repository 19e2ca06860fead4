"""Which runs are worth making next: those whose outcome could change the answer and is most open.

A model is in the running if it would be preferred to the answer, or is the answer. Whether it meets
all demands is most open where the probability for a new run is nearest to one half; measuring such
a model (or repeating it with another seed) tells most. A simple rule, not an optimal design.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from distillscale.laws.advice.candidates import Candidate
from distillscale.laws.advice.constraints import Constraint
from distillscale.laws.advice.field import Field
from distillscale.laws.advice.wording import describe_place

RUNS_NAMED = 3
DECIDED = 0.02  # a probability nearer to 0 or 1 than this is not open


@dataclass(frozen=True)
class NextRun:
    """A run worth making: a model, and the probability that it meets all demands."""

    candidate: Candidate
    probability: float
    repeats: bool

    def __str__(self) -> str:
        """One line for a person."""
        what = "another seed of " if self.repeats else ""
        place = f"{what}{self.candidate.label}, {describe_place(self.candidate)}"
        return f"{place}: meets all with probability {self.probability:.2f}"


def next_runs(
    field: Field, constraints: Sequence[Constraint], choice: Candidate | None
) -> tuple[NextRun, ...]:
    """The runs worth making next, at most one a chain, the most open first."""
    sizes = [constraint for constraint in constraints if constraint.is_size]
    if len(sizes) == len(constraints):
        return ()
    limit = None if choice is None else field.preference(choice)
    found: dict[object, NextRun] = {}
    for candidate in field.allowed_by_size(sizes):
        if candidate.stage == 0 or (limit is not None and field.preference(candidate) > limit):
            continue
        probability = field.runs.joint(candidate, constraints)
        if probability is None or not DECIDED < probability < 1 - DECIDED:
            continue
        run = NextRun(candidate, probability, repeats=candidate.stage is not None)
        best = found.get(candidate.setting)
        if best is None or _openness(run) < _openness(best):
            found[candidate.setting] = run
    return tuple(sorted(found.values(), key=_openness)[:RUNS_NAMED])


def _openness(run: NextRun) -> float:
    return abs(run.probability - 0.5)
