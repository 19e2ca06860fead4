"""Intervals by the delta method: estimate, plus and minus t times a standard error.

Two standard errors are to be had. The one of `components` follows from the variance components of
the study, and knows its own degrees of freedom. The cluster-robust one of `sandwich` assumes
nothing about how the errors of a run hang together, and pays for it with degrees of freedom.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from distillscale.laws.arrays import Array
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.noise import Noise
from distillscale.laws.uncertainty.targets import Target

LEAST_DEGREES = 1.0
UNKNOWN = 1e12  # the variance of what the points do not determine at all

Ends = tuple[Array, Array]
Piece = tuple[NDArray[np.int64], Array]


def components_t(fit: Fitted, noise: Noise, targets: Sequence[Target], level: float) -> Ends:
    """Intervals from variance components, with Satterthwaite's degrees of freedom, [b, targets]."""
    return _ends(fit, targets, reach_by_components(fit, noise, targets, level))


def reach_by_components(
    fit: Fitted, noise: Noise, targets: Sequence[Target], level: float
) -> Array:
    """How far those intervals reach to either side, on the targets' scales, [b, targets]."""
    variance, degrees = spread_by_components(fit, noise, _moves(fit, targets))
    return _reach(fit, targets, variance, degrees, level)


def sandwich_t(fit: Fitted, targets: Sequence[Target], level: float) -> Ends:
    """Intervals by the CR2 sandwich with the degrees of freedom of Bell and McCaffrey 2002.

    Each run is a cluster. What runs share through the test examples is added, as no residual
    shows it.
    """
    moves = _moves(fit, targets)
    pieces = adjusted_pieces(fit)
    scores = np.stack(
        [
            np.einsum("btg,bg->bt", moves[:, :, mine] @ adjust, fit.residuals[:, mine])
            for mine, adjust in pieces
        ]
    )
    shared = np.where(fit.runs.same_run, 0.0, fit.runs.test)
    between = np.einsum("bti,ij,btj->bt", moves, shared, moves).clip(0.0)
    variance = (scores**2).sum(axis=0) + between
    degrees = _bell_mccaffrey(fit, moves, pieces)
    return _ends(fit, targets, _reach(fit, targets, variance, degrees, level))


def spread_by_components(fit: Fitted, noise: Noise, moves: Array) -> tuple[Array, Array]:
    """Variance and degrees of freedom of each target, [b, targets].

    Huber's loss on errors larger than its delta is less efficient than squares: `_huber` says by
    how much.
    """
    components = fit.runs.components()
    parts = np.einsum("bti,kij,btj->btk", moves, components, moves)
    tested = np.einsum("bti,ij,btj->bt", moves, fit.runs.test, moves)
    linear = np.einsum("btk,bk->bt", parts, noise.variances) + tested
    single = np.einsum("bii->bi", noise.covariance(fit.runs))
    excess, _ = _huber(np.sqrt(single), fit.deltas)
    variance = linear + np.einsum("bti,bi->bt", moves**2, single * excess)
    uncertainty = np.einsum("btk,bkl,btl->bt", parts, noise.uncertainty, parts)
    return variance, 2 * linear**2 / np.maximum(uncertainty, 1e-300)


def allowed_excess(fit: Fitted, noise: Noise, targets: Sequence[Target], level: float) -> Array:
    """How much the loss may rise above its minimum along each parameter's profile, [b, targets].

    The rise at distance d is d^2 / 2 v, with v the inverse of the loss's curvature; the parameter
    itself spreads by another variance, that of the components (Kent 1982). NaN for predictions.
    """
    moves = _moves(fit, targets)
    variance, degrees = spread_by_components(fit, noise, moves)
    single = np.einsum("bii->bi", noise.covariance(fit.runs))
    _, slope = _huber(np.sqrt(single), fit.deltas)
    quantile = np.asarray(stats.t.ppf((1 + level) / 2, np.maximum(degrees, LEAST_DEGREES)))
    found = np.full(variance.shape, np.nan)
    for k, target in enumerate(targets):
        if target.parameter is not None:
            gradient = target.gradient(fit.estimate)
            working = np.einsum("bp,bpq,bq->b", gradient, fit.curvature_inverse, gradient)
            unit = np.maximum(working / slope.mean(axis=1), 1e-300)
            found[:, k] = 0.5 * quantile[:, k] ** 2 * variance[:, k] / unit
    return found


def _moves(fit: Fitted, targets: Sequence[Target]) -> Array:
    """How an error of each point moves each target on its scale, [b, targets, n]."""
    gradients = np.stack([target.gradient(fit.estimate) for target in targets], axis=1)
    return np.asarray(gradients @ fit.influence)


def _huber(sigma: Array, delta: Array) -> tuple[Array, Array]:
    """For normal errors: the excess variance of Huber's estimate, and the loss's mean curvature.

    With z = delta / sigma, the mean of psi' is P(|e| < z) and that of psi^2 the truncated second
    moment; the variance is their ratio psi^2 / psi'^2, one plus the excess (Huber 1964).
    """
    z = delta / np.maximum(sigma, 1e-300)
    inside = np.maximum(2 * stats.norm.cdf(z) - 1, 1e-9)
    z = np.minimum(z, 30.0)
    squares = inside - 2 * z * stats.norm.pdf(z) + 2 * z**2 * stats.norm.sf(z)
    return np.maximum(squares / inside**2 - 1, 0.0), inside


def _reach(
    fit: Fitted, targets: Sequence[Target], variance: Array, degrees: Array, level: float
) -> Array:
    """t times the standard error; without end for parameters that the curve does not depend on."""
    quantile = stats.t.ppf((1 + level) / 2, np.maximum(degrees, LEAST_DEGREES))
    unknown = [
        fit.undetermined[:, target.parameter]
        if target.parameter is not None
        else np.zeros(len(variance), dtype=bool)
        for target in targets
    ]
    return np.asarray(quantile * np.sqrt(variance + UNKNOWN * np.stack(unknown, axis=1)))


def _ends(fit: Fitted, targets: Sequence[Target], reach: Array) -> Ends:
    low, high = np.empty(reach.shape), np.empty(reach.shape)
    for k, target in enumerate(targets):
        centre = target.on_scale(fit.estimate)
        low[:, k] = target.back(centre - reach[:, k])
        high[:, k] = target.back(centre + reach[:, k])
    return low, high


def adjusted_pieces(fit: Fitted) -> list[Piece]:
    """Each cluster's points and its CR2 adjustment (I - H_gg)^-1/2, [b, g, g]."""
    pieces = []
    for run in np.unique(fit.runs.run):
        mine = np.flatnonzero(fit.runs.run == run)
        block = fit.residual_maker[:, mine[:, None], mine[None, :]]
        values, vectors = np.linalg.eigh((block + block.swapaxes(1, 2)) / 2)
        root = np.where(values > 1e-6, 1 / np.sqrt(np.maximum(values, 1e-6)), 0.0)
        pieces.append((mine, (vectors * root[:, None, :]) @ vectors.swapaxes(1, 2)))
    return pieces


def _bell_mccaffrey(fit: Fitted, moves: Array, pieces: list[Piece]) -> Array:
    """tr(G)^2 / tr(G^2) of the quadratic form that the variance estimate is, [b, targets]."""
    columns = np.stack(
        [
            np.einsum("bti,bij->btj", moves[:, :, mine] @ adjust, fit.residual_maker[:, mine])
            for mine, adjust in pieces
        ],
        axis=2,
    )
    gram = columns @ columns.swapaxes(2, 3)
    trace = np.einsum("btgg->bt", gram)
    return np.asarray(trace**2 / np.maximum((gram**2).sum(axis=(2, 3)), 1e-300))
