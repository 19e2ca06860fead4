"""Fits of one law to several data sets of the same points, and how they respond to errors.

With one data set it is a user's fit; with five hundred it is a coverage simulation: every method
of `uncertainty` works on both alike.

Shapes: b data sets, n points, p parameters (with those that are known, and that of the noise).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from distillscale.laws.arrays import Array
from distillscale.laws.solve import SMALLEST_ERROR, Batch
from distillscale.laws.uncertainty.runs import Runs

# In the normal matrix of unit columns; below it, directions count as undetermined.
RIDGE = 1e-12
NO_EFFECT = 1e-10
LARGEST_LOGARITHM = 50.0  # beyond it an error is no number to fit to


@dataclass(frozen=True)
class Fitted:
    """Fits at x / reference.

    Errors are taken on the logarithm where the problem's residuals are (`logarithm`), else on the
    error or score itself.

    Attributes:
        problem: the data sets, with b rows of n points that share x, weights and runs.
        estimate: the fitted parameters, [b, p].
        runs: the structure of the points' errors.
        reference: what x was divided by (see `Form.reference`).
    """

    problem: Batch
    estimate: Array
    runs: Runs
    reference: Array

    @property
    def logarithm(self) -> bool:
        """Whether errors are taken on the logarithm."""
        return self.problem.scale == "log error"

    @property
    def known(self) -> dict[str, float]:
        """The values of the parameters that are not fitted."""
        return {
            parameter.name: float(self.problem.low[0, j])
            for j, parameter in enumerate(self.problem.form.parameters)
            if parameter.fixed
        }

    def first(self, count: int) -> "Fitted":
        """The first data sets alone."""
        index = np.arange(min(count, len(self.estimate)))
        return Fitted(self.problem.rows(index), self.estimate[index], self.runs, self.reference)

    def measured(self, values: Array) -> Array:
        """Errors or scores from values on the errors' scale: the inverse of `fitted_values`."""
        if self.logarithm:
            return np.exp(values.clip(-LARGEST_LOGARITHM, LARGEST_LOGARITHM))
        if self.problem.form.scale == "log error":
            return values.clip(SMALLEST_ERROR)
        return values.clip(0.0, 1.0)

    @cached_property
    def fitted_values(self) -> Array:
        """The curves, [b, n]."""
        curve = self.problem.form.curve(self.estimate, self.problem.x)
        return np.log(curve.clip(SMALLEST_ERROR)) if self.logarithm else curve

    @cached_property
    def residuals(self) -> Array:
        """Target minus prediction, [b, n]."""
        y = self.problem.y
        return (np.log(y) if self.logarithm else y) - self.fitted_values

    @cached_property
    def point_weights(self) -> Array:
        """The curvature of each point's loss by its prediction, Huber's bends left out, [b, n]."""
        problem = self.problem
        if problem.likelihood is not None:
            means = self.fitted_values.clip(1e-6, 1 - 1e-6)
            slopes = problem.likelihood.slopes(problem.y, means, self.estimate[:, -1:])
            return problem.weights * slopes[2]
        return problem.weights / (1.0 if problem.errors is None else problem.errors**2)

    @property
    def deltas(self) -> Array:
        """Where the loss of each point turns from squared to linear, [n]."""
        if self.problem.likelihood is not None:
            return np.full(len(self.runs), np.inf)
        unit = np.ones(len(self.runs)) if self.problem.errors is None else self.problem.errors
        return self.problem.huber_delta * unit

    @cached_property
    def jacobian(self) -> Array:
        """Derivatives of the curves by the parameters that are fitted, [b, p, n]; 0 for others."""
        form = self.problem.form
        found = form.gradient(self.estimate, self.problem.x)
        if self.logarithm:
            curve = form.curve(self.estimate, self.problem.x).clip(SMALLEST_ERROR)
            found = found / curve[:, None, :]
        return found * self._moving[:, None]

    @cached_property
    def curvature_inverse(self) -> Array:
        """Inverse of the loss's curvature, [b, p, p]: (J W J')^-1, with the penalty's share.

        Directions without effect get a huge variance, parameters that are not fitted none.
        """
        normal = (self.jacobian * self.point_weights[:, None, :]) @ self.jacobian.swapaxes(1, 2)
        if self.problem.penalty is not None:
            normal = normal + self.problem.penalty.derivatives(self.estimate)[1]
        length = np.sqrt(np.einsum("bpp->bp", normal))
        scale = np.where(length > NO_EFFECT, length, 1.0)
        scales = scale[:, :, None] * scale[:, None, :]
        inverse = np.linalg.inv(normal / scales + RIDGE * np.eye(normal.shape[1])) / scales
        return np.asarray(inverse * (self._moving[:, None] & self._moving))

    @cached_property
    def influence(self) -> Array:
        """How an error of each point moves each parameter, [b, p, n]."""
        weighted = self.jacobian * self.point_weights[:, None, :]
        return np.asarray(self.curvature_inverse @ weighted)

    @cached_property
    def undetermined(self) -> NDArray[np.bool_]:
        """Which fitted parameters do not move the curve at all, [b, p]."""
        return (np.abs(self.jacobian).max(axis=2) <= NO_EFFECT) & self._moving

    @cached_property
    def residual_maker(self) -> Array:
        """What turns errors into residuals, I - J' A, [b, n, n]."""
        hat = self.jacobian.swapaxes(1, 2) @ self.influence
        return np.eye(hat.shape[1]) - hat

    @property
    def _moving(self) -> NDArray[np.bool_]:
        """The parameters of the curve that are fitted, [p]."""
        parameters = self.problem.form.parameters
        return np.array([not (parameter.fixed or parameter.nuisance) for parameter in parameters])
