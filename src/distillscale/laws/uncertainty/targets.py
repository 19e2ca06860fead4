"""What intervals are wanted for: the fitted parameters, and the curve at some places.

Each target is looked at on the scale where its estimates spread most evenly: factors and places
(which are positive by nature), and predictions of errors, by their logarithm.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from distillscale.laws.arrays import Array
from distillscale.laws.form import Form
from distillscale.laws.solve import SMALLEST_ERROR

STEP = 1e-5  # of numerical derivatives, relative to a parameter's size


@dataclass(frozen=True)
class Target:
    """A number that follows from a law's parameters.

    Attributes:
        name: a parameter's name, or `at X` for the curve at x = X.
        value: from parameters at x / reference, [..., p], to the number, [...].
        logarithm: whether errors are taken on its logarithm.
        low: smallest value that is possible.
        high: largest value that is possible.
        parameter: the place of the parameter in the form; None for a prediction.
    """

    name: str
    value: Callable[[Array], Array]
    logarithm: bool
    low: float
    high: float
    parameter: int | None = None

    def on_scale(self, parameters: Array) -> Array:
        """The number where errors are taken."""
        return self.scaled(self.value(parameters))

    def scaled(self, found: Array) -> Array:
        """The same of values of the number."""
        return np.log(np.maximum(found, SMALLEST_ERROR)) if self.logarithm else found

    def back(self, scaled: Array) -> Array:
        """From there to the number itself, inside its limits."""
        found = np.exp(np.minimum(scaled, 700.0)) if self.logarithm else scaled
        return np.clip(found, self.low, self.high)

    def gradient(self, parameters: Array) -> Array:
        """Derivatives of the number on its scale by the parameters, [b, p]."""
        found = np.empty(parameters.shape)
        for j in range(parameters.shape[1]):
            step = STEP * np.maximum(np.abs(parameters[:, j]), 1e-3)
            up, down = parameters.copy(), parameters.copy()
            up[:, j] += step
            down[:, j] -= step
            found[:, j] = (self.on_scale(up) - self.on_scale(down)) / (2 * step)
        return found


def targets_of(
    form: Form, reference: Array, limits: Array, places: Sequence[Array | float] = ()
) -> tuple[Target, ...]:
    """The form's free parameters, then the curve at the places.

    Args:
        form: the law's form.
        reference: what x was divided by.
        limits: of the parameters at x / reference, [p, 2] (see `Form.limits`).
        places: values of x, each a number or [k].
    """
    parameters = [
        _parameter(form, j, reference, limits)
        for j, parameter in enumerate(form.parameters)
        if not (parameter.fixed or parameter.nuisance)
    ]
    return (*parameters, *(_prediction(form, reference, place) for place in places))


def _parameter(form: Form, j: int, reference: Array, limits: Array) -> Target:
    parameter = form.parameters[j]

    def value(parameters: Array) -> Array:
        return np.asarray(form.rescale(parameters, reference)[..., j])

    if parameter.rests_on:
        return Target(parameter.name, value, True, 0.0, np.inf, j)
    ends = np.ones((2, len(form.parameters)))
    ends[:, j] = limits[j]
    low, high = value(ends)
    return Target(parameter.name, value, bool(low > 0), float(low), float(high), j)


def _prediction(form: Form, reference: Array, place: Array | float) -> Target:
    x = np.asarray(place, dtype=float)
    there = np.atleast_1d(x / reference) if x.ndim == 0 else (x / reference)[:, None]

    def value(parameters: Array) -> Array:
        return np.asarray(form.curve(parameters, there)[..., 0])

    error = form.scale == "log error"
    label = ", ".join(f"{v:.4g}" for v in np.atleast_1d(x))
    return Target(f"at {label}", value, error, 0.0, np.inf if error else 1.0)
