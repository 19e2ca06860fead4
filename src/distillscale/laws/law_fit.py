"""A fitted law of one input: its parameters, what may be said of them, and its answer at x."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.bootstrap import interval
from distillscale.laws.certificate import Certificate
from distillscale.laws.form import Form
from distillscale.laws.forms import FORMS
from distillscale.laws.identify import statement_of
from distillscale.laws.likelihoods import Likelihood
from distillscale.laws.metrics import metric, value_of

Interval = tuple[float, float]
Status = Literal["ok", "few points", "no trend", "not fitted"]


@dataclass(frozen=True)
class Diagnostics:
    """How well a law fits.

    `rmse` and `r2` are on the metric's own scale; `r2` is None where the metric does not vary.
    `dropped` counts measurements that could not be used (missing, or without a logarithm).
    """

    rmse: float | None
    r2: float | None
    points: int
    seeds: int
    dropped: int


@dataclass(frozen=True)
class DeltaRow:
    """The parameters under another delta of Huber's; None: least squares.

    `beyond` counts the points whose residual is larger than delta."""

    delta: float | None
    estimate: dict[str, float]
    beyond: int


@dataclass(frozen=True)
class Prediction:
    """A law's answer: the metric's value, its interval if there is one, and whether it may be used.

    `inside` is False beyond the fitted range, where nothing vouches for the value.
    """

    value: float
    low: float | None
    high: float | None
    inside: bool


@dataclass(frozen=True)
class LawFit:
    """A law with its fitted parameters and everything needed to judge them.

    Attributes:
        form: key in `FORMS`.
        metric: the metric that it describes.
        x: the column that x is read from.
        group: what the points share: task, configuration, thinking, schedule, ...
        status: `ok`; `few points`: fewer different x than parameters + 1, so that nothing is
            identified; `no trend`: the metric does not change with x; `not fitted`: fewer than
            two different x.
        estimate: a value for each parameter; empty when not fitted.
        intervals: of the parameters at `level`; None where nothing tells them.
        unidentified: parameters that the data do not determine, with the reason.
        covers: which variation the intervals cover, in words.
        x_range: smallest and largest fitted x; None when not fitted.
        draws: parameters that might have come out, [draws][p].
        first_order: whether the draws are moves of the parameters to first order, so that the
            curve answers them by its gradient (see `first_order_draws`).
        bounds: parameters of which the data give one side only, as `e_inf <= 0.12`: the estimate
            is then no finding, the bound is (by profile likelihood at `level`).
        certificate: the evidence that the estimate is the best fit; None when not fitted.
        likelihood: how far a prediction may miss (see `likelihoods`).
        noise: what was fitted of the noise: `extra_sd`, by which runs differ beyond their test
            sampling, or `overdispersion` of counts.
        prior: mean and standard deviation of the stated priors.
        deltas: the estimate under other deltas of Huber's loss; empty for counts.
    """

    form: str
    metric: str
    x: str
    group: dict[str, str | float]
    status: Status
    estimate: dict[str, float]
    intervals: dict[str, Interval | None]
    unidentified: dict[str, str]
    covers: str
    diagnostics: Diagnostics
    x_range: Interval | None
    level: float
    draws: tuple[tuple[float, ...], ...]
    bounds: dict[str, str]
    certificate: Certificate | None
    likelihood: Likelihood = "log"
    first_order: bool = False
    noise: dict[str, float] = field(default_factory=dict)
    prior: dict[str, tuple[float, float]] = field(default_factory=dict)
    deltas: tuple[DeltaRow, ...] = ()

    def statement(self, name: str) -> str:
        """What may be said of a parameter: a value with its interval, a bound, or nothing.

        Raises:
            InputError: the law was not fitted, or has no such parameter.
        """
        if name not in self.estimate:
            has = ", ".join(self.estimate) or "none, it was not fitted"
            raise InputError(
                f"the {self.form} law of {self.metric}: no parameter `{name}` ({has})."
            )
        return statement_of(
            name, self.estimate[name], self.intervals[name], self.bounds.get(name, ""),
            self.unidentified.get(name, ""), self.prior.get(name),
        )  # fmt: skip

    def identified(self, parameter: str) -> bool:
        """Whether the data determine a parameter."""
        return parameter in self.estimate and parameter not in self.unidentified

    def predict(self, x: float) -> Prediction:
        """The metric at x, with its interval at `level`.

        Raises:
            InputError: the law was not fitted, or x is not positive.
        """
        if self.x_range is None:
            raise InputError(f"the {self.form} law of {self.metric} was not fitted: {self.covers}.")
        if not x > 0:
            raise InputError(f"{self.x}={x}: a law is asked at a positive {self.x}.")
        form = FORMS[self.form]
        best, place = np.array([*self.estimate.values()]), np.array([float(x)])
        value = float(to_value(form, self.metric, form.curve(best, place))[0])
        low, high = interval(self._drawn(form, best, place), self.level) or (None, None)
        slack = 1e-9 * self.x_range[1]
        inside = self.x_range[0] - slack <= x <= self.x_range[1] + slack
        return Prediction(value, low, high, inside)

    def _drawn(self, form: Form, best: Array, place: Array) -> Array:
        """The metric at a place by each draw, [draws]."""
        drawn = np.array(self.draws).reshape(-1, len(best))
        if not self.first_order:
            return to_value(form, self.metric, form.curve(drawn, place)[:, 0])
        curve = form.curve(best, place)
        moves = (drawn - best) @ form.gradient(best, place)[:, 0]
        if form.scale == "score":
            return np.asarray((curve + moves).clip(0.0, 1.0))
        return to_value(form, self.metric, curve * np.exp((moves / curve).clip(-700, 700)))


def to_value(form: Form, name: str, predicted: Array) -> Array:
    """What a form predicts as values of the metric `name`: scores as they are, errors turned."""
    if form.scale == "score":
        return predicted
    value = value_of(name, predicted)
    # Far outside its range a power law leaves what a share can be.
    return value.clip(0.0, 1.0) if metric(name).bounded else value
