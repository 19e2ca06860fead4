"""Candidates in words, for the recommendation's text."""

from distillscale.laws.candidates import Candidate, Estimate
from distillscale.laws.constraints import number


def describe(candidate: Candidate) -> list[str]:
    """The lines that tell a user how to make a model and what to expect of it."""
    origin = "predicted" if candidate.stage is None else "measured"
    return [
        f"  {candidate.configuration}",
        f"  supervision {candidate.supervision}, method {candidate.method}, thinking "
        f"{candidate.thinking}",
        f"  schedule {candidate.schedule} in {candidate.stages} stages, {_stop(candidate)}",
        f"  {candidate.dataset_size:,} examples, {_runs(candidate)}",
        f"  {candidate.params:,} parameters ({candidate.params_with_embeddings:,} with embeddings)",
        *(f"  {name} {_with_interval(e)}, {origin}" for name, e in candidate.metrics.items()),
        *([f"  {candidate.covers}"] if candidate.covers else []),
    ]


def describe_place(candidate: Candidate) -> str:
    """Where on its chain a candidate is: size, stage and examples."""
    stage = "between stages" if candidate.stage is None else f"stage {candidate.stage}"
    return (
        f"{candidate.params:,} params ({candidate.schedule}, {stage}, "
        f"{candidate.dataset_size:,} examples)"
    )


def _stop(candidate: Candidate) -> str:
    kept = f"prune ratio {candidate.prune_ratio:.3g}"
    if candidate.stage is None:
        return f"stopped between two of its stages, {kept}"
    if candidate.stage == 0:
        return f"stage 0 (the teacher itself), {kept}"
    return f"stage {candidate.stage}, {kept}"


def _runs(candidate: Candidate) -> str:
    return "one run" if candidate.seeds == 1 else f"mean of {candidate.seeds} runs"


def _with_interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return number(estimate.value)
    return f"{number(estimate.value)} ({number(estimate.low)} to {number(estimate.high)})"
