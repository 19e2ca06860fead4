"""Bootstrap replicates of many data sets, all refitted together, and their percentiles."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from distillscale.laws.arrays import Array
from distillscale.laws.solve import WORKERS, Batch, refine
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.targets import Target

# Points that are refined together: small problems need many rows before NumPy's loops pay.
POINTS_TOGETHER = 16384

Ends = tuple[Array, Array]


def refitted(fit: Fitted, values: Array, weights: Array | None = None) -> Array:
    """The parameters fitted to replicates, each from its data set's estimate, [b, r, p].

    Args:
        fit: b data sets.
        values: on the scale of `fit.fitted_values`, [b, r, n].
        weights: how much each point counts, [b, r, n]; None: as in the fit.
    """
    count, replicates, points = values.shape
    owner = np.repeat(np.arange(count), replicates)
    many = replace(fit.problem.rows(owner), y=fit.measured(values).reshape(-1, points))
    if many.penalty is not None:
        # A prior's mean is drawn anew: where the points say nothing, draws spread like the prior.
        many = replace(many, penalty=many.penalty.drawn(len(owner), np.random.default_rng(0)))
    if weights is not None:
        many = replace(many, weights=weights.reshape(-1, points))
    return refine_all(many, fit.estimate[owner]).reshape(count, replicates, -1)


def refine_all(batch: Batch, starts: Array) -> Array:
    """Where Levenberg-Marquardt ends from each row's start, [b, p]."""
    size = max(1, POINTS_TOGETHER // batch.y.shape[1])
    chunks = [np.arange(i, min(i + size, len(starts))) for i in range(0, len(starts), size)]
    with ThreadPoolExecutor(WORKERS) as pool:
        found = list(pool.map(lambda rows: refine(batch.rows(rows), starts[rows])[0], chunks))
    return np.concatenate(found) if found else np.empty(starts.shape)


def percentiles(draws: Array, targets: Sequence[Target], level: float) -> Ends:
    """Percentile intervals of each target from parameters [b, r, p], [b, targets]."""
    values = np.stack([target.value(draws) for target in targets], axis=2)
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=1)
    limits = np.array([[target.low, target.high] for target in targets])
    return np.clip(low, *limits.T), np.clip(high, *limits.T)
