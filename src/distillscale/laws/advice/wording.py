"""Candidates and their forecasts in words."""

from collections.abc import Mapping

from distillscale.laws.advice.candidates import Candidate
from distillscale.laws.advice.constraints import number
from distillscale.laws.advice.new_run import Forecast


def describe(candidate: Candidate, forecasts: Mapping[str, Forecast]) -> list[str]:
    """The lines that tell a user how to make a model and what to expect of a new run of it."""
    level = next((f"{forecast.level:.0%}" for forecast in forecasts.values()), "")
    return [
        f"  {candidate.configuration}",
        f"  supervision {candidate.supervision}, method {candidate.method}, thinking "
        f"{candidate.thinking}",
        f"  schedule {candidate.schedule} in {candidate.stages} stages, {_stop(candidate)}",
        f"  {candidate.dataset_size:,} examples, {_runs(candidate)}",
        f"  {candidate.params:,} parameters ({candidate.params_with_embeddings:,} with embeddings)",
        *([f"  Expected of a new run, with {level} intervals:"] if forecasts else []),
        *(f"    {name} {_expected(candidate, name, f)}" for name, f in forecasts.items()),
        *(f"    {text}" for text in _covers(forecasts)),
    ]


def describe_place(candidate: Candidate) -> str:
    """Where on its chain a candidate is: size, stage and examples."""
    return (
        f"{candidate.params:,} params ({candidate.schedule}, {_stage(candidate)}, "
        f"{candidate.dataset_size:,} examples)"
    )


def reach(candidate: Candidate) -> str:
    """How far outside the fitted range a candidate lies, and by which law; empty inside."""
    if candidate.factor <= 1:
        return ""
    laws = "; ".join(candidate.laws)
    return (
        f"extrapolated a factor {candidate.factor:.2g} beyond the fitted range ({laws}): nothing "
        "measured vouches for that form there"
    )


def _stage(candidate: Candidate) -> str:
    if candidate.stage is not None:
        return f"stage {candidate.stage}"
    anchor = candidate.anchor
    if anchor is not None and anchor.dataset_size != candidate.dataset_size:
        return "beyond dataset sizes" if candidate.factor > 1 else "between dataset sizes"
    return "beyond stages" if candidate.factor > 1 else "between stages"


def _stop(candidate: Candidate) -> str:
    kept = f"prune ratio {candidate.prune_ratio:.3g}"
    stage = _stage(candidate)
    if candidate.stage == 0:
        return f"stage 0 (the teacher itself), {kept}"
    if stage == "between stages":
        return f"stopped between two of its stages, {kept}"
    if stage == "beyond stages":
        return f"pruned further than its last stage, {kept}"
    return f"{stage}, {kept}"


def _runs(candidate: Candidate) -> str:
    if candidate.stage is None:
        return "not made yet"
    return "one run" if candidate.seeds == 1 else f"mean of {candidate.seeds} runs"


def _expected(candidate: Candidate, name: str, forecast: Forecast) -> str:
    origin = "predicted" if candidate.metrics[name].law else "measured"
    if forecast.low is None or forecast.high is None:
        return f"{number(forecast.value)}, {origin}"
    return f"{number(forecast.value)} ({number(forecast.low)} to {number(forecast.high)}), {origin}"


def _covers(forecasts: Mapping[str, Forecast]) -> list[str]:
    """What the intervals hold, said once for all metrics of which it is the same."""
    names: dict[str, list[str]] = {}
    for name, forecast in forecasts.items():
        names.setdefault(forecast.covers, []).append(name)
    return [
        f"interval{'s' if len(own) > 1 else ''} of {', '.join(own)}: {covers}"
        for covers, own in names.items()
    ]
