"""From the laws that a planned study allows, and a pilot's results, to their designs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from distillscale.errors import InputError
from distillscale.laws.forms import FORMS
from distillscale.laws.likelihoods import Likelihood
from distillscale.laws.plan import LawPlan, plan_laws
from distillscale.laws.uncertainty.design import (
    Design,
    Expectation,
    PlannedPoints,
    assumed,
    from_pilot,
    planned_law,
)
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.tables import Pool, fitted_rows, pools

Pilot = Mapping[tuple[str, str, str], tuple[list[LawPlan], list[Fitted]]]


def pilot_laws(table: pd.DataFrame) -> Pilot:
    """The laws of a pilot's results table by law, metric and x, fitted on the plain scales.

    All tasks together, and without chains that are only pruned: what is wanted is a guess.
    """
    found: dict[tuple[str, str, str], tuple[list[LawPlan], list[Fitted]]] = {}
    for plan in plan_laws(table):
        if plan.group["method"] == "none":
            continue
        scale: Likelihood = "log" if FORMS[plan.law].scale == "log error" else "score"
        try:
            fit = fitted_rows(plan.rows, plan.law, plan.x, scale)
        except InputError:  # too few points for a curve
            continue
        plans, fits = found.setdefault((plan.law, plan.metric, plan.x), ([], []))
        plans.append(plan)
        fits.append(fit)
    return found


def designs(
    planned: pd.DataFrame, expect: Callable[[LawPlan], Expectation]
) -> dict[str, tuple[Pool, Design]]:
    """The designs of the laws that a planned table allows, by their pool's name.

    Chains that are only pruned have no chance in them and so no noise to plan for.

    Args:
        planned: rows without values (see `plan_laws`); `examples` and `chance` are stated.
        expect: what is expected of a planned law; laws of one pool share the noise of the first.
    """
    plans = [plan for plan in plan_laws(planned) if plan.group["method"] != "none"]
    found = {}
    for pool in pools(plans):
        points = [_points(plan) for plan in pool.plans]
        enough = [k for k, own in enumerate(points) if _enough(pool.law, own)]
        if not enough:
            continue
        kept = replace(pool, plans=tuple(pool.plans[k] for k in enough))
        expected = [expect(plan) for plan in kept.plans]
        laws = tuple(
            planned_law(pool.law, points[k], one) for k, one in zip(enough, expected, strict=True)
        )
        found[kept.name] = (kept, Design(laws, expected[0]))
    return found


def _points(plan: LawPlan) -> PlannedPoints:
    rows = plan.rows
    return PlannedPoints(
        rows[plan.x].to_numpy(dtype=float),
        tuple(rows["cell"].astype(str)),
        tuple(rows["stage"].astype(int)),
    )


def _enough(law: str, points: PlannedPoints) -> bool:
    return len(np.unique(np.round(np.log(points.x), 2))) > len(FORMS[law].free)


def expectation(plan: LawPlan, pilot: Pilot, source: str) -> Expectation:
    """From the pilot's law of the same configuration, else of its most alike one, else assumed.

    Args:
        plan: the law that is planned.
        pilot: laws of a pilot; may be empty.
        source: the pilot's name.
    """
    plans, fits = pilot.get((plan.law, plan.metric, plan.x), ([], []))
    if plans:
        which = max(range(len(plans)), key=lambda k: _likeness(plan, plans[k]))
        try:
            return from_pilot(fits, which, source)
        except InputError:  # as many parameters as points: the pilot does not know its noise
            pass
    x = plan.rows[plan.x].to_numpy(dtype=float)
    chance = plan.rows["chance"].dropna()
    examples = int(plan.rows["examples"].iloc[0])
    return assumed(FORMS[plan.law], x, examples, float(chance.iloc[0]) if len(chance) else None)


def _likeness(plan: LawPlan, other: LawPlan) -> int:
    shared: Sequence[str] = ("configuration", "task", "thinking")
    return sum(
        (3 - place) * (plan.group[name] == other.group[name]) for place, name in enumerate(shared)
    )
