"""How much runs vary: variance components, pooled over the configurations of a study.

The curve's residuals are quadratic in the errors, so the components that make their expected
squares equal to the observed ones solve a small linear system (MINQUE with unit weights, Rao 1971).
What the test examples contribute is known from the replicates and taken off. Configurations of one
study share their components (an assumption: they are trained alike): with three seeds a single
law has too few runs to know its own noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.runs import TEACHER, Runs

# A change of predictions by one in ten thousand never counts as evidence.
NEGLIGIBLE = 1e-8
LEAST_SHARE = 1e-6  # of a component's weight that must be left in the residuals


@dataclass(frozen=True)
class Noise:
    """Variance components on the form's scale, for b data sets.

    Attributes:
        variances: of a model's own deviation and, for chains, of each inherited step, [b, k].
        uncertainty: covariance of these estimates, [b, k, k].
        laws: how many fitted laws they were estimated from.
        runs: how many runs.
    """

    variances: Array
    uncertainty: Array
    laws: int
    runs: int

    def covariance(self, runs: Runs) -> Array:
        """Of the points' errors, [b, n, n]."""
        found = np.einsum("bk,kij->bij", self.variances, runs.components()) + runs.test
        return found + NEGLIGIBLE * np.eye(len(runs))

    def degrees(self) -> Array:
        """Satterthwaite's degrees of freedom of the sum of the components, [b]."""
        total = self.variances.sum(axis=1)
        spread = self.uncertainty.sum(axis=(1, 2))
        return 2 * total**2 / np.maximum(spread, 1e-300)


def estimate_noise(fits: Sequence[Fitted]) -> Noise:
    """Variance components of laws that share them.

    Args:
        fits: laws of one metric and form, all chained or none; data set i of each belongs to
            study i.

    Raises:
        InputError: the points leave nothing over to estimate noise from.
    """
    parts = [_Moments(fit) for fit in fits]
    weights = np.sum([part.weights for part in parts], axis=0)
    scale = np.sum([np.einsum("kij->k", part.components**2) for part in parts], axis=0)
    if (np.einsum("bkk->bk", weights) < LEAST_SHARE * scale).any():
        points = sum(len(fit.runs) for fit in fits)
        raise InputError(
            f"law `{fits[0].problem.form.name}`: {points} points leave nothing over to estimate "
            "the noise from; measure more sizes or seeds."
        )
    moments = np.sum([part.moments for part in parts], axis=0)
    variances, inverse = _non_negative(weights, moments)
    spread = np.sum([part.spread(variances) for part in parts], axis=0)
    return Noise(
        variances=variances,
        uncertainty=inverse @ spread @ inverse.swapaxes(1, 2),
        laws=len(fits),
        runs=sum(fit.runs.count for fit in fits),
    )


def expected_noise(fits: Sequence[Fitted], variances: Sequence[float]) -> Noise:
    """These components, as well known as the laws of a study would let them be estimated.

    Args:
        fits: laws whose estimates are the expected curves.
        variances: of each component.

    Raises:
        InputError: the points leave nothing over to estimate noise from.
    """
    known = np.array([variances])
    noise = estimate_noise(fits)
    parts = [_Moments(fit) for fit in fits]
    inverse = np.linalg.pinv(np.sum([part.weights for part in parts], axis=0), rcond=1e-10)
    spread = np.sum([part.spread(known) for part in parts], axis=0)
    return Noise(known, inverse @ spread @ inverse.swapaxes(1, 2), noise.laws, noise.runs)


class _Moments:
    """The quadratic forms of one law's residuals and what they are expected to be."""

    def __init__(self, fit: Fitted) -> None:
        self.components = fit.runs.components()
        self._test = fit.runs.test
        self._maker = fit.residual_maker
        rotated = np.einsum("bij,kjl,bml->bkim", self._maker, self.components, self._maker)
        self.weights = np.einsum("kij,blij->bkl", self.components, rotated)
        tested = self._maker @ self._test @ self._maker.swapaxes(1, 2)
        squares = np.einsum("bi,kij,bj->bk", fit.residuals, self.components, fit.residuals)
        self.moments = squares - np.einsum("kij,bij->bk", self.components, tested)

    def spread(self, variances: Array) -> Array:
        """Covariance of the quadratic forms of normal residuals: 2 tr(K V K' V), [b, k, k]."""
        noise = np.einsum("bk,kij->bij", variances, self.components) + self._test
        noise = noise + NEGLIGIBLE * np.eye(noise.shape[1])
        residual = self._maker @ noise @ self._maker.swapaxes(1, 2)
        turned = np.einsum("kij,bjl->bkil", self.components, residual)
        return np.asarray(2 * np.einsum("bkij,blji->bkl", turned, turned))


def _non_negative(weights: Array, moments: Array) -> tuple[Array, Array]:
    """Solutions [b, k] of weights v = moments with v >= 0, and the inverses used (k is 1 or 2).

    Where the full solution has a negative component that one is left out.
    """
    inverse: Array = np.asarray(np.linalg.pinv(weights, rcond=1e-10), dtype=float)
    found = np.einsum("bkl,bl->bk", inverse, moments)
    for kept in range(moments.shape[1] if moments.shape[1] > 1 else 0):
        alone = found[:, 1 - kept] < 0
        inverse[alone] = 0.0
        inverse[alone, kept, kept] = 1 / weights[alone, kept, kept]
        found[alone] = 0.0
        found[alone, kept] = moments[alone, kept] / weights[alone, kept, kept]
    return found.clip(0.0), np.asarray(inverse)


def draw_errors(
    runs: Runs, variances: Array, generator: np.random.Generator, *, test: Array | None = None
) -> Array:
    """Errors of the points with these variance components, one data set a row, [b, n].

    Args:
        runs: the structure of the errors.
        variances: [b, k].
        generator: of the chance.
        test: a factor L of the test covariance L L' where the caller has it, [n, m].
    """
    count = len(variances)
    names, place = np.unique(np.stack([runs.run, runs.stage]), axis=1, return_inverse=True)
    own = generator.normal(size=(count, names.shape[1]))[:, place.ravel()]
    errors = np.sqrt(variances[:, :1]) * own
    if variances.shape[1] > 1:
        errors += np.sqrt(variances[:, 1:]) * _walks(runs, count, generator)
    factor = factor_of_test(runs) if test is None else test
    return np.asarray(errors + generator.normal(size=(count, factor.shape[1])) @ factor.T)


def _walks(runs: Runs, count: int, generator: np.random.Generator) -> Array:
    """Where each run's random walk of unit steps is at each point's stage, [b, n]."""
    found = np.zeros((count, len(runs)))
    last = int(runs.stage.max())
    for run in sorted(set(runs.run.tolist()) - {TEACHER}):
        walk = generator.normal(size=(count, last + 1))
        walk[:, 0] = 0.0
        mine = runs.run == run
        found[:, mine] = walk.cumsum(axis=1)[:, runs.stage[mine]]
    return found


def factor_of_test(runs: Runs) -> Array:
    """A factor L of the test covariance, L L' = test, [n, n]."""
    values, vectors = np.linalg.eigh(runs.test)
    return np.asarray(vectors * np.sqrt(values.clip(0.0)))
