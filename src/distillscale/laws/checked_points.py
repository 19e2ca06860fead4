"""Checks of the plain arrays that a law is fitted to, each refusal one sentence."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.form import Form
from distillscale.laws.forms import FORMS


def known_of_points(name: str, values: ArrayLike | None, count: int) -> Array | None:
    """An optional column of numbers, one a point; None stays None."""
    if values is None:
        return None
    found = np.asarray(values, float)
    if found.shape != (count,):
        raise InputError(f"`{name}` must be {count} numbers, one a point, not {found.size}.")
    return found


def weights_of(form: Form, weights: ArrayLike | None, count: int) -> Array:
    """Weights of mean 1; None: all alike."""
    if weights is None:
        return np.ones(count)
    found = np.asarray(weights, float)
    if found.shape != (count,) or not (np.isfinite(found).all() and (found > 0).all()):
        raise InputError(f"law `{form.name}`: weights must be {count} positive numbers.")
    return found / found.mean()


def named_form(law: str | Form) -> Form:
    """A form, or the one of this name."""
    if isinstance(law, Form):
        return law
    if law not in FORMS:
        raise InputError(f"law `{law}`: no such law; there are {', '.join(FORMS)}.")
    return FORMS[law]


def known_parameters(form: Form, fixed: Mapping[str, float]) -> Mapping[str, float]:
    """The values of the parameters that are not fitted, if none is missing."""
    for parameter in form.parameters:
        if parameter.fixed and parameter.name not in fixed:
            raise InputError(f"law `{form.name}` needs a value for `{parameter.name}`.")
    return fixed


def checked(form: Form, x: Array, y: Array) -> tuple[Array, Array]:
    """The arrays, if the form can be fitted to them."""
    count = len(form.inputs)
    wanted = (len(y),) if count == 1 else (count, len(y))
    if y.ndim != 1 or x.shape != wanted:
        inputs = ", ".join(form.inputs)
        raise InputError(
            f"law `{form.name}`: x has shape {x.shape} for {y.size} values of y, and should have "
            f"{wanted} ({inputs})."
        )
    if not (np.isfinite(x).all() and (x > 0).all()):
        raise InputError(f"law `{form.name}`: every x must be a positive number.")
    if not np.isfinite(y).all() or (form.scale == "log error" and not (y > 0).all()):
        kind = "a positive number" if form.scale == "log error" else "a number"
        raise InputError(f"law `{form.name}`: every y must be {kind}.")
    check_design(form, x)
    return x, y


def check_design(form: Form, x: Array) -> None:
    """Refuse inputs that cannot determine the form's parameters, whatever is measured there.

    Raises:
        InputError: fewer different points than parameters, an input that does not vary, or inputs
            that are powers of one another.
    """
    different = len(np.unique(np.atleast_2d(x).T.round(12), axis=0))
    if different <= len(form.free):
        raise InputError(
            f"law `{form.name}` has {len(form.free)} parameters: {different} different points do "
            f"not determine them."
        )
    _check_spread(form, np.atleast_2d(x))


def _check_spread(form: Form, x: Array) -> None:
    """Inputs that do not vary, or vary together, cannot have exponents of their own."""
    moving = [j for j, name in enumerate(form.inputs) if name not in form.unscaled]
    logs = np.log(x[moving])
    centred = logs - logs.mean(axis=1, keepdims=True)
    for j, row in zip(moving, centred, strict=True):
        if np.ptp(row) < 1e-9:
            raise InputError(f"law `{form.name}`: input {form.inputs[j]} has one value only.")
    if np.linalg.matrix_rank(centred, tol=1e-6 * np.linalg.norm(centred)) < len(moving):
        names = ", ".join(form.inputs[j] for j in moving)
        raise InputError(
            f"law `{form.name}`: the inputs {names} are powers of one another in these points, so "
            f"their exponents cannot be told apart."
        )
