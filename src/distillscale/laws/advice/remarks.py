"""What limits trust in a choice."""

from collections.abc import Iterator, Mapping, Sequence

from distillscale.laws.advice.candidates import Candidate
from distillscale.laws.advice.constraints import Constraint
from distillscale.laws.advice.field import Field
from distillscale.laws.advice.wording import describe_place, reach


def cautions(
    field: Field,
    constraints: Sequence[Constraint],
    choice: Candidate,
    optimism: Mapping[str, float],
) -> tuple[str, ...]:
    """What a reader must know before relying on a choice."""
    return (
        *_crossed(field, constraints, choice),
        *_not_made(field, constraints, choice),
        *_at_the_edge(field, choice),
        *_chosen_by_tests(field, choice, optimism),
    )


def _crossed(field: Field, constraints: Sequence[Constraint], choice: Candidate) -> Iterator[str]:
    for constraint in constraints:
        if constraint.name not in choice.metrics:
            continue
        forecast = field.runs.forecast(choice, constraint.name)
        if forecast.low is None or forecast.high is None:
            continue
        if not (constraint.met(forecast.low) and constraint.met(forecast.high)):
            yield f"the interval of {constraint.name} reaches across {constraint}"


def _not_made(field: Field, constraints: Sequence[Constraint], choice: Candidate) -> Iterator[str]:
    if choice.stage is not None:
        return
    if choice.factor > 1:
        yield reach(choice)
    allowed = field.allowed(constraints)
    made = next((candidate for candidate in allowed if candidate.stage is not None), None)
    nearest = f"{made.label}, {describe_place(made)}" if made else "none"
    best = "smallest" if field.objective.name == "params" else "best"
    what = "dataset size" if _other_data(choice) else "size"
    yield (
        f"this {what} was not made, its metrics are the laws' predictions; the {best} measured "
        f"model that satisfies all: {nearest}"
    )


def _other_data(choice: Candidate) -> bool:
    return choice.anchor is not None and choice.anchor.dataset_size != choice.dataset_size


def _at_the_edge(field: Field, choice: Candidate) -> Iterator[str]:
    measured = [candidate for candidate in field.candidates if candidate.anchor is None]
    if choice.stage == 0:
        yield "no compressed model satisfies all: this is the teacher itself"
    elif choice.factor == 1 and choice.params == min(c.params for c in measured):
        yield "this is the smallest size measured; a smaller one lies outside the fitted range"


def _chosen_by_tests(
    field: Field, choice: Candidate, optimism: Mapping[str, float]
) -> Iterator[str]:
    if not optimism or choice.stage == 0:
        return
    models = len({(c.setting, c.stage) for c in field.candidates if c.anchor is None and c.stage})
    known = ", ".join(f"{name} by about {value:.2g}" for name, value in optimism.items())
    yield (
        f"the choice among {models} measured models was made on their test results, which makes "
        f"it look better than it is (simulated: {known}); measure it on examples kept aside"
    )
