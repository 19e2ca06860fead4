"""From a results table to the fitted laws that uncertainty is asked of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from distillscale.errors import InputError
from distillscale.laws.fit import form_of, known_values, measured_points
from distillscale.laws.likelihoods import Likelihood, likelihood_of
from distillscale.laws.points import read_points, without_repetitions
from distillscale.laws.problem import problem_of
from distillscale.laws.solve import solve
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.noise import Noise, estimate_noise
from distillscale.laws.uncertainty.runs import runs_of

if TYPE_CHECKING:  # plan fits laws with the noise that is pooled here
    from distillscale.laws.plan import LawPlan


@dataclass(frozen=True)
class Pool:
    """Laws of one form, metric and task, whose runs vary alike (an assumption).

    Chains that are only pruned hold no training and so no chance: they are pooled apart.
    """

    law: str
    metric: str
    x: str
    task: str
    trained: bool
    plans: "tuple[LawPlan, ...]" = field(repr=False)

    @property
    def name(self) -> str:
        """In words."""
        only = "" if self.trained else ", pruned only"
        return f"{self.law} law of {self.metric} over {self.x}, {self.task}{only}"


def pools(plans: "Sequence[LawPlan]") -> list[Pool]:
    """The planned laws, those that share their noise together."""
    found: dict[tuple[str, str, str, str, bool], list[LawPlan]] = {}
    for plan in plans:
        trained = plan.group["method"] != "none"
        key = (plan.law, plan.metric, plan.x, str(plan.group["task"]), trained)
        found.setdefault(key, []).append(plan)
    return [Pool(*key, tuple(own)) for key, own in found.items()]


def pooled_noise(plans: "Sequence[LawPlan]") -> list[tuple[str, Noise | None]]:
    """For each planned law its pool's name, and how much runs vary there; None: nothing tells."""
    found: dict[int, tuple[str, Noise | None]] = {}
    for pool in pools(plans):
        known = pool.name, _noise(pool)
        found |= {id(plan): known for plan in pool.plans}
    return [found[id(plan)] for plan in plans]


def _noise(pool: Pool) -> Noise | None:
    laws = fitted_pool(pool)
    if not laws:
        return None
    try:
        return estimate_noise(laws)
    except InputError:  # as many parameters as points everywhere
        return None


def fitted_pool(pool: Pool, likelihood: Likelihood | None = None) -> list[Fitted]:
    """The laws of a pool that have more different x than parameters, fitted."""
    return list(_fitted(pool, likelihood))


def _fitted(pool: Pool, likelihood: Likelihood | None) -> Iterator[Fitted]:
    for plan in pool.plans:
        try:
            yield fitted_rows(plan.rows, plan.law, plan.x, likelihood)
        except InputError:  # too few points: the law itself says so where it is fitted
            continue


def fitted_rows(
    rows: pd.DataFrame, law: str, x: str, likelihood: Likelihood | None = None
) -> Fitted:
    """A law fitted to rows of one metric, with the structure of their errors.

    Raises:
        InputError: as `fit_law`, and where there are no more different x than parameters.
    """
    form = form_of(law)
    points = read_points(without_repetitions(rows, [x]), form, x)
    if points.distinct <= len(form.free):
        raise InputError(
            f"law `{law}` of {points.metric}: {points.distinct} different {x} do not determine "
            f"its {len(form.free)} parameters."
        )
    counted = bool((points.examples > 0).all())
    chosen = likelihood or likelihood_of(points.metric, form, counted=counted)
    reference = form.reference(points.x)
    measured = measured_points(form, points, reference, chosen)
    batch, _ = problem_of(form, measured, known_values(form, rows))
    runs = runs_of(points, form, logarithm=batch.scale == "log error")
    return Fitted(batch, solve(batch)[0], runs, np.asarray(reference))
