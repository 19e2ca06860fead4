"""Partial pooling: groups have parameters of their own, drawn towards a common value.

Between sharing a parameter (every group alike) and separating it (nothing in common) lies what few
points a group call for: deviations from the common value are shrunk by a normal prior whose width
the groups themselves tell (empirical Bayes). Width 0 is sharing, an infinite one separation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.bootstrap import LEVEL
from distillscale.laws.form import Form
from distillscale.laws.grouped import grouped
from distillscale.laws.likelihoods import Likelihood
from distillscale.laws.penalty import TINY, Penalty
from distillscale.laws.points_fit import PointsFit, Prepared, fit_prepared, prepare
from distillscale.laws.problem import SMALLEST_VARIANCE, Delta
from distillscale.laws.profile import noise_variance
from distillscale.laws.solve import Batch, curvature_of, solve

# Widths that are tried, on a parameter's natural scale.
WIDTHS = np.geomspace(0.003, 3, 16)
SWEEPS = 2


@dataclass(frozen=True)
class PooledFit:
    """A law of several groups with partially pooled parameters.

    Attributes:
        fit: as of a grouped law, a pooled parameter by the name of each level (`beta[cot]`); its
            intervals take the widths as known.
        widths: standard deviation of the levels around their common value, on the natural scale of
            each pooled parameter: a floor, or what may be negative, as it is; the logarithm of
            anything else. (Exponents as they are would be drawn towards zero together: there their
            differences are smallest.)
        common: the common value of each pooled parameter: the mean over levels on that scale.
            Of a factor or place it is that at x over the points' geometric mean.
    """

    fit: PointsFit
    widths: dict[str, float]
    common: dict[str, float]


def fit_pooled(
    form: Form,
    levels: Sequence[str],
    x: ArrayLike,
    y: ArrayLike,
    *,
    pooled: Sequence[str],
    separate: Sequence[str] = (),
    widths: Mapping[str, float] | None = None,
    fixed: Mapping[str, float] | None = None,
    delta: Delta = None,
    level: float = LEVEL,
    likelihood: Likelihood | None = None,
    errors: ArrayLike | None = None,
    trials: ArrayLike | None = None,
) -> PooledFit:
    """Fit a law to groups of points.

    A width is chosen by the marginal likelihood of the points, the parameters integrated out by
    Laplace's approximation (a normal around the estimate, with the Gauss-Newton curvature, plus one
    in every direction so that none is flat, and the noise variance of the separate fit), on a grid
    of widths, one pooled parameter after the other, twice.

    Args:
        form: the law of one group.
        levels: names of the groups.
        x: inputs, [k + 1, n], the last the number of the group, counted from 1.
        y: as in `fit_points`.
        pooled: parameters that are partially pooled.
        separate: parameters that each group has apart; the others are shared.
        widths: widths that are given and not estimated, by parameter.
        fixed: as in `fit_points`.
        delta: as in `fit_points`.
        level: as in `fit_points`.
        likelihood: as in `fit_points`.
        errors: as in `fit_points`.
        trials: as in `fit_points`.

    Raises:
        InputError: as `grouped` and `fit_points`; nothing to pool, or a width that is not positive.
    """
    given = dict(widths or {})
    if len(levels) < 2 or not pooled:
        raise InputError(f"law `{form.name}`: pooling needs two levels and a parameter to pool.")
    twice = [n for n in pooled if [*pooled, *separate].count(n) > 1]
    if twice:
        raise InputError(f"law `{form.name}`: `{twice[0]}` can be pooled once, or be separate.")
    for name, width in given.items():
        if name not in pooled or not width > 0:
            raise InputError(f"width of `{name}`: {width} must be positive and `{name}` pooled.")
    prepared = prepare(
        grouped(form, levels, [*pooled, *separate]), x, y, fixed=fixed, delta=delta,
        likelihood=likelihood, errors=errors, trials=trials,
    )  # fmt: skip
    pools = [_pool(prepared, form, name, levels) for name in pooled]
    chosen = _choose(prepared.batch, pools, given)
    batch = _penalised(prepared.batch, pools, np.array([chosen]), _variance(prepared.batch))
    fit = fit_prepared(replace(prepared, batch=batch.rows(np.array([0]))), level)
    return PooledFit(fit, dict(zip(pooled, chosen, strict=True)), _common(fit, pools))


@dataclass(frozen=True)
class _Pool:
    """A pooled parameter: where its levels' values are, and its natural scale."""

    name: str
    places: Array
    logarithmic: bool
    scale: float


def _pool(prepared: Prepared, form: Form, name: str, levels: Sequence[str]) -> _Pool:
    batch = prepared.batch
    names = list(batch.form.names)
    places = np.array([names.index(f"{name}[{level}]") for level in levels])
    parameter = form.parameters[form.names.index(name)]
    floor = name in form.linear and parameter.rests_on is None
    logarithmic = not floor and bool((batch.low[0, places] >= 0).all())
    scale = float(np.exp(np.log(batch.y[0]).mean())) if floor else 1.0
    return _Pool(name, places, logarithmic, scale)


def _choose(batch: Batch, pools: Sequence[_Pool], given: Mapping[str, float]) -> list[float]:
    """The widths of most marginal likelihood; given ones stay."""
    middle = float(np.exp(np.log(WIDTHS).mean()))
    widths = [given.get(pool.name, middle * pool.scale) for pool in pools]
    variance = _variance(batch)
    best = None
    for _ in range(SWEEPS):
        for place, pool in enumerate(pools):
            if pool.name in given:
                continue
            tried = np.tile(widths, (len(WIDTHS), 1))
            tried[:, place] = WIDTHS * pool.scale
            many = _penalised(batch, pools, tried, variance)
            found, losses = solve(many, also=best)
            evidence = _evidence(many, found, losses, pools, tried, variance)
            winner = int(evidence.argmax())
            widths[place], best = float(tried[winner, place]), found[winner]
    return widths


def _variance(batch: Batch) -> float:
    """The variance that a unit of the loss stands for, by the separate fit."""
    if batch.likelihood or batch.errors is not None:
        return 1.0
    return max(noise_variance(batch, solve(batch)[0][0]), SMALLEST_VARIANCE)


def _penalised(batch: Batch, pools: Sequence[_Pool], widths: Array, variance: float) -> Batch:
    """The problem under each row of widths, [b, pools]."""
    rows, weights = [], []
    logs = np.zeros(len(batch.form.names), dtype=bool)
    for place, pool in enumerate(pools):
        count = len(pool.places)
        block = np.zeros((count, len(logs)))
        block[:, pool.places] = np.eye(count) - 1 / count
        rows.append(block)
        weights.append(np.repeat(variance / widths[:, [place]] ** 2, count, axis=1))
        logs[pool.places] = pool.logarithmic
    terms = np.concatenate(rows)
    penalty = Penalty(
        terms, np.zeros(len(terms)), logs, np.concatenate(weights, axis=1), np.zeros(len(terms))
    )
    return replace(batch.rows(np.zeros(len(widths), dtype=int)), penalty=penalty)


def _evidence(
    batch: Batch, found: Array, losses: Array, pools: Sequence[_Pool], widths: Array,
    variance: float,
) -> Array:  # fmt: skip
    """The logarithm of the marginal likelihood of each row, up to a constant, [b]."""
    assert batch.penalty is not None
    scale = np.where(batch.penalty.logs, np.maximum(found, TINY), 1.0)
    curvature = curvature_of(batch, found) * scale[:, :, None] * scale[:, None, :] / variance
    # A parameter at a bound keeps its curvature, or the volume would jump where one reaches it.
    searched = batch.low < batch.high
    both = searched[:, :, None] & searched[:, None, :]
    volume = np.linalg.slogdet(curvature * both + np.eye(found.shape[1]))[1]
    room = sum(
        2 * (len(pool.places) - 1) * np.log(widths[:, place]) for place, pool in enumerate(pools)
    )
    return np.asarray(-losses / variance - 0.5 * (volume + room), float)


def _common(fit: PointsFit, pools: Sequence[_Pool]) -> dict[str, float]:
    values = fit.solved
    return {
        pool.name: float(
            np.exp(np.log(np.maximum(values[pool.places], TINY)).mean())
            if pool.logarithmic
            else values[pool.places].mean()
        )
        for pool in pools
    }
