"""Demands that only an extrapolated law could meet: said where no answer was found."""

from collections.abc import Iterator, Sequence

import numpy as np

from distillscale.laws.advice.candidates import Candidate
from distillscale.laws.advice.constraints import Constraint, number
from distillscale.laws.law_fit import LawFit
from distillscale.laws.settings import configuration_label

FARTHEST = 100.0  # how many times beyond the fitted range a crossing is still worth telling
PLACES = 400


def beyond_range(
    fits: Sequence[LawFit], measured: Sequence[Candidate], constraints: Sequence[Constraint]
) -> tuple[str, ...]:
    """For constraints that no measured model meets, where extrapolation would meet them."""
    unmet = [
        constraint
        for constraint in constraints
        if not any(constraint.met(candidate.value(constraint.name)) for candidate in measured)
    ]
    sizes = (_size_statement(c, measured) for c in unmet if c.is_size)
    metrics = (statement for c in unmet if not c.is_size for statement in _law_statements(c, fits))
    return (*sizes, *metrics)


def _size_statement(constraint: Constraint, measured: Sequence[Candidate]) -> str:
    values = [candidate.value(constraint.name) for candidate in measured]
    return (
        f"{constraint} is outside the fitted range ({number(min(values))} to "
        f"{number(max(values))}): no law is asked there"
    )


def _law_statements(constraint: Constraint, fits: Sequence[LawFit]) -> Iterator[str]:
    for fit in fits:
        if fit.metric != constraint.name or fit.status != "ok" or fit.x_range is None:
            continue
        if fit.x == "params_with_embeddings":
            continue  # says the same as the size law by `params`
        crossing = _crossing(fit, constraint, fit.x_range)
        if crossing is not None:
            low, high = fit.x_range
            label = configuration_label(
                str(fit.group.get("configuration", "all cells")),
                str(fit.group.get("thinking", "none")),
            )
            yield (
                f"the {fit.form} law of {label} meets {constraint} at {fit.x} = about "
                f"{number(float(f'{crossing:.2g}'))}, outside the fitted range ({number(low)} to "
                f"{number(high)}): not vouched for"
            )


def _crossing(fit: LawFit, constraint: Constraint, x_range: tuple[float, float]) -> float | None:
    """The x nearest beyond the fitted range where the law meets the constraint, if there is one."""
    upwards = np.geomspace(x_range[1], x_range[1] * FARTHEST, PLACES)[1:]
    for x in upwards:
        if fit.x == "prune_ratio" and x > 1:
            return None
        if constraint.met(fit.predict(float(x)).value):
            return float(x)
    return None
