"""Intervals by a named method, with what they cover in words, or a refusal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from distillscale.errors import InputError
from distillscale.laws.arrays import Array
from distillscale.laws.uncertainty.cluster import cluster_draws, cluster_intervals
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.jacobian import components_t, sandwich_t
from distillscale.laws.uncertainty.noise import Noise
from distillscale.laws.uncertainty.parametric import (
    first_order_draws,
    parametric_draws,
    parametric_intervals,
)
from distillscale.laws.uncertainty.profiled import profile_intervals
from distillscale.laws.uncertainty.targets import Target
from distillscale.laws.uncertainty.wild import wild_draws, wild_intervals

REPLICATES = 400
# Assumptions, after the simulations of Cameron, Gelbach and Miller 2008: below ten clusters pairs
# bootstraps miss often, and wild ones below six have too few different replicates.
FEWEST_RUNS = {"cluster_bootstrap": 10, "wild_cluster": 6, "jacobian_t": 4}

Ends = tuple[Array, Array]
Draw = Callable[[Fitted, Noise, int, int], Array]
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


DRAWS: dict[str, Draw] = {
    "parametric": parametric_draws,
    "components_t": first_order_draws,
    "wild_cluster": lambda fit, _noise, replicates, seed: wild_draws(fit, replicates, seed),
    "cluster_bootstrap": lambda fit, _noise, replicates, seed: cluster_draws(fit, replicates, seed),
}
"""Methods that draw parameters, [b, r, p], so that the curve has an interval anywhere."""
REFITTED = ("parametric", "wild_cluster", "cluster_bootstrap")
FIRST_ORDER = "components_t"
"""The method whose draws tell how the curve moves to first order, instead of other curves."""


@dataclass(frozen=True)
class Choice:
    """By which methods a law's intervals are made.

    Attributes:
        curve: of the curve at any x, and of the draws; key in `DRAWS`.
        parameters: key in `METHODS`, of the parameters whose method is another one.
        stretch: how many times as wide the curve's intervals are made, where no method's hold
            often enough by themselves; only with `FIRST_ORDER`.
    """

    curve: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    stretch: float = 1.0

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            InputError: a method that there is not, or one without draws for the curve.
        """
        for name, method in self.parameters.items():
            if method not in METHODS:
                raise InputError(
                    f"`{method}` for {name}: no such method of intervals; there are "
                    f"{', '.join(METHODS)}."
                )
        if self.curve not in DRAWS:
            raise InputError(f"`{self.curve}` for the curve: it must be one of {', '.join(DRAWS)}.")
        if not (self.stretch == 1 or (self.curve == FIRST_ORDER and 1 < self.stretch <= 2)):
            raise InputError(
                f"stretch {self.stretch} for the curve by {self.curve}: it must be 1, or from 1 to "
                f"2 with {FIRST_ORDER}."
            )

    def of(self, parameter: str) -> str:
        """The method of a parameter."""
        return self.parameters.get(parameter, self.curve)

    def __str__(self) -> str:
        """As `components_t, A and alpha by profile`."""
        others = sorted(set(self.parameters.values()))
        texts = [
            f"{' and '.join(n for n, m in self.parameters.items() if m == other)} by {other}"
            for other in others
        ]
        wider = f" (curve's widths x{self.stretch:g})" if self.stretch > 1 else ""
        return ", ".join([self.curve + wider, *texts])


CHOSEN = {
    "size": Choice("parametric", {"A": "components_t", "alpha": "profile"}),
    "collapse": Choice("components_t", {"r_star": "profile"}, stretch=1.1),
}
"""What the coverage simulation chose on the lab's design with the lab's curves and noise
(`bench/coverage.py`); `laws coverage` chooses anew on a user's."""
ELSE = Choice("parametric")


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


def stretched(
    found: Intervals, targets: Sequence[Target], estimates: Array, factor: float
) -> Intervals:
    """Intervals whose ends are so many times as far from the estimates, on the targets' scales.

    Args:
        found: the intervals.
        targets: what they are of.
        estimates: parameters, [b, p].
        factor: at least 1.
    """
    ends = []
    for side in (found.low, found.high):
        moved = np.empty(side.shape)
        for k, target in enumerate(targets):
            middle = target.on_scale(estimates)
            moved[:, k] = target.back(middle + factor * (target.scaled(side[:, k]) - middle))
        ends.append(moved)
    return replace(found, low=ends[0], high=ends[1])


def refusal(fit: Fitted, method: str) -> str:
    """Why a method cannot be used, in one sentence; empty if it can."""
    if method not in METHODS:
        return f"method `{method}`: no such method of intervals; there are {', '.join(METHODS)}."
    fewest, runs = FEWEST_RUNS.get(method, 0), fit.runs.count
    if runs < fewest:
        return (
            f"method `{method}` needs {fewest} runs and this law has {runs}; components_t and "
            "profile do with fewer, as they pool the noise over the study's laws."
        )
    return ""


def covers(fit: Fitted, noise: Noise, methods: Choice | str) -> str:
    """Which variation the intervals cover."""
    method = methods if isinstance(methods, str) else methods.curve
    runs = "1 run" if fit.runs.count == 1 else f"{fit.runs.count} runs"
    if noise.laws > 1 and method in ("parametric", "components_t", "profile"):
        runs += f", noise pooled over the {noise.runs} runs of {noise.laws} laws"
    test = " and test sampling" if fit.runs.tested else ", not test sampling"
    return f"intervals cover run-to-run variation ({runs}){test}; method {methods}"


def widths(found: Intervals, targets: Sequence[Target]) -> Array:
    """How wide each interval is: high minus low, or on a logarithmic scale high / low, [b, t]."""
    logarithm = np.array([target.logarithm for target in targets])
    with np.errstate(divide="ignore", over="ignore"):
        ratio = found.high / np.maximum(found.low, 1e-300)
    return np.where(logarithm, ratio, found.high - found.low)
