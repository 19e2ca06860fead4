"""How each configuration fared, and which demands exclude each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isnan

import numpy as np

from distillscale.laws.advice.candidates import Candidate
from distillscale.laws.advice.constraints import Constraint, number
from distillscale.laws.advice.field import Field
from distillscale.laws.advice.wording import describe_place


@dataclass(frozen=True)
class Obstacle:
    """A constraint that stops a configuration, and the best it reached under the other ones.

    `best` is None where no model of the configuration meets the others either.
    """

    constraint: Constraint
    best: Candidate | None

    def __str__(self) -> str:
        """One clause for a person."""
        if self.best is None:
            return f"{self.constraint} (and nothing meets all the others)"
        value = self.best.value(self.constraint.name)
        if isnan(value):
            return f"{self.constraint} (not measured where the others are met)"
        place = describe_place(self.best)
        return f"{self.constraint} (best under the others {number(value)}, at {place})"


@dataclass(frozen=True)
class Outcome:
    """How one configuration fared: its best allowed model, or the obstacles.

    Without either, models meet all demands, but none with the confidence that is asked for.
    """

    label: str
    best: Candidate | None
    obstacles: tuple[Obstacle, ...]
    aim: str = "smallest"

    def __str__(self) -> str:
        """One line for a person."""
        if self.best is not None and self.best.stage == 0:
            return f"{self.label}: only the teacher itself satisfies all"
        if self.best is not None:
            return f"{self.label}: also satisfies all, {self.aim} at {describe_place(self.best)}"
        if not self.obstacles:
            return f"{self.label}: satisfies all, but not with the confidence asked for"
        return f"{self.label}: fails " + "; ".join(str(obstacle) for obstacle in self.obstacles)


def outcomes(
    field: Field, constraints: Sequence[Constraint], choice: Candidate | None
) -> tuple[Outcome, ...]:
    """How every configuration fared, except the chosen one."""
    labels = sorted({candidate.label for candidate in field.candidates})
    allowed = field.allowed(constraints)
    aim = "smallest" if field.objective.name == "params" else "best"
    found = []
    for label in labels:
        if choice is not None and label == choice.label:
            continue
        best = next((candidate for candidate in allowed if candidate.label == label), None)
        stopped = () if best else _obstacles(field, label, constraints)
        found.append(Outcome(label, best, stopped, aim))
    return tuple(found)


def _obstacles(field: Field, label: str, constraints: Sequence[Constraint]) -> tuple[Obstacle, ...]:
    own = np.array([candidate.label == label for candidate in field.candidates])
    if (own & field.meets(constraints)).any():
        return ()
    found = []
    for constraint in constraints:
        others = [other for other in constraints if other != constraint]
        places = np.flatnonzero(own & field.meets(others))
        allowed = [field.candidates[i] for i in places]
        found.append(Obstacle(constraint, _nearest(field, allowed, [constraint])))
    alone = [obstacle for obstacle in found if obstacle.best is not None]
    return tuple(alone or found)


def conflict(field: Field, constraints: Sequence[Constraint]) -> str:
    """The smallest sets of constraints that nothing satisfies together, and the closest model."""
    if field.meets(constraints).any():
        return _too_unsure(field, constraints)
    for count in range(1, len(constraints) + 1):
        impossible = [
            chosen for chosen in combinations(constraints, count) if not field.meets(chosen).any()
        ]
        if impossible:
            break
    together = " together" if count > 1 else ""
    sets = ", nor ".join(" and ".join(map(str, chosen)) + together for chosen in impossible)
    measured = [candidate for candidate in field.candidates if candidate.anchor is None]
    closest = _nearest(field, measured, constraints)
    assert closest is not None
    return (
        f"Nothing measured or interpolated satisfies {sets}.\n"
        f"Closest: {closest.label}, {describe_place(closest)}: {_misses(closest, constraints)}."
    )


def _too_unsure(field: Field, constraints: Sequence[Constraint]) -> str:
    """Some models meet all demands, none with the confidence that is asked for."""
    met = [field.candidates[i] for i in np.flatnonzero(field.meets(constraints))]
    known = [(field.runs.joint(candidate, constraints), candidate) for candidate in met]
    surest = max(((p, i) for i, (p, _) in enumerate(known) if p is not None), default=None)
    start = f"Nothing satisfies all with the probability {field.confidence:g} for a new run"
    if surest is None:
        return f"{start}: nothing tells how runs differ."
    candidate = met[surest[1]]
    return (
        f"{start}.\nClosest: {candidate.label}, {describe_place(candidate)}: probability "
        f"{surest[0]:.2f}."
    )


def _nearest(
    field: Field, candidates: Sequence[Candidate], constraints: Sequence[Constraint]
) -> Candidate | None:
    def distance(candidate: Candidate) -> tuple[float, ...]:
        short = sum(c.shortfall(candidate.value(c.name)) for c in constraints)
        return short, *field.preference(candidate)

    return min(candidates, key=distance, default=None)


def _misses(candidate: Candidate, constraints: Sequence[Constraint]) -> str:
    missed = [c for c in constraints if not c.met(candidate.value(c.name))]
    return ", ".join(
        f"{c.name} was not measured"
        if isnan(candidate.value(c.name))
        else f"{c.name} {number(candidate.value(c.name))} misses {c} by "
        f"{c.shortfall(candidate.value(c.name)):.1%}"
        for c in missed
    )
