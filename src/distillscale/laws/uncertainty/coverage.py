"""Coverage simulation: how often would each method's intervals hold the truth, on this design?

The fitted curves are taken as the truth and the estimated variance components as the noise. The
whole study is simulated again and again, fitted again with everything that intervals rest on
estimated anew (the curve, the variance components), and it is counted how often each interval
holds the truth. Chosen are the methods of least width among those that hold it often enough.

Where an interval reaches an end of what is possible (a floor of zero), the truth cannot lie beyond,
so such an interval is a bound that holds the truth more often than its level; it is no fault.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from distillscale.laws.arrays import Array
from distillscale.laws.solve import solve
from distillscale.laws.uncertainty.fitted import Fitted
from distillscale.laws.uncertainty.intervals import (
    DRAWS,
    FIRST_ORDER,
    METHODS,
    Choice,
    Intervals,
    intervals,
    refusal,
    stretched,
    widths,
)
from distillscale.laws.uncertainty.noise import Noise, draw_errors, estimate_noise
from distillscale.laws.uncertainty.targets import Target, targets_of

NOMINAL = 0.95
STUDIES = 500
REPLICATES = 200
WANTED = (0.92, 0.98)
SLACK = 1e-6  # of rounding
CURVE = "curve at"
STRETCHES = (1.1, 1.2, 1.3, 1.5)  # tried for the curve, where no method holds by itself
MOSTLY = 0.5  # with more open intervals than this a target is only bounded


@dataclass(frozen=True)
class Coverage:
    """How a method's intervals of one target did.

    Attributes:
        method: key in `METHODS`.
        target: a parameter, or the curve at a place.
        coverage: share of simulated studies whose interval holds the truth.
        error: Monte-Carlo standard error of that share.
        width: median width: high minus low, or high / low where `ratio`.
        ratio: whether the target is positive by nature, so that widths are factors.
        open: share of the intervals that reach an end of what is possible.
        studies: how many were simulated.
        stretch: how many times as wide as the method's own the intervals were made.
    """

    method: str
    target: str
    coverage: float
    error: float
    width: float
    ratio: bool
    open: float
    studies: int
    stretch: float = 1.0

    @property
    def holds(self) -> bool:
        """Whether the coverage lies within 92 and 98 %; mere bounds may hold more often."""
        low, high = WANTED
        return low <= self.coverage and (self.coverage <= high or self.open > MOSTLY)


@dataclass(frozen=True)
class Simulation:
    """A coverage simulation's outcome, and the method that it chooses.

    Attributes:
        table: one entry a method and target.
        chosen: for the curve the method of least width among those whose coverage lies within 92
            and 98 % at all places, where there is none the same with stretched intervals; for a
            parameter the curve's where it does there, else the narrowest that does; where there is
            none, the one nearest to nominal.
        within: whether all that were chosen do.
        noise: what was simulated.
        refusals: why methods are missing, one sentence each.
    """

    table: tuple[Coverage, ...]
    chosen: Choice
    within: bool
    noise: Noise
    refusals: tuple[str, ...]

    @property
    def of_chosen(self) -> tuple[Coverage, ...]:
        """How the chosen method of each target did."""
        curve = self.chosen.curve, self.chosen.stretch
        return tuple(
            entry
            for entry in self.table
            if (entry.method, entry.stretch)
            == (curve if entry.target.startswith(CURVE) else (self.chosen.of(entry.target), 1.0))
        )


def simulate_coverage(
    laws: Sequence[Fitted],
    noise: Noise | None = None,
    *,
    studies: int = STUDIES,
    replicates: int = REPLICATES,
    level: float = NOMINAL,
    methods: Sequence[str] = tuple(METHODS),
    seed: int = 0,
) -> Simulation:
    """Simulate studies like this one and count how often intervals hold the truth.

    Args:
        laws: the study's fitted laws of one form and metric (b = 1 each), which share their noise.
            Each simulated study is judged by the intervals of one of them, in turn.
        noise: what is simulated; None: what the laws' residuals show.
        studies: how many to simulate.
        replicates: of each bootstrap.
        level: nominal coverage.
        methods: keys in `METHODS`.
        seed: of the chance.

    Raises:
        InputError: the laws leave nothing over to estimate noise from.
    """
    noise = noise or estimate_noise(laws)
    generator = np.random.default_rng(seed)
    usable = [method for method in methods if not refusal(laws[0], method)]
    outcomes: dict[tuple[str, str, float], list[Array]] = {}
    for which, law in enumerate(laws):
        count = len(range(which, studies, len(laws)))
        if count == 0:
            continue
        simulated = [_simulated(other, noise, count, generator) for other in laws]
        found = estimate_noise(simulated)
        targets = _targets(law)
        for method in usable:
            held = intervals(
                simulated[which], found, targets, method, level, replicates=replicates, seed=which
            )
            for stretch in (1.0, *STRETCHES) if method == FIRST_ORDER else (1.0,):
                wide = (
                    stretched(held, targets, simulated[which].estimate, stretch)
                    if stretch > 1
                    else held
                )
                for name, outcome in zip(
                    _names(targets), _outcomes(law, wide, targets), strict=True
                ):
                    if stretch == 1 or name.startswith(CURVE):
                        outcomes.setdefault((method, name, stretch), []).append(outcome)
    ratio = {name: t.logarithm for name, t in zip(_names(targets), targets, strict=True)}
    table = tuple(
        _entry(*key, ratio[key[1]], np.concatenate(parts, axis=1))
        for key, parts in outcomes.items()
    )
    chosen, within = _choice(table, level)
    reasons = [refusal(laws[0], method) for method in methods]
    return Simulation(table, chosen, within, noise, tuple(filter(None, reasons)))


def _outcomes(law: Fitted, held: Intervals, targets: Sequence[Target]) -> Iterator[Array]:
    """For each target: whether intervals hold the truth, their widths, and if they are open."""
    width = widths(held, targets)
    for k, target in enumerate(targets):
        low, high = held.low[:, k], held.high[:, k]
        truth = float(target.value(law.estimate)[0])
        inside = (low <= truth + SLACK * abs(truth)) & (high >= truth - SLACK * abs(truth))
        room = SLACK * abs(target.high) if np.isfinite(target.high) else 0.0
        least = target.low + SLACK * max(abs(target.low), abs(truth))
        is_open = (low <= least) | (high >= target.high - room)
        yield np.stack([inside.astype(float), width[:, k], is_open.astype(float)])


def _simulated(law: Fitted, noise: Noise, count: int, generator: np.random.Generator) -> Fitted:
    """The law fitted to data sets that its own curve and the noise might have given."""
    form, runs = law.problem.form, law.runs
    errors = draw_errors(runs, np.repeat(noise.variances, count, axis=0), generator)
    y = law.measured(law.fitted_values + errors)
    bounds = np.stack([form.bounds(law.problem.x, row, law.known) for row in y])
    rows = law.problem.rows(np.zeros(count, dtype=int))
    problem = replace(rows, y=y, low=bounds[..., 0], high=bounds[..., 1])
    return Fitted(problem, solve(problem)[0], runs, law.reference)


def _targets(law: Fitted) -> tuple[Target, ...]:
    """The parameters, and the curve at the lowest, middle and highest x."""
    form, x = law.problem.form, law.problem.x
    # The widest limits that any data set could have: the truth itself must lie inside.
    limits = form.bounds(x, law.problem.y[0], law.known)
    ends = np.atleast_2d(x)
    places = [np.exp(np.quantile(np.log(ends), q, axis=1)) for q in (0.0, 0.5, 1.0)]
    scaled = [np.squeeze(place * np.atleast_1d(law.reference)) for place in places]
    return targets_of(form, law.reference, limits, scaled)


def _names(targets: Sequence[Target]) -> list[str]:
    places = iter(f"{CURVE} {where} x" for where in ("lowest", "middle", "highest"))
    return [next(places) if target.parameter is None else target.name for target in targets]


def _entry(method: str, name: str, stretch: float, ratio: bool, outcomes: Array) -> Coverage:
    inside, width, is_open = outcomes
    share, count = float(inside.mean()), len(inside)
    error = float(np.sqrt(max(share * (1 - share), 0.25 / count) / count))
    return Coverage(
        method, name, share, error, float(np.median(width)), ratio, float(is_open.mean()), count,
        stretch,
    )  # fmt: skip


def _choice(table: Sequence[Coverage], level: float) -> tuple[Choice, bool]:
    """Methods for the curve and the parameters, and whether all of them hold."""
    of_curve = [entry for entry in table if entry.target.startswith(CURVE)]
    plain = [e for e in of_curve if e.method in DRAWS and e.stretch == 1]
    (curve, stretch), held = _best(plain, level)
    if not held:
        (curve, stretch), held = _best([e for e in of_curve if e.method in DRAWS], level)
    others: dict[str, str] = {}
    for name in dict.fromkeys(e.target for e in table if not e.target.startswith(CURVE)):
        own = [entry for entry in table if entry.target == name]
        if any(entry.method == curve and entry.holds for entry in own):
            continue
        (method, _), holds = _best(own, level)
        held = held and holds
        if method != curve:
            others[name] = method
    return Choice(curve, others, stretch), held


def _best(entries: Sequence[Coverage], level: float) -> tuple[tuple[str, float], bool]:
    """The narrowest method that holds for all of some targets, else that nearest to nominal."""
    own: dict[tuple[str, float], list[Coverage]] = {}
    for entry in entries:
        own.setdefault((entry.method, entry.stretch), []).append(entry)
    holding = [method for method, mine in own.items() if all(entry.holds for entry in mine)]
    if holding:
        least = {e.target: min(o.width for o in entries if o.target == e.target) for e in entries}
        return min(
            holding, key=lambda m: np.mean([np.log(e.width / least[e.target]) for e in own[m]])
        ), True
    return min(own, key=lambda m: max(abs(entry.coverage - level) for entry in own[m])), False
