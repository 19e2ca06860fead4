"""Intervals by a named method, with what they cover in words, or a refusal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.uncertainty.cluster import cluster_intervals
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.jacobian import components_t, sandwich_t
from distillscale.laws.uncertainty.noise import Noise
from distillscale.laws.uncertainty.parametric import parametric_intervals
from distillscale.laws.uncertainty.profiled import profile_intervals
from distillscale.laws.uncertainty.targets import Target
from distillscale.laws.uncertainty.wild import wild_intervals

REPLICATES = 400
# Assumptions, after the simulations of Cameron, Gelbach and Miller 2008: below ten clusters pairs
# bootstraps miss often, and wild ones below six have too few different replicates.
FEWEST_RUNS = {"cluster_bootstrap": 10, "wild_cluster": 6, "jacobian_t": 4}

Ends = tuple[Array, Array]
Method = Callable[[Fitted, Noise, Sequence[Target], float, int, int], Ends]


@dataclass(frozen=True)
class Intervals:
    """Intervals of some targets for b data sets.

    Attributes:
        method: key in `METHODS`.
        names: of the targets.
        low: [b, targets].
        high: [b, targets].
        level: at which they should hold the truth.
        covers: which variation they cover, and from how many runs, in words.
    """

    method: str
    names: tuple[str, ...]
    low: Array
    high: Array
    level: float
    covers: str

    def of(self, name: str, row: int = 0) -> tuple[float, float]:
        """The interval of one target."""
        column = self.names.index(name)
        return float(self.low[row, column]), float(self.high[row, column])


METHODS: dict[str, Method] = {
    "cluster_bootstrap": lambda fit, _noise, targets, level, replicates, seed: cluster_intervals(
        fit, targets, level, replicates, seed
    ),
    "wild_cluster": lambda fit, _noise, targets, level, replicates, seed: wild_intervals(
        fit, targets, level, replicates, seed
    ),
    "parametric": parametric_intervals,
    "jacobian_t": lambda fit, _noise, targets, level, _replicates, _seed: sandwich_t(
        fit, targets, level
    ),
    "components_t": lambda fit, noise, targets, level, _replicates, _seed: components_t(
        fit, noise, targets, level
    ),
    "profile": lambda fit, noise, targets, level, _replicates, _seed: profile_intervals(
        fit, noise, targets, level
    ),
}


def intervals(
    fit: Fitted,
    noise: Noise,
    targets: Sequence[Target],
    method: str,
    level: float,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Intervals:
    """Intervals of the targets by a method.

    Args:
        fit: the fitted law, for one data set or many.
        noise: its variance components (see `estimate_noise`).
        targets: what intervals are wanted for (see `targets_of`).
        method: key in `METHODS`.
        level: at which they should hold the truth.
        replicates: of the bootstraps.
        seed: of the bootstraps.

    Raises:
        InputError: unknown method, or fewer runs than it needs.
    """
    reason = refusal(fit, method)
    if reason:
        raise InputError(reason)
    low, high = METHODS[method](fit, noise, targets, level, replicates, seed)
    names = tuple(target.name for target in targets)
    return Intervals(method, names, low, high, level, covers(fit, noise, method))


def refusal(fit: Fitted, method: str) -> str:
    """Why a method cannot be used, in one sentence; empty if it can."""
    if method not in METHODS:
        return f"method `{method}`: no such method of intervals; there are {', '.join(METHODS)}."
    fewest, runs = FEWEST_RUNS.get(method, 1), fit.runs.count
    if runs < fewest:
        return (
            f"method `{method}` needs {fewest} runs and this law has {runs}; components_t and "
            "profile do with fewer, as they pool the noise over the study's laws."
        )
    return ""


def covers(fit: Fitted, noise: Noise, method: str) -> str:
    """Which variation the intervals cover."""
    runs = "1 run" if fit.runs.count == 1 else f"{fit.runs.count} runs"
    if noise.laws > 1 and method in ("parametric", "components_t", "profile"):
        runs += f", noise pooled over the {noise.runs} runs of {noise.laws} laws"
    test = " and test sampling" if fit.runs.tested else ", not test sampling"
    return f"intervals cover run-to-run variation ({runs}){test}; method {method}"


def widths(found: Intervals, targets: Sequence[Target]) -> Array:
    """How wide each interval is: high minus low, or on a logarithmic scale high / low, [b, t]."""
    logarithm = np.array([target.logarithm for target in targets])
    with np.errstate(divide="ignore", over="ignore"):
        ratio = found.high / np.maximum(found.low, 1e-300)
    return np.where(logarithm, ratio, found.high - found.low)
