"""Fit a law to plain arrays: any form, any number of inputs, with its certificate and profiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.bootstrap import LEVEL
from distillscale.laws.certificate import Certificate, certify
from distillscale.laws.delta import DeltaFit, adaptive_delta, delta_sensitivity
from distillscale.laws.fit import Delta
from distillscale.laws.form import Form
from distillscale.laws.forms import FORMS
from distillscale.laws.identify import bounds, unidentified
from distillscale.laws.points import read_points
from distillscale.laws.profile import Profile, profiles, scaled
from distillscale.laws.solve import Batch, solve

STARTS_A_REPLICATE = 2


@dataclass(frozen=True)
class PointsFit:
    """A law fitted to points.

    Attributes:
        form: the law's form.
        estimate: a value for each parameter.
        profiles: of E, the exponents and other parameters with a meaning of their own: the values
            that fit about as well, at `level`.
        bounds: parameters of which one side only is known, as `E <= 0.12`.
        unidentified: parameters that the points do not determine, with the reason.
        certificate: the evidence that no better fit exists.
        level: of the profiles.
        problem: the problem as it was solved, at x / reference (b = 1).
    """

    form: Form
    estimate: dict[str, float]
    profiles: dict[str, Profile]
    bounds: dict[str, str]
    unidentified: dict[str, str]
    certificate: Certificate
    level: float
    problem: Batch = field(repr=False, compare=False)
    _best: Array = field(repr=False, compare=False)
    _reference: Array = field(repr=False, compare=False)

    def statement(self, name: str) -> str:
        """What may be said of a parameter: a value with its range, a bound, or nothing.

        A parameter that is no finding by itself (a factor at x = 1) has a value only.
        """
        if name in self.bounds:
            return self.bounds[name]
        if name in self.unidentified:
            return f"{name} not identified: {self.unidentified[name]}"
        value = f"{name} = {self.estimate[name]:.4g}"
        if name not in self.profiles:
            return value
        profile = self.profiles[name]
        return f"{value} ({profile.low:.4g} to {profile.high:.4g})"

    def predict(self, x: ArrayLike) -> Array:
        """The fitted curve at x, [n] or [k, n]."""
        return self.form.curve(np.array([*self.estimate.values()]), np.asarray(x, float))

    def resampled(self, counts: ArrayLike) -> Array:
        """The parameters fitted to resampled points, each from its own starts, [b, p].

        Args:
            counts: how often each point counts in each replicate, [b, n].
        """
        weights = np.asarray(counts, float) * self.problem.weights
        rows = np.zeros(len(weights), dtype=int)
        one = self.problem.rows(rows)
        batch = Batch(one.form, one.x, one.y, weights, one.low, one.high, one.delta)
        found, _ = solve(batch, refined=STARTS_A_REPLICATE, also=self._best)
        return self.form.rescale(found, self._reference)

    def sensitivity(self) -> list[DeltaFit]:
        """The fit under other deltas, from least absolute deviations (0) to least squares (inf)."""
        return [
            DeltaFit(fit.delta, self.form.rescale(fit.parameters, self._reference), fit.beyond)
            for fit in delta_sensitivity(self.problem)
        ]


def fit_points(
    law: str | Form,
    x: ArrayLike,
    y: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    fixed: Mapping[str, float] | None = None,
    delta: Delta = None,
    level: float = LEVEL,
) -> PointsFit:
    """Fit a law to points.

    Args:
        law: key in `FORMS`, or a form of one's own (see `grouped`).
        x: inputs, [n], or [k, n] in the order of the form's `inputs`; positive.
        y: errors or losses (positive), or scores, by the form's scale, [n].
        weights: how much each point counts, as the inverse of its variance; only their ratios
            matter to the estimate. None: all alike.
        fixed: values of the form's known parameters.
        delta: Huber's; `adaptive`: from the residuals; None: the default of the form's scale.
        level: of the profile intervals.

    Raises:
        InputError: unknown law, shapes that do not fit, values that are not finite and positive, or
            too few different points for the form.
    """
    form = _form(law)
    places, targets = _checked(form, np.asarray(x, float), np.asarray(y, float))
    counted = _weights(form, weights, len(targets))
    batch, reference = _problem(form, places, targets, counted, _known(form, fixed or {}))
    if delta is not None:
        batch = batch.with_delta(adaptive_delta(batch) if delta == "adaptive" else delta)
    best, certificate = certify(batch)
    limits = form.limits(batch.x, targets, fixed or {})
    found = profiles(batch, best, limits, level)
    shown = {name: scaled(entry, form, best, name, reference) for name, entry in found.items()}
    nothing = dict.fromkeys(form.names)
    return PointsFit(
        form=form,
        estimate=dict(zip(form.names, form.rescale(best, reference).tolist(), strict=True)),
        profiles=shown,
        bounds=bounds(form, shown),
        unidentified=unidentified(form, limits, nothing, shown),
        certificate=certificate,
        level=level,
        problem=batch,
        _best=best,
        _reference=reference,
    )


def fit_rows(
    rows: pd.DataFrame,
    law: str | Form,
    columns: Sequence[str],
    *,
    fixed: Mapping[str, float] | None = None,
    delta: Delta = None,
    level: float = LEVEL,
) -> PointsFit:
    """Fit a law of several inputs to rows of the results table.

    Args:
        rows: rows of one metric; those without a usable value or input are left out.
        law: as in `fit_points`.
        columns: where each of the form's inputs is, in their order.
        fixed: as in `fit_points`.
        delta: as in `fit_points`.
        level: as in `fit_points`.

    Raises:
        InputError: as in `fit_points`; rows of several metrics; too few or too many columns.
    """
    form = _form(law)
    if len(columns) != len(form.inputs):
        raise InputError(
            f"law `{form.name}` takes {', '.join(form.inputs)}: {len(form.inputs)} columns, not "
            f"{len(columns)}."
        )
    if rows["metric"].nunique() != 1:
        raise InputError(
            f"a law is fitted to rows of one metric, not of {rows['metric'].nunique()}."
        )
    usable = rows.loc[(rows[list(columns)] > 0).all(axis=1)]
    points = [read_points(usable, form, column) for column in columns]
    x = np.stack([one.x for one in points]) if len(points) > 1 else points[0].x
    y = points[0].on_scale(form, points[0].value)
    return fit_points(form, x, y, fixed=fixed, delta=delta, level=level)


def _weights(form: Form, weights: ArrayLike | None, count: int) -> Array:
    if weights is None:
        return np.ones(count)
    found = np.asarray(weights, float)
    if found.shape != (count,) or not (np.isfinite(found).all() and (found > 0).all()):
        raise InputError(f"law `{form.name}`: weights must be {count} positive numbers.")
    return found / found.mean()


def _form(law: str | Form) -> Form:
    if isinstance(law, Form):
        return law
    if law not in FORMS:
        raise InputError(f"law `{law}`: no such law; there are {', '.join(FORMS)}.")
    return FORMS[law]


def _known(form: Form, fixed: Mapping[str, float]) -> Mapping[str, float]:
    for parameter in form.parameters:
        if parameter.fixed and parameter.name not in fixed:
            raise InputError(f"law `{form.name}` needs a value for `{parameter.name}`.")
    return fixed


def _checked(form: Form, x: Array, y: Array) -> tuple[Array, Array]:
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
    different = len(np.unique(np.atleast_2d(x).T.round(12), axis=0))
    if different <= len(form.free):
        raise InputError(
            f"law `{form.name}` has {len(form.free)} parameters: {different} different points do "
            f"not determine them."
        )
    _check_spread(form, np.atleast_2d(x))
    return x, y


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


def _problem(
    form: Form, x: Array, y: Array, weights: Array, fixed: Mapping[str, float]
) -> tuple[Batch, Array]:
    """The problem at x / reference, where the parameters are of order one, and the reference."""
    reference = np.asarray(form.reference(x))
    there = x / (reference if x.ndim == 1 else reference[:, None])
    low, high = form.bounds(there, y, fixed)[None].transpose(2, 0, 1)
    return Batch(form, there, y[None], weights[None], low, high), reference
