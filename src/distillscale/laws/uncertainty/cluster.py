"""Cluster bootstrap: runs are drawn with replacement, a run's points together."""

from collections.abc import Sequence

import numpy as np

from distillscale.laws.arrays import Array
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.noise import factor_of_test
from distillscale.laws.uncertainty.resampling import percentiles, refitted
from distillscale.laws.uncertainty.runs import TEACHER, Runs
from distillscale.laws.uncertainty.targets import Target


def cluster_draws(fit: Fitted, replicates: int, seed: int) -> Array:
    """Parameters fitted to resampled runs, [b, r, p].

    One run fewer than there are is drawn, or the spread of few runs comes out too small (Rao and
    Wu 1988). The teacher always counts once. Test sampling is added to all points alike.
    """
    generator = np.random.default_rng(seed)
    count, points = fit.residuals.shape
    shape = (count, replicates, points)
    factor = factor_of_test(fit.runs)
    test = generator.normal(size=(count, replicates, factor.shape[1])) @ factor.T
    values = fit.fitted_values[:, None, :] + fit.residuals[:, None, :] + test
    drawn = run_counts(fit.runs, count * replicates, generator).reshape(shape)
    return refitted(fit, values, drawn * fit.problem.weights[:, None, :])


def run_counts(runs: Runs, count: int, generator: np.random.Generator) -> Array:
    """How often each point's run is drawn, [count, n]."""
    names, place = np.unique(runs.run[runs.run != TEACHER], return_inverse=True)
    number = len(names)
    drawn = generator.multinomial(number - 1, np.full(number, 1 / number), size=count)
    found = np.ones((count, len(runs)))
    found[:, runs.run != TEACHER] = drawn[:, place] * number / (number - 1)
    return found


def cluster_intervals(
    fit: Fitted, targets: Sequence[Target], level: float, replicates: int, seed: int
) -> tuple[Array, Array]:
    """Percentile intervals of the cluster bootstrap, [b, targets]."""
    return percentiles(cluster_draws(fit, replicates, seed), targets, level)
