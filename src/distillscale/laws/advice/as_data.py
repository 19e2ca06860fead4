"""A recommendation as plain data, for `--json`."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from distillscale.laws.advice.candidates import Candidate
from distillscale.laws.advice.constraints import Constraint
from distillscale.laws.advice.new_run import Forecast
from distillscale.laws.advice.outcomes import Outcome
from distillscale.laws.advice.recommend import Recommendation

PLACE = (
    "task", "configuration", "supervision", "method", "thinking", "schedule", "stages",
    "dataset_size", "stage", "prune_ratio", "params", "params_with_embeddings", "ratios", "seeds",
)  # fmt: skip


def as_data(answer: Recommendation) -> dict[str, Any]:
    """Everything that `as_text` says, in JSON's types; missing numbers are None."""
    return {
        "decision": answer.decision(),
        "objective": {"name": answer.objective.name, "direction": answer.objective.bound},
        "constraints": [
            _constraint(c) | {"probability": p}
            for c, p in _with_probability(answer.constraints, answer.probabilities)
        ],
        "probability_of_all": answer.together,
        "choice": _place(answer.choice),
        "new_run": {name: _forecast(f) for name, f in answer.forecasts.items()},
        "surer": _place(answer.surer),
        "runner_up": _place(answer.runner_up),
        "changes": [
            _constraint(f.constraint) | {"changed_to": f.threshold, "answer": _place(f.answer)}
            for f in answer.flips
        ],
        "next_runs": [
            {"probability_of_all": run.probability, "repeats": run.repeats}
            | (_place(run.candidate) or {})
            for run in answer.next_runs
        ],
        "others": [_outcome(outcome) for outcome in answer.others],
        "conflict": answer.conflict,
        "remarks": list(answer.remarks),
    }


def _with_probability(
    constraints: tuple[Constraint, ...], probabilities: tuple[float | None, ...]
) -> list[tuple[Constraint, float | None]]:
    known = probabilities or (None,) * len(constraints)
    return list(zip(constraints, known, strict=True))


def _constraint(constraint: Constraint) -> dict[str, Any]:
    return {
        "name": constraint.name, "bound": constraint.bound, "threshold": constraint.threshold,
    }  # fmt: skip


def _place(candidate: Candidate | None) -> dict[str, Any] | None:
    if candidate is None:
        return None
    values = {name: getattr(candidate, name) for name in PLACE}
    metrics = {name: _finite(estimate.value) for name, estimate in candidate.metrics.items()}
    measured = {"measured": candidate.stage is not None, "factor_beyond_range": candidate.factor}
    return values | {"ratios": list(candidate.ratios), "metrics": metrics} | measured


def _forecast(forecast: Forecast) -> Mapping[str, Any]:
    return {
        "value": _finite(forecast.value), "low": forecast.low, "high": forecast.high,
        "level": forecast.level, "covers": forecast.covers,
    }  # fmt: skip


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {"configuration": outcome.label, "best": _place(outcome.best), "why": str(outcome)}


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
