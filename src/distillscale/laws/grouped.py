"""One law for several groups of points, with parameters that they share and that each has apart.

A group is a level of a discrete factor: a supervision format, a method, a task. Whether, say, the
exponent differs between formats is then a question about one fit, not about two independent ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.form import Form

LEVEL_INPUT = "level"


def grouped(form: Form, levels: Sequence[str], separate: Sequence[str]) -> Form:
    """A form whose last input is the level of a factor, counted from 1.

    Args:
        form: the law of one group.
        levels: the names of the factor's levels.
        separate: parameters that each level has apart, named `beta[cot]`; the others are shared.

    Raises:
        InputError: a parameter that the form does not have, or one that is shared although its
            meaning depends on a separate one (a factor at x = 1 on its exponent): then the fit
            would hang on the unit of x.
    """
    for name in separate:
        if name not in form.names:
            raise InputError(
                f"law `{form.name}` has no parameter `{name}`; it has {', '.join(form.names)}."
            )
    names, index = _layout(form, levels, separate)
    _check_units(form, index, len(names))
    own = [form.parameters[int(np.argwhere(index == j)[0][1])] for j in range(len(names))]
    parameters = tuple(
        replace(parameter, name=name, rests_on=_partner(parameter.rests_on, name, names))
        for parameter, name in zip(own, names, strict=True)
    )

    def curve(values: Array, x: Array) -> Array:
        predicted = np.empty((*values.shape[:-1], x.shape[-1]))
        for level, points, inputs in _by_level(form, x):
            predicted[..., points] = form.curve(values[..., index[level]], inputs)
        return predicted

    def gradient(values: Array, x: Array) -> Array:
        found = np.zeros((*values.shape, x.shape[-1]))
        for level, points, inputs in _by_level(form, x):
            one = form.gradient(values[..., index[level]], inputs)
            found[..., index[level][:, None], points] = one
        return found

    def rescale(values: Array, factor: Array) -> Array:
        scaled = values.copy()
        for row in index:
            scaled[..., row] = form.rescale(values[..., row], _inputs(form, factor))
        return scaled

    def starts(x: Array, y: Array) -> Array:
        """Those of one law for all points."""
        return _spread(form.starts(_inputs(form, x), y), index, len(names))

    def bounds(x: Array, y: Array, fixed: Mapping[str, float]) -> Array:
        return _spread(form.bounds(_inputs(form, x), y, fixed).T, index, len(names)).T

    def limits(x: Array, y: Array, fixed: Mapping[str, float]) -> Array:
        return _spread(form.limits(_inputs(form, x), y, fixed).T, index, len(names)).T

    return replace(
        form, name=f"{form.name} by {', '.join(levels)}", parameters=parameters, curve=curve,
        gradient=gradient, rescale=rescale, starts=starts, bounds=bounds, limits=limits,
        inputs=(*form.inputs, LEVEL_INPUT), unscaled=(*form.unscaled, LEVEL_INPUT),
        linear=tuple(p.name for p, one in zip(parameters, own, strict=True)
                     if one.name in form.linear),
    )  # fmt: skip


def _layout(
    form: Form, levels: Sequence[str], separate: Sequence[str]
) -> tuple[list[str], NDArray[np.int64]]:
    """The names of all parameters, and where each level's are among them, [levels, p]."""
    names = [name for name in form.names if name not in separate]
    names += [f"{name}[{level}]" for name in form.names if name in separate for level in levels]
    index = [
        [names.index(f"{name}[{level}]" if name in separate else name) for name in form.names]
        for level in levels
    ]
    return names, np.array(index)


def _partner(rests_on: str | None, name: str, names: list[str]) -> str | None:
    """What a level's parameter rests on: the same level's one, or the shared one."""
    if rests_on is None:
        return None
    _, bracket, level = name.partition("[")
    apart = rests_on + bracket + level
    return apart if apart in names else rests_on


def _check_units(form: Form, index: NDArray[np.int64], count: int) -> None:
    """Refuse shared parameters that would be rescaled by a separate one."""
    values = 0.3 + 0.1 * np.arange(count)
    factor = 2.0 if len(form.inputs) == 1 else np.full(len(form.inputs), 2.0)
    rows = [form.rescale(values[row], factor) for row in index]
    for j, name in enumerate(form.names):
        if len(set(index[:, j])) == 1 and np.ptp([row[j] for row in rows]) > 1e-12:
            raise InputError(
                f"law `{form.name}`: `{name}` cannot be shared by levels whose exponents are "
                f"separate; make it separate too."
            )


def _by_level(form: Form, x: Array) -> list[tuple[int, NDArray[np.int64], Array]]:
    """Each level that occurs, the places of its points, and their inputs without the level."""
    level = x[-1].astype(int) - 1
    inputs = _inputs(form, x)
    return [(int(v), at, inputs[..., at]) for v in np.unique(level)
            for at in [np.flatnonzero(level == v)]]  # fmt: skip


def _inputs(form: Form, x: Array) -> Array:
    """The inputs of the form itself: one row as [n]."""
    return x[0] if len(form.inputs) == 1 else x[:-1]


def _spread(values: Array, index: NDArray[np.int64], count: int) -> Array:
    """One law's values, [..., p], as those of all levels, [..., count]."""
    spread = np.empty((*values.shape[:-1], count))
    for row in index:
        spread[..., row] = values
    return spread
