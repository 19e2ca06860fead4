"""What a form that was fitted to some points of a series predicts for the others."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distillscale.laws.arrays import Array
from distillscale.laws.form import Form
from distillscale.laws.metrics import error_of
from distillscale.laws.selection.series import SMALLEST_ERROR, Series
from distillscale.laws.solve import SMALLEST_ERROR as SMALLEST_CURVE
from distillscale.laws.solve import Batch, solve

LEVEL = 0.95
NOISES_A_CURVE = 25
LARGEST_CORRELATION = 0.95
LARGEST_NOISE = 5.0  # of ln error; a simulated error is at most 150 times off

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Forecast:
    """Predicted values of the metric, [m], with intervals for measured ones; NaN where unknown."""

    value: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class FormFit:
    """A form fitted to points of a series.

    Attributes:
        problem: as it was solved, at x / reference (b = 1).
        parameters: at x / reference, [p].
        reference: what x was divided by, [] or [k, 1].
        residuals: predicted minus measured on the form's scale, [n].
    """

    problem: Batch
    parameters: Array
    reference: Array
    residuals: Array

    def curve(self, parameters: Array, inputs: Array) -> Array:
        """Predictions [..., m] on the residuals' scale (ln error, or score)."""
        predicted = self.problem.form.curve(parameters, inputs / self.reference)
        if self.problem.form.scale == "score":
            return predicted
        return np.log(predicted.clip(SMALLEST_CURVE))


def fit_form(series: Series, form: Form, fitted: Index) -> FormFit:
    """Fit a form to the points `fitted` of a series; nothing else of the series is looked at."""
    x, y = series.form_inputs[..., fitted], series.target(form)[fitted]
    reference = np.asarray(form.reference(x))
    reference = reference if x.ndim == 1 else reference[:, None]
    bounds = form.bounds(x / reference, y, series.fixed)[None]
    batch = Batch(
        form, x / reference, y[None], np.ones((1, len(y))), bounds[..., 0], bounds[..., 1]
    )
    parameters = solve(batch)[0][0]
    fit = FormFit(batch, parameters, reference, np.zeros(len(y)))
    measured = y if form.scale == "score" else np.log(y)
    return FormFit(batch, parameters, reference, fit.curve(parameters, x) - measured)


def forecast(
    series: Series, form: Form, fitted: Index, out: Index, *, draws: int, seed: int = 0
) -> Forecast:
    """Fit a form to some points and predict others.

    Args:
        series: the series.
        form: one of its forms.
        fitted: the points that are fitted.
        out: the points that are predicted: of these only the inputs are read.
        draws: how many simulated refits make the intervals; 0: no intervals.
        seed: of the simulation.
    """
    fit = fit_form(series, form, fitted)
    inputs = series.form_inputs[..., out]
    value = _value(series, form, fit.curve(fit.parameters, inputs))
    missing = np.full(len(out), np.nan)
    if draws == 0 or len(fitted) <= len(form.free):
        return Forecast(value, missing, missing)
    simulated = _simulated(series, fit, fitted, out, draws, seed)
    edges = np.quantile(simulated, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    low, high = np.sort(_value(series, form, edges), axis=0)
    return Forecast(value, low, high)


def run_correlation(residuals: Array, runs: tuple[int, ...]) -> float:
    """The share of the residuals' variance that a run's points have in common (intraclass, ANOVA).

    0 where it cannot be told: a single run, or one point a run.
    """
    _, run, counts = np.unique(np.asarray(runs), return_inverse=True, return_counts=True)
    groups, points = len(counts), len(residuals)
    if groups < 2 or points <= groups:
        return 0.0
    means = np.bincount(run, residuals) / counts
    between = float((counts * (means - residuals.mean()) ** 2).sum() / (groups - 1))
    within = float(((residuals - means[run]) ** 2).sum() / (points - groups))
    size = (points - (counts**2).sum() / points) / (groups - 1)
    total = between + (size - 1) * within
    share = (between - within) / total if total > 0 else 0.0
    return float(np.clip(share, 0.0, LARGEST_CORRELATION))


def _simulated(
    series: Series, fit: FormFit, fitted: Index, out: Index, draws: int, seed: int
) -> Array:
    """Measured values that might come out at `out`, on the residuals' scale, [samples, m].

    A parametric bootstrap: the fitted curve with new noise is fitted again, and new noise is added
    to what it predicts. Noise is the residuals' variance over their degrees of freedom (itself
    drawn, as from a chi-square, because few points know it badly), at least that of the test
    sampling; a run's points share the part of it that `run_correlation` finds.
    """
    form = fit.problem.form
    spare = len(fitted) - len(form.free)
    tests = _test_variance(series, form, fitted)
    generator = np.random.default_rng(seed)
    left = float((fit.residuals**2).sum()) / generator.chisquare(spare, draws)
    variance = np.maximum(left, tests)[:, None]
    runs, run = np.unique(np.array(series.seeds)[fitted], return_inverse=True)
    shared = run_correlation(fit.residuals, tuple(run.tolist()))
    noise = np.sqrt(shared) * generator.standard_normal((draws, len(runs)))[:, run]
    noise = noise + np.sqrt(1 - shared) * generator.standard_normal((draws, len(fitted)))
    noise = (np.sqrt(variance) * noise).clip(-LARGEST_NOISE, LARGEST_NOISE)
    curves = _refitted(fit, noise, series.form_inputs[..., out])
    more = np.maximum(_sampling_variance(series, form, curves, out) - tests, 0)
    fresh = generator.standard_normal((NOISES_A_CURVE, *curves.shape))
    return (curves + np.sqrt(variance + more) * fresh).reshape(-1, curves.shape[1])


def _refitted(fit: FormFit, noise: Array, inputs: Array) -> Array:
    """The curves fitted to the fitted curve plus noise [b, n], at `inputs`: [b, m]."""
    form, one = fit.problem.form, fit.problem
    curve = form.curve(fit.parameters, one.x)
    y = curve + noise if form.scale == "score" else curve.clip(SMALLEST_CURVE) * np.exp(noise)
    rows = np.zeros(len(y), dtype=np.int64)
    low, high, weights = one.low[rows], one.high[rows], one.weights[rows]
    batch = Batch(form, one.x, y, weights, low, high, one.delta)
    parameters, _ = solve(batch, refined=1, also=fit.parameters)
    return fit.curve(parameters, inputs)


def _test_variance(series: Series, form: Form, fitted: Index) -> float:
    """The mean variance that the test sampling alone gives a point, on the form's scale."""
    found = []
    for j in fitted:
        row = series.replicates[j]
        if len(row) and form.scale == "log error":
            smallest = max(float(series.smallest[j]), SMALLEST_ERROR)
            row = np.log(np.maximum(error_of(series.metric, row), smallest))
        if len(row):
            found.append(float(np.var(row)))
    return float(np.mean(found)) if found else 0.0


def _sampling_variance(series: Series, form: Form, curves: Array, out: Index) -> Array:
    """What the test sampling adds to predictions on the form's scale, as to a share of n, [.., m].

    A test set says less of a score in the middle than of the ones near 1 that were fitted. 0 for
    losses, whose spread does not follow from their mean.
    """
    per_example = 2 * series.smallest[out]  # the smallest error is half an example
    if form.scale == "score":
        share = curves.clip(0, 1)
        return share * (1 - share) * per_example
    error = np.exp(curves).clip(SMALLEST_ERROR)
    return (1 - error).clip(0) / error * per_example


def _value(series: Series, form: Form, scaled: Array) -> Array:
    """Values of the metric for a form's predictions on the residuals' scale."""
    return series.of_score(scaled) if form.scale == "score" else series.of_log_error(scaled)
