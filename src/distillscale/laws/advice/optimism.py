"""How much better the choice looks than it is, because it was chosen by the same measurements.

Of many models that are measured with error, the one that meets the demands best is likely one whose
error was fortunate (the winner's curse). It is simulated: the measured values are taken for the
truth, the errors of runs and test examples are drawn anew (those of test examples for all models
together, from the common resamples), the choice is made by what would then be seen, and what is
seen of it is compared with its truth.
"""

from collections.abc import Sequence

import numpy as np

from distillscale.laws.advice.constraints import Constraint
from distillscale.laws.advice.field import Field, constraint_met
from distillscale.laws.arrays import Array

DRAWS = 400


def optimism(field: Field, constraints: Sequence[Constraint]) -> dict[str, float]:
    """By how much each metric that decides looks too good, on its own scale; 0.01 = 0.01 too good.

    Measured models only, chosen by expected values. Metrics whose errors are not known are taken
    as exact; empty where no metric decides or no simulated choice could be made.
    """
    models = [c for c in field.candidates if c.anchor is None]
    names = [c.name for c in constraints if not c.is_size]
    names += [] if field.objective.is_size else [field.objective.name]
    generator = np.random.default_rng(0)
    truth = {n: np.array([model.value(n) for model in models]) for n in dict.fromkeys(names)}
    seen = {name: _seen(field, name, generator) for name in truth}
    met = np.ones((DRAWS, len(models)), dtype=bool)
    for constraint in constraints:
        values = seen.get(constraint.name, field_values(field, constraint.name))
        met &= constraint_met(constraint, values)
    loss = _loss(field, seen, met)
    chosen = loss.argmin(axis=1)
    made = np.flatnonzero(np.isfinite(loss.min(axis=1)))
    if len(made) == 0:
        return {}
    sign = _signs(field, constraints)
    return {
        name: sign[name]
        * float(np.nanmean(seen[name][made, chosen[made]] - truth[name][chosen[made]]))
        for name in truth
    }


def field_values(field: Field, name: str) -> Array:
    """A size of the measured models, [models]."""
    return np.array([c.value(name) for c in field.candidates if c.anchor is None], dtype=float)


def _loss(field: Field, seen: dict[str, Array], met: Array) -> Array:
    """What the objective makes of each model in each draw, infinite where it is not allowed."""
    if field.objective.is_size:  # the candidates are in the order of preference
        values = np.broadcast_to(np.arange(met.shape[1], dtype=float), met.shape)
    else:
        values = seen[field.objective.name]
        values = values if field.objective.bound == "min" else -values
    return np.where(met & np.isfinite(values), values, np.inf)


def _signs(field: Field, constraints: Sequence[Constraint]) -> dict[str, float]:
    """+1 where a larger value is what is wanted."""
    flipped = {"min": 1.0, "max": -1.0}
    sign = {c.name: flipped[c.bound] for c in constraints}
    sign.setdefault(field.objective.name, -flipped[field.objective.bound])
    return sign


def _seen(field: Field, name: str, generator: np.random.Generator) -> Array:
    """What might be seen of each model if its measured value were the truth, [DRAWS, models]."""
    scale, spread = field.runs.scales[name], field.runs.spreads.get((name, ""))
    which = np.arange(DRAWS)
    columns = []
    for model in (c for c in field.candidates if c.anchor is None):
        noise = generator.normal(size=DRAWS)  # drawn for every model, so that they stay paired
        estimate = model.metrics.get(name)
        if estimate is None:
            columns.append(np.full(DRAWS, np.nan))
            continue
        behind = max(estimate.runs - 1, 0.0)
        error = noise * (0.0 if spread is None else (behind * spread.variance) ** 0.5)
        if len(estimate.sampling):
            error = error + estimate.sampling[which % len(estimate.sampling)]
        columns.append(scale.back(scale.there(estimate.value) + error))
    return np.stack(columns, axis=1)
