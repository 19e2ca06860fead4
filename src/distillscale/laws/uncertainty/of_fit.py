"""What a single fitted law needs of all this: its intervals, draws of its parameters, and how flat
is flat. By which methods, the coverage simulation chose (`CHOSEN`; docs/coverage.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.form import Form
from distillscale.laws.points import Points
from distillscale.laws.solve import Batch
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.intervals import (
    CHOSEN,
    DRAWS,
    ELSE,
    FIRST_ORDER,
    REFITTED,
    Choice,
    covers,
    intervals,
    refusal,
)
from distillscale.laws.uncertainty.jacobian import allowed_excess
from distillscale.laws.uncertainty.noise import Noise, estimate_noise
from distillscale.laws.uncertainty.runs import runs_of
from distillscale.laws.uncertainty.targets import Target, targets_of

DRAWN = 200


@dataclass(frozen=True)
class Spread:
    """How far a law's parameters may lie from their estimates.

    Attributes:
        draws: parameters at x / reference, as the problem has them, [draws, p].
        covers: which variation is covered, in words.
        first_order: whether the draws are moves to first order (see `first_order_draws`).
        intervals: of the fitted parameters at x where they are not those of the draws.
        profiled: the parameters whose interval is that of their profile.
        allowed: how much the loss may rise along each parameter's profile; None: as the likelihood
            alone has it.
    """

    draws: Array
    covers: str
    first_order: bool = False
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    profiled: frozenset[str] = frozenset()
    allowed: Mapping[str, float] | None = None


def spread_of_fit(
    form: Form,
    points: Points,
    problem: Batch,
    best: Array,
    reference: Array,
    *,
    level: float,
    noise: Noise | None = None,
    choice: Choice | None = None,
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
        choice: of methods; None: as `CHOSEN` for this form.
        seed: of the draws.

    Raises:
        InputError: a chosen method needs more runs than there are, or does not serve a prior.
    """
    if points.distinct <= len(form.free):
        return None
    runs = runs_of(points, form, logarithm=problem.scale == "log error")
    fit = Fitted(problem, best[None], runs, np.asarray(reference))
    try:
        noise = noise or estimate_noise([fit])
    except InputError:  # as many parameters as different points
        return None
    if problem.penalty is not None:
        # Only refitted draws know that a stated prior is itself uncertain.
        if choice is not None and (choice.parameters or choice.curve not in REFITTED):
            raise InputError(
                f"the {form.name} law has a stated prior: its intervals must be by one of "
                f"{', '.join(REFITTED)}, not by {choice}."
            )
        choice = choice or ELSE
    choice = choice or CHOSEN.get(form.name, ELSE)
    limits = problem.form.limits(problem.x, problem.y[0], fit.known)
    targets = targets_of(problem.form, fit.reference, limits)
    allowed = allowed_excess(fit, noise, targets, level)[0]
    reason = refusal(fit, choice.curve)
    if reason:
        raise InputError(reason)
    draws = DRAWS[choice.curve](fit, noise, DRAWN, seed)[0]
    return Spread(
        draws=best + choice.stretch * (draws - best) if choice.stretch > 1 else draws,
        covers=covers(fit, noise, choice),
        first_order=choice.curve == FIRST_ORDER,
        intervals=_intervals(fit, noise, targets, level, choice, seed),
        profiled=frozenset(t.name for t in targets if choice.of(t.name) == "profile"),
        allowed={t.name: float(a) for t, a in zip(targets, allowed, strict=True)},
    )


def _intervals(
    fit: Fitted, noise: Noise, targets: Sequence[Target], level: float, choice: Choice, seed: int
) -> dict[str, tuple[float, float]]:
    """Of the parameters whose interval does not come from draws or profiles."""
    found: dict[str, tuple[float, float]] = {}
    drawn = {"profile", choice.curve} - {FIRST_ORDER}
    for method in {choice.of(target.name) for target in targets} - drawn:
        own = [target for target in targets if choice.of(target.name) == method]
        held = intervals(fit, noise, own, method, level, replicates=DRAWN, seed=seed)
        found |= {target.name: held.of(target.name) for target in own}
    return found
