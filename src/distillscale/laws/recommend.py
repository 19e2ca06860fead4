"""The smallest model that satisfies a user's demands, and why the others do not.

The choice is made among models that were measured and, between measured sizes, models that the
laws predict inside the range they were fitted on. Beyond it nothing is chosen; it is said instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isnan

import pandas as pd

from distillscale.errors import InputError
from distillscale.laws.candidates import Candidate, interpolated_candidates, measured_candidates
from distillscale.laws.constraints import Constraint, number, read_constraints
from distillscale.laws.extrapolation import beyond_range
from distillscale.laws.fit import LawFit
from distillscale.laws.wording import describe, describe_place

HEADLINE_METRICS = ("macro_f1", "general")


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
    """How one configuration fared: its smallest satisfying model, or the obstacles."""

    label: str
    smallest: Candidate | None
    obstacles: tuple[Obstacle, ...]

    def __str__(self) -> str:
        """One line for a person."""
        if self.smallest is not None:
            return f"{self.label}: also satisfies all, smallest at {describe_place(self.smallest)}"
        return f"{self.label}: fails " + "; ".join(str(obstacle) for obstacle in self.obstacles)


@dataclass(frozen=True)
class Recommendation:
    """The choice (None if nothing satisfies all), the other configurations, and remarks.

    `conflict` names the constraints that exclude each other and the closest model; it is empty
    when there is a choice. `remarks` hold what a reader must know before relying on the choice:
    intervals that reach across a threshold, and where an answer would need extrapolation.
    """

    constraints: tuple[Constraint, ...]
    choice: Candidate | None
    others: tuple[Outcome, ...]
    conflict: str
    remarks: tuple[str, ...]

    def as_text(self) -> str:
        """The recommendation as plain text, one statement a line."""
        demanded = ", ".join(str(constraint) for constraint in self.constraints) or "no constraint"
        lines = [f"Smallest model with {demanded}:"]
        lines += [self.conflict] if self.choice is None else describe(self.choice)
        lines += [f"Note: {remark}" for remark in self.remarks]
        if self.others:
            lines.append("Other configurations:" if self.choice else "Configurations:")
        lines += [f"  {outcome}" for outcome in self.others]
        return "\n".join(lines)


def recommend(
    table: pd.DataFrame,
    fits: Sequence[LawFit],
    minimum: Mapping[str, float],
    maximum: Mapping[str, float],
    *,
    task: str | None = None,
) -> Recommendation:
    """Find the smallest model (by `params`) that satisfies all constraints.

    Ties go to the fewer examples, then to the higher macro F1.

    Args:
        table: a results table.
        fits: its laws (`fit_laws`); without them only measured models are considered.
        minimum: smallest allowed value by metric or size name.
        maximum: largest allowed value by metric or size name.
        task: which task of the table; may be left out where there is only one.

    Raises:
        InputError: unknown metric, size or task, or several tasks and none chosen.
    """
    table = _of_task(table, task)
    constraints = read_constraints(table, minimum, maximum)
    shown = [*HEADLINE_METRICS, *(c.name for c in constraints if not c.is_size)]
    measured = measured_candidates(table, shown)
    candidates = measured + interpolated_candidates(measured, fits, constraints)
    satisfying = [candidate for candidate in candidates if candidate.meets(constraints)]
    choice = min(satisfying, key=_preference, default=None)
    laws = [fit for fit in fits if fit.group.get("task") == candidates[0].task]
    return Recommendation(
        constraints=constraints,
        choice=choice,
        others=_outcomes(candidates, constraints, choice),
        conflict="" if choice else _conflict(candidates, constraints),
        remarks=(
            _cautions(choice, measured, satisfying, constraints)
            if choice
            else beyond_range(laws, measured, constraints)
        ),
    )


def _of_task(table: pd.DataFrame, task: str | None) -> pd.DataFrame:
    tasks = sorted(table["task"].unique())
    if not tasks:
        raise InputError("the results table has no rows; `distillscale study run` fills one.")
    if task is None and len(tasks) > 1:
        raise InputError(f"the results hold the tasks {', '.join(tasks)}; choose one of them.")
    if task is not None and task not in tasks:
        raise InputError(f"task `{task}`: not in the results, which hold {', '.join(tasks)}.")
    return table[table["task"] == (task or tasks[0])]


def _preference(candidate: Candidate) -> tuple[float, float, float]:
    f1 = candidate.value("macro_f1")
    return candidate.params, candidate.dataset_size, 0.0 if isnan(f1) else -f1


def _outcomes(
    candidates: Sequence[Candidate],
    constraints: Sequence[Constraint],
    choice: Candidate | None,
) -> tuple[Outcome, ...]:
    """How every configuration fared, except the chosen one."""
    labels = dict.fromkeys(candidate.label for candidate in candidates)
    return tuple(
        _outcome(label, [c for c in candidates if c.label == label], constraints)
        for label in labels
        if choice is None or label != choice.label
    )


def _outcome(
    label: str, candidates: Sequence[Candidate], constraints: Sequence[Constraint]
) -> Outcome:
    satisfying = [candidate for candidate in candidates if candidate.meets(constraints)]
    if satisfying:
        return Outcome(label, min(satisfying, key=_preference), ())
    obstacles = [_obstacle(constraint, candidates, constraints) for constraint in constraints]
    alone = [obstacle for obstacle in obstacles if obstacle.best is not None]
    return Outcome(label, None, tuple(alone or obstacles))


def _obstacle(
    constraint: Constraint, candidates: Sequence[Candidate], constraints: Sequence[Constraint]
) -> Obstacle:
    others = [other for other in constraints if other != constraint]
    allowed = [candidate for candidate in candidates if candidate.meets(others)]
    return Obstacle(
        constraint,
        min(
            allowed,
            key=lambda c: (constraint.shortfall(c.value(constraint.name)), *_preference(c)),
            default=None,
        ),
    )


def _conflict(candidates: Sequence[Candidate], constraints: Sequence[Constraint]) -> str:
    """The smallest sets of constraints that nothing satisfies together, and the closest model."""
    for count in range(1, len(constraints) + 1):
        impossible = [
            chosen
            for chosen in combinations(constraints, count)
            if not any(candidate.meets(chosen) for candidate in candidates)
        ]
        if impossible:
            break
    together = " together" if count > 1 else ""
    sets = ", nor ".join(" and ".join(map(str, chosen)) + together for chosen in impossible)
    closest = min(candidates, key=lambda c: (_total_shortfall(c, constraints), *_preference(c)))
    return (
        f"Nothing measured or interpolated satisfies {sets}.\n"
        f"Closest: {closest.label}, {describe_place(closest)}: {_misses(closest, constraints)}."
    )


def _total_shortfall(candidate: Candidate, constraints: Sequence[Constraint]) -> float:
    return sum(constraint.shortfall(candidate.value(constraint.name)) for constraint in constraints)


def _misses(candidate: Candidate, constraints: Sequence[Constraint]) -> str:
    missed = [c for c in constraints if not c.met(candidate.value(c.name))]
    return ", ".join(
        f"{c.name} was not measured"
        if isnan(candidate.value(c.name))
        else f"{c.name} {number(candidate.value(c.name))} misses {c} by "
        f"{c.shortfall(candidate.value(c.name)):.1%}"
        for c in missed
    )


def _cautions(
    choice: Candidate,
    measured: Sequence[Candidate],
    satisfying: Sequence[Candidate],
    constraints: Sequence[Constraint],
) -> tuple[str, ...]:
    """What limits trust in a choice."""
    cautions = [*_crossed(choice, constraints)]
    if choice.stage is None:
        made = [candidate for candidate in satisfying if candidate.stage is not None]
        smallest = min(made, key=_preference, default=None)
        nearest = f"{smallest.label}, {describe_place(smallest)}" if smallest else "none"
        cautions.append(
            "this size was not made, its metrics are the laws' predictions; the smallest measured "
            f"model that satisfies all: {nearest}"
        )
    if choice.stage == 0:
        cautions.append("no compressed model satisfies all: this is the teacher itself")
    elif choice.params == min(candidate.params for candidate in measured):
        cautions.append(
            "this is the smallest size measured; a smaller one lies outside the fitted range"
        )
    return tuple(cautions)


def _crossed(choice: Candidate, constraints: Sequence[Constraint]) -> Iterator[str]:
    for constraint in constraints:
        estimate = choice.metrics.get(constraint.name)
        if estimate is None or estimate.low is None or estimate.high is None:
            continue
        if not (constraint.met(estimate.low) and constraint.met(estimate.high)):
            yield f"the interval of {constraint.name} reaches across {constraint}"
