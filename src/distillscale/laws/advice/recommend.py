"""The model to make under a user's demands, how sure that is, and why the others are not it.

The choice is made among models that were measured and, between measured sizes and dataset sizes,
models that the laws predict inside the range they were fitted on. Beyond it nothing is chosen
unless extrapolation is asked for; it is said instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from distillscale.errors import InputError
from distillscale.laws.advice.between import derived_candidates, usable_laws
from distillscale.laws.advice.candidates import Candidate, measured_candidates
from distillscale.laws.advice.constraints import (
    Constraint,
    Objective,
    listed,
    read_constraints,
    read_objective,
)
from distillscale.laws.advice.extrapolation import beyond_range
from distillscale.laws.advice.field import Field
from distillscale.laws.advice.flips import Flip, flips
from distillscale.laws.advice.new_run import Forecast, new_runs
from distillscale.laws.advice.next_runs import NextRun, next_runs
from distillscale.laws.advice.optimism import optimism
from distillscale.laws.advice.outcomes import Outcome, conflict, outcomes
from distillscale.laws.advice.remarks import cautions
from distillscale.laws.advice.scale import scale_of
from distillscale.laws.advice.spread import without_copies
from distillscale.laws.advice.wording import describe, describe_place
from distillscale.laws.law_fit import LawFit
from distillscale.laws.settings import with_settings

HEADLINE_METRICS = ("macro_f1", "general")
SURE = 0.8


@dataclass(frozen=True)
class Recommendation:
    """The choice (None if nothing satisfies all), and all that a reader must know to rely on it.

    Attributes:
        constraints: what was demanded.
        objective: what was to be least or most.
        choice: the model to make.
        forecasts: what a new run of the choice would give, by metric.
        probabilities: that a new run meets each constraint; None where unknown.
        together: that it meets all of them.
        surer: the best model that a new run of meets all with probability `SURE`; None where the
            choice does, or nothing does.
        runner_up: the best model of another chain that satisfies all.
        flips: thresholds at which the answer changes.
        next_runs: runs whose outcome is most open.
        others: how the other configurations fared.
        conflict: the constraints that exclude each other and the closest model; empty with a
            choice.
        remarks: intervals that reach across a threshold, how the choice came about, and where an
            answer would need extrapolation.
        level: of the intervals.
    """

    constraints: tuple[Constraint, ...]
    objective: Objective
    choice: Candidate | None
    forecasts: dict[str, Forecast]
    probabilities: tuple[float | None, ...]
    together: float | None
    surer: Candidate | None
    runner_up: Candidate | None
    flips: tuple[Flip, ...]
    next_runs: tuple[NextRun, ...]
    others: tuple[Outcome, ...]
    conflict: str
    remarks: tuple[str, ...]

    def decision(self) -> str:
        """The answer in one sentence."""
        if self.choice is None:
            return self.conflict.splitlines()[0]
        place = describe_place(self.choice)
        sentence = f"{self.choice.label} at {place} is {self.objective}"
        sentence += f" with {listed(self.constraints)}" if self.constraints else " of all"
        if all(constraint.is_size for constraint in self.constraints):
            return f"{sentence}."
        if self.together is None:
            return f"{sentence}; how likely a new run meets this is not known."
        return f"{sentence}; a new run meets this with probability {self.together:.2f}."

    def as_text(self) -> str:
        """The recommendation as plain text; the first line is the decision."""
        lines = [self.decision(), *self.conflict.splitlines()[1:]]
        if self.choice is not None:
            lines += describe(self.choice, self.forecasts)
            lines += self._probabilities()
        lines += [f"Note: {remark}" for remark in self.remarks]
        if self.surer is not None:
            surer = f"{self.surer.label}, {describe_place(self.surer)}"
            lines.append(f"With probability {SURE:g} a new run meets all of: {surer}")
        if self.runner_up is not None:
            runner_up = f"{self.runner_up.label}, {describe_place(self.runner_up)}"
            lines.append(f"Runner-up: {runner_up}")
        lines += _headed("The answer changes at:", self.flips)
        lines += _headed("Runs whose outcome is most open, worth making next:", self.next_runs)
        lines += _headed("Other configurations:" if self.choice else "Configurations:", self.others)
        return "\n".join(lines)

    def _probabilities(self) -> list[str]:
        metrics = [
            (constraint, probability)
            for constraint, probability in zip(self.constraints, self.probabilities, strict=True)
            if not constraint.is_size
        ]
        shown = [f"{c} {'unknown' if p is None else f'{p:.2f}'}" for c, p in metrics]
        together = "unknown" if self.together is None else f"{self.together:.2f}"
        shown += [f"all together {together}"] if len(metrics) > 1 else []
        return [f"  Probability that a new run meets: {', '.join(shown)}"] if metrics else []


def recommend(
    table: pd.DataFrame,
    fits: Sequence[LawFit],
    minimum: Mapping[str, float],
    maximum: Mapping[str, float],
    *,
    task: str | None = None,
    objective: str = "params",
    extrapolate: bool = False,
    confidence: float | None = None,
) -> Recommendation:
    """Find the model that is best by the objective among those that satisfy all constraints.

    Ties go to the fewer parameters, then to the fewer examples, then to the higher macro F1.

    Args:
        table: a results table.
        fits: its laws (`fit_laws`); without them only measured models are considered.
        minimum: smallest allowed value by metric or size name.
        maximum: largest allowed value by metric or size name.
        task: which task of the table; may be left out where there is only one.
        objective: the metric or size that is to be best, `min:` or `max:` before it if that is
            not plain; by default the smallest model is looked for.
        extrapolate: also consider models beyond the fitted range, up to 10 times.
        confidence: smallest probability with which a new run must meet all constraints; None: the
            expected values must meet them, whatever the probability.

    Raises:
        InputError: unknown metric, size or task, several tasks and none chosen, or a confidence
            that is no probability.
    """
    table = without_copies(with_settings(of_task(table, task)))
    constraints = read_constraints(table, minimum, maximum)
    aim = read_objective(table, objective)
    if confidence is not None and not 0 < confidence < 1:
        raise InputError(f"--confidence {confidence:g}: give a probability between 0 and 1.")
    needed = _needed(constraints, aim)
    field = _field(table, fits, needed, aim, extrapolate=extrapolate, confidence=confidence)
    choice = field.best(constraints)
    runs = field.runs
    measured = [candidate for candidate in field.candidates if candidate.anchor is None]
    return Recommendation(
        constraints=constraints,
        objective=aim,
        choice=choice,
        forecasts={n: runs.forecast(choice, n) for n in choice.metrics} if choice else {},
        probabilities=tuple(runs.probability(choice, c) for c in constraints) if choice else (),
        together=runs.joint(choice, constraints) if choice else None,
        surer=_surer(field, constraints, choice),
        runner_up=_runner_up(field, constraints, choice),
        flips=flips(field, constraints, choice),
        next_runs=next_runs(field, constraints, choice),
        others=outcomes(field, constraints, choice),
        conflict="" if choice else conflict(field, constraints),
        remarks=(
            cautions(field, constraints, choice, optimism(field, constraints))
            if choice
            else beyond_range([f for f in fits if _same_task(f, table)], measured, constraints)
        ),
    )


def of_task(table: pd.DataFrame, task: str | None) -> pd.DataFrame:
    """The rows of one task, which need not be named where there is only one.

    Raises:
        InputError: no rows, no such task, or several and none named.
    """
    tasks = sorted(table["task"].unique())
    if not tasks:
        raise InputError("the results table has no rows; `distillscale study run` fills one.")
    if task is None and len(tasks) > 1:
        raise InputError(f"the results hold the tasks {', '.join(tasks)}; choose one of them.")
    if task is not None and task not in tasks:
        raise InputError(f"task `{task}`: not in the results, which hold {', '.join(tasks)}.")
    return table[table["task"] == (task or tasks[0])]


def metrics_that_matter(
    table: pd.DataFrame,
    minimum: Mapping[str, float],
    maximum: Mapping[str, float],
    objective: str = "params",
) -> list[str]:
    """The metrics whose laws a recommendation uses, so that only those need to be fitted.

    Raises:
        InputError: as `recommend`.
    """
    constraints, aim = read_constraints(table, minimum, maximum), read_objective(table, objective)
    return _shown(table, _needed(constraints, aim))


def _needed(constraints: Sequence[Constraint], objective: Objective) -> list[str]:
    """The metrics without which a model cannot be judged."""
    names = [constraint.name for constraint in constraints if not constraint.is_size]
    return names if objective.is_size else [*names, objective.name]


def _shown(table: pd.DataFrame, needed: Sequence[str]) -> list[str]:
    present = set(table.loc[table["value"].notna(), "metric"])
    return [name for name in dict.fromkeys((*HEADLINE_METRICS, *needed)) if name in present]


def _field(
    table: pd.DataFrame, fits: Sequence[LawFit], needed: Sequence[str], objective: Objective, *,
    extrapolate: bool, confidence: float | None,
) -> Field:  # fmt: skip
    """All models that can be chosen."""
    shown = _shown(table, needed)
    scales = {name: scale_of(table[table["metric"] == name]) for name in shown}
    measured = measured_candidates(table, shown, scales)
    laws = usable_laws(table, fits, scales)
    derived = derived_candidates(measured, laws, needed, extrapolate=extrapolate)
    return Field([*measured, *derived], objective, new_runs(table, scales, laws), confidence)


def _same_task(fit: LawFit, table: pd.DataFrame) -> bool:
    return fit.group.get("task") == table["task"].iloc[0]


def _surer(
    field: Field, constraints: Sequence[Constraint], choice: Candidate | None
) -> Candidate | None:
    """The best that meets all with probability `SURE`, where the choice is less sure."""
    if choice is None or field.confidence is not None:
        return None
    best = Field(field.candidates, field.objective, field.runs, SURE).best(constraints)
    return None if best is None or best == choice else best


def _runner_up(
    field: Field, constraints: Sequence[Constraint], choice: Candidate | None
) -> Candidate | None:
    if choice is None:
        return None
    others = (c for c in field.allowed(constraints) if c.setting != choice.setting)
    return next((c for c in others if c.stage != 0 or choice.stage == 0), None)


def _headed(heading: str, entries: Sequence[object]) -> list[str]:
    return [heading, *(f"  {entry}" for entry in entries)] if entries else []
