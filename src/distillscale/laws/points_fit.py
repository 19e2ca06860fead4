"""Fit a law to plain arrays: any form, any number of inputs, with its certificate and profiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.bootstrap import LEVEL
from distillscale.laws.certificate import Certificate, certify
from distillscale.laws.checked_points import (
    checked,
    known_of_points,
    known_parameters,
    named_form,
    weights_of,
)
from distillscale.laws.delta import DeltaFit, delta_table
from distillscale.laws.form import Form
from distillscale.laws.identify import bounds, statement_of, unidentified
from distillscale.laws.likelihoods import Likelihood
from distillscale.laws.metrics import metric
from distillscale.laws.points import read_points, without_repetitions
from distillscale.laws.problem import (
    Delta,
    Measured,
    Prior,
    noise_of,
    own_parameters,
    problem_of,
    redrawn,
    with_noise_limits,
)
from distillscale.laws.profile import Profile, profiles, scaled
from distillscale.laws.solve import Batch, solve

STARTS_A_REPLICATE = 2
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # of splitmix64
REPLICATES_TOGETHER = 20_000  # so that a million replicates need little memory


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
        likelihood: how far a prediction may miss (see `likelihoods`).
        noise: what was fitted of the noise: `extra_sd`, by which runs differ beyond their test
            sampling, or `overdispersion` of counts.
        prior: mean and standard deviation of the stated priors.
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
    likelihood: Likelihood = "log"
    noise: Mapping[str, float] = field(default_factory=dict)
    prior: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def statement(self, name: str) -> str:
        """What may be said of a parameter: a value with its range, a bound, or nothing.

        A parameter that is no finding by itself (a factor at x = 1) has a value only.
        """
        profile = self.profiles.get(name)
        return statement_of(
            name, self.estimate[name], (profile.low, profile.high) if profile else None,
            self.bounds.get(name, ""), self.unidentified.get(name, ""), self.prior.get(name),
        )  # fmt: skip

    @property
    def solved(self) -> Array:
        """The parameters at x / reference, [p]."""
        return own_parameters(self.problem, self._best)

    @property
    def solved_with_noise(self) -> Array:
        """The parameters of the problem as it was solved, with that of the noise."""
        return self._best

    @property
    def reference(self) -> Array:
        """What x was divided by."""
        return self._reference

    def predict(self, x: ArrayLike) -> Array:
        """The fitted curve at x, [n] or [k, n]."""
        return self.form.curve(np.array([*self.estimate.values()]), np.asarray(x, float))

    def resampled(self, counts: ArrayLike) -> Array:
        """The parameters fitted to resampled points, each from its own starts, [b, p].

        A million replicates need the memory of some thousands; where few runs are resampled, most
        replicates are repetitions, and each different one is fitted once.

        Args:
            counts: how often each point counts in each replicate, [b, n].
        """
        table = np.asarray(counts)
        first, place = _different(table)
        found = [
            self._resampled(table[first[start : start + REPLICATES_TOGETHER]], start)
            for start in range(0, len(first), REPLICATES_TOGETHER)
        ]
        return np.concatenate(found)[place]

    def _resampled(self, counts: Array, seed: int) -> Array:
        weights = counts * self.problem.weights
        y = np.broadcast_to(self.problem.y, weights.shape)
        batch = redrawn(self.problem, y, weights, seed)
        found, _ = solve(batch, refined=STARTS_A_REPLICATE, also=self._best)
        return self.form.rescale(own_parameters(batch, found), self._reference)

    def sensitivity(self) -> list[DeltaFit]:
        """The fit under other deltas, from least absolute deviations (0) to least squares (inf).

        A likelihood of counts has no delta: nothing.
        """
        if self.problem.likelihood:
            return []
        return [
            DeltaFit(fit.delta, self.form.rescale(fit.parameters, self._reference), fit.beyond)
            for fit in delta_table(self.problem)
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
    likelihood: Likelihood | None = None,
    errors: ArrayLike | None = None,
    trials: ArrayLike | None = None,
    prior: Prior | None = None,
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
        likelihood: how far a prediction may miss (see `likelihoods`); None: `log` or `score`, by
            the form's scale.
        errors: standard errors of y by test sampling, [n], for the likelihood `error`; None: not
            known, all points alike.
        trials: examples behind each y, [n], for the likelihood `beta-binomial`.
        prior: mean and standard deviation of a normal prior on a floor or an exponent, as
            `{"e_inf": (0.04, 0.01)}` from the label noise, or the teacher's NLL.

    Raises:
        InputError: unknown law, shapes that do not fit, values that are not finite and positive, or
            too few different points for the form; a likelihood or prior without a meaning here.
    """
    prepared = prepare(
        law, x, y, weights=weights, fixed=fixed, delta=delta, likelihood=likelihood, errors=errors,
        trials=trials, prior=prior,
    )  # fmt: skip
    return fit_prepared(prepared, level, prior)


@dataclass(frozen=True)
class Prepared:
    """A problem that is ready to be solved, and what belongs to it (see `PointsFit`)."""

    form: Form
    batch: Batch
    noise: dict[str, float]
    fixed: Mapping[str, float]
    reference: Array
    likelihood: Likelihood


def prepare(
    law: str | Form,
    x: ArrayLike,
    y: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    fixed: Mapping[str, float] | None = None,
    delta: Delta = None,
    likelihood: Likelihood | None = None,
    errors: ArrayLike | None = None,
    trials: ArrayLike | None = None,
    prior: Prior | None = None,
) -> Prepared:
    """Check points and make them a problem; arguments and errors as in `fit_points`."""
    form = named_form(law)
    places, targets = checked(form, np.asarray(x, float), np.asarray(y, float))
    counted = weights_of(form, weights, len(targets))
    reference = np.asarray(form.reference(places))
    measured = Measured(
        x=places / (reference if places.ndim == 1 else reference[:, None]),
        y=targets,
        weights=counted,
        likelihood=likelihood or ("log" if form.scale == "log error" else "score"),
        errors=known_of_points("errors", errors, len(targets)),
        trials=known_of_points("trials", trials, len(targets)),
    )
    known = known_parameters(form, fixed or {})
    batch, noise = problem_of(form, measured, known, delta=delta, prior=prior)
    return Prepared(form, batch, noise, known, reference, measured.likelihood)


def fit_prepared(prepared: Prepared, level: float, prior: Prior | None = None) -> PointsFit:
    """Solve a problem, with its certificate and profiles; the prior is for the record only."""
    form, batch, reference = prepared.form, prepared.batch, prepared.reference
    best, certificate = certify(batch)
    own = own_parameters(batch, best)
    limits = form.limits(batch.x, batch.y[0], prepared.fixed)
    found = profiles(batch, best, with_noise_limits(batch, limits), level)
    shown = {name: scaled(entry, form, own, name, reference) for name, entry in found.items()}
    nothing = dict.fromkeys(form.names)
    return PointsFit(
        form=form,
        estimate=dict(zip(form.names, form.rescale(own, reference).tolist(), strict=True)),
        profiles=shown,
        bounds=bounds(form, shown),
        unidentified=unidentified(form, limits, nothing, shown),
        certificate=certificate,
        level=level,
        problem=batch,
        _best=best,
        _reference=reference,
        likelihood=prepared.likelihood,
        noise=noise_of(batch, best, prepared.noise),
        prior=dict(prior or {}),
    )


def fit_rows(
    rows: pd.DataFrame,
    law: str | Form,
    columns: Sequence[str],
    *,
    fixed: Mapping[str, float] | None = None,
    delta: Delta = None,
    level: float = LEVEL,
    likelihood: Likelihood | None = None,
    prior: Prior | None = None,
) -> PointsFit:
    """Fit a law of several inputs to rows of the results table.

    Args:
        rows: rows of one metric; those without a usable value or input are left out.
        law: as in `fit_points`.
        columns: where each of the form's inputs is, in their order.
        fixed: as in `fit_points`.
        delta: as in `fit_points`.
        level: as in `fit_points`.
        likelihood: as in `fit_points`; standard errors and trials come from the table.
        prior: as in `fit_points`.

    Raises:
        InputError: as in `fit_points`; rows of several metrics; too few or too many columns.
    """
    form = named_form(law)
    if len(columns) != len(form.inputs):
        raise InputError(
            f"law `{form.name}` takes {', '.join(form.inputs)}: {len(form.inputs)} columns, not "
            f"{len(columns)}."
        )
    if rows["metric"].nunique() != 1:
        raise InputError(
            f"a law is fitted to rows of one metric, not of {rows['metric'].nunique()}."
        )
    once = without_repetitions(rows, columns)
    usable = once.loc[(once[list(columns)] > 0).all(axis=1)]
    if usable.empty:
        raise InputError(f"law `{form.name}`: no row has a positive {' and '.join(columns)}.")
    points = [read_points(usable, form, column) for column in columns]
    x = np.stack([one.x for one in points]) if len(points) > 1 else points[0].x
    y = points[0].on_scale(form, points[0].value)
    return fit_points(
        form, x, y, fixed=fixed, delta=delta, level=level, likelihood=likelihood,
        errors=points[0].sampling_errors() if metric(points[0].metric).bounded else None,
        trials=points[0].examples, prior=prior,
    )  # fmt: skip


def _different(table: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first of each kind of row, and for every row which of these it equals.

    Rows are told apart by a hash of 64 bits: of a million, two different ones share theirs once in
    some ten million tables.
    """
    factors = np.random.default_rng(0).integers(0, 2**63, table.shape[1], dtype=np.uint64) * 2 + 1
    hashes = np.empty(len(table), dtype=np.uint64)
    for start in range(0, len(table), REPLICATES_TOGETHER):
        block = table[start : start + REPLICATES_TOGETHER]
        bits = np.ascontiguousarray(block, float).view(np.uint64)
        # Small numbers differ in the upper bits only; without this the lower half would be empty.
        bits = (bits ^ (bits >> np.uint64(32))) * GOLDEN
        hashes[start : start + len(block)] = (bits ^ (bits >> np.uint64(29))) @ factors
    _, first, place = np.unique(hashes, return_index=True, return_inverse=True)
    return first, place
