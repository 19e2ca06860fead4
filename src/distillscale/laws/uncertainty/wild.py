"""Wild-cluster bootstrap: each run's residuals are kept together and turned by a random weight."""

from collections.abc import Sequence

import numpy as np

from distillscale.laws.arrays import Array
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.jacobian import adjusted_pieces
from distillscale.laws.uncertainty.noise import factor_of_test
from distillscale.laws.uncertainty.resampling import percentiles, refitted
from distillscale.laws.uncertainty.targets import Target

# Of six points, so that few runs still give many different replicates (Webb 2023). With more runs
# two points do, and match the third moment too (Rademacher).
WEBB = np.array([-np.sqrt(1.5), -1.0, -np.sqrt(0.5), np.sqrt(0.5), 1.0, np.sqrt(1.5)])
RADEMACHER = np.array([-1.0, 1.0])
FEW_RUNS = 12


def wild_draws(fit: Fitted, replicates: int, seed: int) -> Array:
    """Parameters fitted to turned residuals, [b, r, p].

    Residuals are enlarged by what the fit took from them (CR2). Test sampling that the runs share
    is added; no residual shows it.
    """
    generator = np.random.default_rng(seed)
    count = len(fit.residuals)
    pieces = adjusted_pieces(fit)
    weights = RADEMACHER if len(pieces) >= FEW_RUNS else WEBB
    values = np.repeat(fit.fitted_values[:, None, :], replicates, axis=1)
    for mine, adjust in pieces:
        turn = generator.choice(weights, size=(count, replicates, 1))
        residuals = np.einsum("bij,bj->bi", adjust, fit.residuals[:, mine])
        values[:, :, mine] += turn * residuals[:, None, :]
    factor = factor_of_test(fit.runs)
    values += generator.normal(size=(count, replicates, factor.shape[1])) @ factor.T
    return refitted(fit, values)


def wild_intervals(
    fit: Fitted, targets: Sequence[Target], level: float, replicates: int, seed: int
) -> tuple[Array, Array]:
    """Percentile intervals of the wild-cluster bootstrap, [b, targets]."""
    return percentiles(wild_draws(fit, replicates, seed), targets, level)
