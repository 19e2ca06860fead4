"""Likelihoods that fit the measure: how far a prediction may miss, by what was measured.

- `log`: Huber's loss on log residuals, for losses (NLL, KL), whose noise is a share of them.
- `error`: Huber's loss on residuals in standard errors, for macro F1 and accuracy. The standard
  error of a point is sqrt(max(v, f^2) + tau^2): v its variance on bootstrap resamples of the test
  examples, f half an example (so that a point with a tiny v does not dominate), tau what runs
  differ by beyond that, the same for all points and estimated from the residuals.
- `beta-binomial`: the number of right answers of a benchmark; its noise follows from the number of
  questions, so that points at chance, where nothing changes any more, do not set the slope.
- `score`: Huber's loss on the score, all points alike, where nothing is known of its noise.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy import optimize, stats
from scipy.special import betaln, digamma, gammaln

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.form import Form, Parameter
from distillscale.laws.metrics import metric

Likelihood = Literal["log", "error", "beta-binomial", "score"]
LIKELIHOODS: tuple[Likelihood, ...] = ("log", "error", "beta-binomial", "score")

# A hundredth of a point is no difference between two models, however large the test set (an
# assumption); it also keeps noise-free values apart from a division by zero.
SMALLEST_ERROR_OF_SCORE = 1e-4
# With more questions than this the overdispersion is all that is left of a score's noise.
MOST_TRIALS = 1e6
LOG_PRECISION = "log_precision"
PRECISIONS = (1.0, 1e5)  # overdispersion from 1/2 to 1e-5
START_PRECISION = 100.0
EDGE = 1e-9  # a probability stays this far from 0 and 1


def likelihood_of(name: str, form: Form, *, counted: bool) -> Likelihood:
    """The likelihood that fits a metric.

    Args:
        name: of the metric.
        form: the law.
        counted: whether the number of its examples is known.
    """
    kind = metric(name)
    if kind.knowledge and counted:
        return "beta-binomial"
    if kind.bounded and not kind.knowledge:
        return "error"
    return "log" if form.scale == "log error" else "score"


def check_likelihood(chosen: str, form: Form) -> None:
    """Refuse a likelihood that does not exist or has no meaning on a form's scale.

    Raises:
        InputError: unknown name, or `log` for a form of scores, or `score` for one of errors.
    """
    if chosen not in LIKELIHOODS:
        raise InputError(f"likelihood `{chosen}`: choose one of {', '.join(LIKELIHOODS)}.")
    wrong = {"log": "score", "score": "log error"}.get(chosen)
    if form.scale == wrong:
        raise InputError(
            f"likelihood `{chosen}`: the law `{form.name}` is fitted on the {form.scale}, not so."
        )


@dataclass(frozen=True)
class BetaBinomial:
    """Right answers out of `trials` [n], with an overdispersion that all points share.

    The probability of a right answer varies around the curve's mean m as Beta(m s, (1 - m) s); the
    overdispersion is rho = 1 / (1 + s): two answers of a model correlate by rho (0: binomial), and
    the variance of a score is m (1 - m) (1 + (trials - 1) rho) / trials. Fitted as ln s.
    Source: Williams 1975 (Biometrics 31); the chance floor is the form's own asymptote.
    """

    trials: Array

    def losses(self, score: Array, mean: Array, log_precision: Array) -> Array:
        """Minus the log likelihood of each point; scores, means [..., n], ln s [..., 1]."""
        trials, right = self._counts(score)
        precision = np.exp(log_precision)
        a, b = mean * precision, (1 - mean) * precision
        ways = gammaln(trials + 1) - gammaln(right + 1) - gammaln(trials - right + 1)
        return np.asarray(betaln(a, b) - betaln(right + a, trials - right + b) - ways)

    def slopes(
        self, score: Array, mean: Array, log_precision: Array
    ) -> tuple[Array, Array, Array, Array, Array]:
        """Derivatives of the losses: by mean, by ln s; twice by mean, by both, twice by ln s."""
        trials, right = self._counts(score)
        s = np.exp(log_precision)
        wrong = trials - right
        a, b = mean * s, (1 - mean) * s
        a1, b1 = digamma(right + a) - digamma(a), digamma(wrong + b) - digamma(b)
        a2, b2 = trigamma(right + a) - trigamma(a), trigamma(wrong + b) - trigamma(b)
        s1, s2 = digamma(trials + s) - digamma(s), trigamma(trials + s) - trigamma(s)
        by_s = s1 - mean * a1 - (1 - mean) * b1
        twice_by_s = s2 - mean**2 * a2 - (1 - mean) ** 2 * b2
        by_both = (b1 - a1) + s * ((1 - mean) * b2 - mean * a2)
        return (
            s * (b1 - a1), s * by_s, -(s**2) * (a2 + b2), s * by_both, s**2 * twice_by_s + s * by_s
        )  # fmt: skip

    def information(self, mean: Array, log_precision: Array) -> Array:
        """The expected curvature by the mean: one over the variance of a score."""
        trials = np.minimum(self.trials, MOST_TRIALS)
        correlation = 1 / (1 + np.exp(log_precision))
        return trials / (mean * (1 - mean) * (1 + (trials - 1) * correlation))

    def _counts(self, score: Array) -> tuple[Array, Array]:
        trials = np.minimum(self.trials, MOST_TRIALS)
        return trials, (score * trials).clip(0, trials)


def trigamma(x: Array) -> Array:
    """The derivative of digamma for positive x, some times faster than SciPy's zeta(2, x).

    Its asymptotic series (Abramowitz and Stegun 6.4.12) beyond x + 6, the recurrence up to there;
    within 1e-9 of itself.
    """
    shifted = x + 6
    found = sum(1 / (x + step) ** 2 for step in range(6))
    u = 1 / shifted**2
    series = 1 / 6 - u * (1 / 30 - u * (1 / 42 - u * (1 / 30 - u * 5 / 66)))
    return np.asarray(found + 1 / shifted + u / 2 + series * u / shifted)


def overdispersion(log_precision: float) -> float:
    """The correlation of two answers, rho = 1 / (1 + s)."""
    return float(1 / (1 + np.exp(log_precision)))


def with_dispersion(form: Form) -> Form:
    """The form with ln s as a last parameter, which moves no prediction."""
    low, high = np.log(PRECISIONS)

    def also(limits: Array) -> Array:
        return np.vstack([limits, [low, high]])

    def starts(x: Array, y: Array) -> Array:
        known = form.starts(x, np.maximum(y, EDGE))
        precision = np.full((*known.shape[:-1], 1), np.log(START_PRECISION))
        return np.concatenate([known, precision], axis=-1)

    def rescale(values: Array, factor: Any) -> Array:
        return np.concatenate([form.rescale(values[..., :-1], factor), values[..., -1:]], axis=-1)

    def gradient(values: Array, x: Array) -> Array:
        found = form.gradient(values[..., :-1], x)
        return np.concatenate([found, np.zeros_like(found[..., :1, :])], axis=-2)

    return replace(
        form,
        parameters=(
            *form.parameters,
            Parameter(LOG_PRECISION, "how alike runs answer", "none", nuisance=True),
        ),
        curve=lambda values, x: form.curve(values[..., :-1], x),
        gradient=gradient,
        rescale=rescale,
        starts=starts,
        bounds=lambda x, y, fixed: also(form.bounds(x, y, fixed)),
        limits=lambda x, y, fixed: also(form.limits(x, y, fixed)),
    )


def sampling_errors(variances: Array, smallest: Array) -> Array:
    """Standard errors of points by test sampling alone: sqrt(max(v, f^2)), [n].

    Args:
        variances: on bootstrap resamples of the test examples, [n]; nan where unknown: then the
            largest of the others counts.
        smallest: half an example of each test set, [n].
    """
    known = np.isfinite(variances)
    filled = np.where(known, variances, variances[known].max() if known.any() else 0.0)
    return np.sqrt(np.maximum(filled, np.maximum(smallest, SMALLEST_ERROR_OF_SCORE) ** 2))


def extra_deviation(residuals: Array, errors: Array, parameters: int, delta: float) -> float:
    """tau: by how much runs differ beyond their test sampling.

    Chosen so that residuals r have the size that their standard errors promise,
    sum psi(r / sqrt(e^2 + tau^2))^2 = (n - p) E psi(normal)^2: Paule and Mandel 1982, with Huber's
    psi instead of squares so that an outlier does not widen every point's error; 0 where sampling
    alone explains them.

    Args:
        residuals: of the error or score, [n].
        errors: standard errors by test sampling, [n].
        parameters: how many were fitted.
        delta: of psi, in standard errors.
    """
    spare = max(1, len(residuals) - parameters)
    wanted = spare * _mean_square_of_psi(delta)

    def excess(tau: float) -> float:
        standard = residuals / np.sqrt(errors**2 + tau**2)
        return float((standard.clip(-delta, delta) ** 2).sum() - wanted)

    largest = 10 * float(np.abs(residuals).max()) * np.sqrt(len(residuals)) + float(errors.max())
    if excess(0.0) <= 0 or excess(largest) >= 0:
        return 0.0
    return float(optimize.brentq(excess, 0.0, largest, xtol=1e-9))


def _mean_square_of_psi(delta: float) -> float:
    """E psi(z)^2 of a standard normal z: 0.710 for delta 1.345."""
    if not np.isfinite(delta):
        return 1.0
    inside = stats.norm.cdf(delta) - stats.norm.cdf(-delta) - 2 * delta * stats.norm.pdf(delta)
    return float(inside + delta**2 * 2 * stats.norm.sf(delta))
