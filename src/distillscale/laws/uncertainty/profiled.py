"""Profile intervals for dependent errors; predictions get those of the delta method."""

from collections.abc import Sequence

import numpy as np

from distillscale.laws.arrays import Array
from distillscale.laws.profile import profiles, scaled
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.jacobian import allowed_excess, components_t
from distillscale.laws.uncertainty.noise import Noise
from distillscale.laws.uncertainty.targets import Target


def profile_intervals(
    fit: Fitted, noise: Noise, targets: Sequence[Target], level: float
) -> tuple[Array, Array]:
    """The values of each parameter that fit about as well as the best, [b, targets].

    How much worse is still "about as well" follows from the variance components (see
    `allowed_excess`). Factors at x = 1 are no findings and, like predictions, have no profile.
    """
    low, high = components_t(fit, noise, targets, level)
    allowed = allowed_excess(fit, noise, targets, level)
    form = fit.problem.form
    for i, best in enumerate(fit.estimate):
        one = fit.problem.rows(np.array([i]))
        limits = form.limits(one.x, one.y[0], fit.known)
        names = [target.name for target in targets if target.parameter is not None]
        found = profiles(one, best, limits, level, dict(zip(names, allowed[i], strict=False)))
        for k, target in enumerate(targets):
            if target.parameter is not None and target.name in found:
                ends = scaled(found[target.name], form, best, target.name, fit.reference)
                low[i, k], high[i, k] = ends.low, ends.high
    return low, high
