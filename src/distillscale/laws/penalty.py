"""What is known or assumed of parameters beside the points: priors, and pooling of groups."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from distillscale.laws.arrays import Array

TINY = 1e-12


@dataclass(frozen=True)
class Penalty:
    """Quadratic terms of the loss: half of weight (rows u - target)^2, summed over the terms.

    u are the parameters [p], those of `logs` as their logarithms. `weight` is a precision in units
    of the loss: one over the squared width, times the variance that a unit of the loss stands for.

    `deviation` is the prior's width by which `drawn` moves targets; 0 where they stay.

    Shapes: rows [q, p], logs [p], deviation [q]; target and weight [q], or [b, q] if the problems
    of a batch differ.
    """

    rows: Array
    target: Array
    logs: Array
    weight: Array
    deviation: Array

    def drawn(self, count: int, generator: np.random.Generator) -> "Penalty":
        """The penalty of `count` problems, its targets drawn from the prior."""
        moved = self.deviation * generator.normal(size=(count, len(self.deviation)))
        return replace(self, target=self.target + moved)

    @property
    def same_for_all(self) -> bool:
        """Whether the problems of a batch have the same penalty."""
        return self.target.ndim == 1 and self.weight.ndim == 1

    def losses(self, parameters: Array) -> Array:
        """The penalty at parameters [b, ..., p], [b, ...]."""
        target, weight = (
            part[:, None, :] if part.ndim == 2 and parameters.ndim == 3 else part
            for part in (self.target, self.weight)
        )
        misfit = self._values(parameters) @ self.rows.T - target
        return 0.5 * (weight * misfit**2).sum(axis=-1)

    def derivatives(self, parameters: Array) -> tuple[Array, Array]:
        """Gradient [b, p] and its Gauss-Newton curvature [b, p, p]."""
        inner = np.where(self.logs, 1 / np.maximum(parameters, TINY), 1.0)
        jacobian = self.rows * inner[:, None, :]
        weighted = jacobian * np.broadcast_to(self.weight, jacobian.shape[:2])[..., None]
        misfit = self._values(parameters) @ self.rows.T - self.target
        gradient = np.einsum("bqp,bq->bp", weighted, misfit)
        return np.asarray(gradient, float), weighted.swapaxes(1, 2) @ jacobian

    def of_rows(self, index: NDArray[np.int64]) -> "Penalty":
        """The penalty of some problems of the batch."""
        target, weight = (
            part[index] if part.ndim == 2 else part for part in (self.target, self.weight)
        )
        return replace(self, target=target, weight=weight)

    def _values(self, parameters: Array) -> Array:
        return np.where(self.logs, np.log(np.maximum(parameters, TINY)), parameters)
