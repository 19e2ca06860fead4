"""What a single fitted law needs of all this: draws of its parameters, and how flat is flat.

The draws are those of the parametric bootstrap, which the coverage simulation chose on the lab's
own design (docs/coverage.md); `laws coverage` chooses anew on a user's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.form import Form
from distillscale.laws.points import Points
from distillscale.laws.solve import Batch
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.intervals import covers
from distillscale.laws.uncertainty.jacobian import allowed_excess
from distillscale.laws.uncertainty.noise import Noise, estimate_noise
from distillscale.laws.uncertainty.parametric import parametric_draws
from distillscale.laws.uncertainty.runs import runs_of
from distillscale.laws.uncertainty.targets import targets_of

METHOD = "parametric"
DRAWS = 200


@dataclass(frozen=True)
class Spread:
    """How far a law's parameters may lie from their estimates.

    Attributes:
        draws: parameters at x / reference, as the problem has them, [draws, p].
        allowed: how much the loss may rise along each parameter's profile.
        covers: which variation is covered, in words.
    """

    draws: Array
    allowed: Mapping[str, float]
    covers: str


def spread_of_fit(
    form: Form,
    points: Points,
    problem: Batch,
    best: Array,
    reference: Array,
    *,
    level: float,
    noise: Noise | None = None,
    seed: int = 0,
) -> Spread | None:
    """The spread of a law's parameters by its variance components; None where nothing tells them.

    Args:
        form: the law, without the noise's own parameter.
        points: that it was fitted to.
        problem: as it was solved (b = 1).
        best: its parameters, [p].
        reference: what x was divided by.
        level: of the intervals.
        noise: components pooled over a study's laws; None: this law's residuals alone.
        seed: of the draws.
    """
    if points.distinct <= len(form.free):
        return None
    runs = runs_of(points, form, logarithm=problem.scale == "log error")
    fit = Fitted(problem, best[None], runs, np.asarray(reference))
    try:
        noise = noise or estimate_noise([fit])
    except InputError:  # as many parameters as different points
        return None
    limits = problem.form.limits(problem.x, problem.y[0], fit.known)
    targets = targets_of(problem.form, fit.reference, limits)
    allowed = allowed_excess(fit, noise, targets, level)[0]
    return Spread(
        draws=parametric_draws(fit, noise, DRAWS, seed)[0],
        allowed={t.name: float(a) for t, a in zip(targets, allowed, strict=True)},
        covers=covers(fit, noise, METHOD),
    )
