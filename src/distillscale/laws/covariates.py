"""Numbers of a schedule (or of anything else) in a law: a parameter changes as a power of them.

How a model was cut acts through its stages and its largest single cut. `A stages^g1 kept^g2`: the
removable error changes by the factor 2^g1 when the stages are doubled, all else equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.form import LARGEST_EXPONENT, Form, Parameter

LEAST_KEPT = "least_kept"


def with_least_kept(table: pd.DataFrame) -> pd.DataFrame:
    """The results table with `least_kept`, the share that the largest single cut left over.

    It is positive, as an input of a law must be; `stages` is one as it stands.
    """
    return table.assign(**{LEAST_KEPT: 1 - table["largest_cut"]})


def with_covariates(form: Form, parameter: str, covariates: Sequence[str]) -> Form:
    """A form with further inputs, in powers of which a parameter changes.

    Args:
        form: the law.
        parameter: what changes: a factor, a place such as `r_star`, a steepness.
        covariates: names of the inputs; each has an exponent, named `gamma[stages]`.

    Raises:
        InputError: no such parameter, a covariate named twice, one that is known, or one on which
            the unit of another depends (an exponent).
    """
    if parameter not in [p.name for p in form.free]:
        fitted = ", ".join(p.name for p in form.free)
        raise InputError(f"law `{form.name}` has no `{parameter}` to change; it fits {fitted}.")
    if len(set(covariates)) < len(covariates):
        raise InputError(f"covariates {', '.join(covariates)}: each can change a parameter once.")
    target, count, own = form.names.index(parameter), len(form.names), len(form.inputs)
    _check_alone(form, target)

    def of_form(along: Array) -> Array:
        """What belongs to the form's own inputs, in the shape that it takes."""
        return np.asarray(along[0] if own == 1 else along[:own])

    def split(x: Array) -> tuple[Array, Array]:
        """The form's own inputs as columns, [n, 1] or [k, n, 1], and logs of the others, [c, n]."""
        return of_form(x)[..., None], np.log(x[own:])

    def at_points(values: Array, logs: Array) -> Array:
        """The form's parameters at each point, [..., n, p]."""
        change = np.exp(values[..., count:] @ logs)
        everywhere = np.repeat(values[..., None, :count], logs.shape[1], axis=-2)
        everywhere[..., target] *= change
        return everywhere

    def curve(values: Array, x: Array) -> Array:
        inputs, logs = split(x)
        return form.curve(at_points(values, logs), inputs)[..., 0]

    def gradient(values: Array, x: Array) -> Array:
        inputs, logs = split(x)
        there = at_points(values, logs)
        found = np.moveaxis(form.gradient(there, inputs)[..., 0], -1, -2)
        by_log = (found[..., target, :] * there[..., target])[..., None, :] * logs
        found[..., target, :] *= np.exp(values[..., count:] @ logs)
        return np.concatenate([found, by_log], axis=-2)

    def rescale(values: Array, factor: Array) -> Array:
        base = form.rescale(values[..., :count], of_form(factor))
        base[..., target] *= np.exp(-(values[..., count:] @ np.log(factor[own:])))
        return np.concatenate([base, values[..., count:]], axis=-1)

    def starts(x: Array, y: Array) -> Array:
        """Those without an effect of the covariates."""
        known = form.starts(of_form(x), y)
        nothing = np.zeros((*known.shape[:-1], len(covariates)))
        return np.concatenate([known, nothing], axis=-1)

    def also(of: Any) -> Any:
        def limits(x: Array, y: Array, fixed: Mapping[str, float]) -> Array:
            base = of(of_form(x), y, fixed)
            either = [[-LARGEST_EXPONENT, LARGEST_EXPONENT]] * len(covariates)
            return np.vstack([base, either])

        return limits

    powers = " ".join(f"{name}^gamma[{name}]" for name in covariates)
    return replace(
        form,
        name=f"{form.name} with {', '.join(covariates)}",
        formula=f"{form.formula}, {parameter} -> {parameter} {powers}",
        parameters=(
            *form.parameters,
            *(
                Parameter(f"gamma[{name}]", f"how {parameter} changes with {name}", "none",
                          open_low=True, open_high=True)
                for name in covariates
            ),
        ),
        curve=curve,
        gradient=gradient,
        rescale=rescale,
        starts=starts,
        bounds=also(form.bounds),
        limits=also(form.limits),
        inputs=(*form.inputs, *covariates),
    )  # fmt: skip


def _check_alone(form: Form, target: int) -> None:
    """Refuse a parameter by which others are rescaled: these would depend on the unit of x."""
    values: Array = np.linspace(0.3, 0.9, len(form.names))
    moved = values.copy()
    moved[target] *= 2
    factor: Any = 2.0 if len(form.inputs) == 1 else np.full(len(form.inputs), 2.0)
    before, after = form.rescale(values, factor), form.rescale(moved, factor)
    others = np.arange(len(values)) != target
    if (
        np.abs(before - after)[others].max() > 1e-12
        or abs(after[target] - 2 * before[target]) > 1e-9
    ):
        raise InputError(
            f"law `{form.name}`: `{form.names[target]}` cannot change with covariates, other "
            f"parameters hang on it."
        )
