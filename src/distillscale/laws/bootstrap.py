"""What the measured values might have been: resampled runs and test examples.

Draw b takes the b-th bootstrap resample of the test examples for all points alike (they were made
from the same resamples, so differences between cells keep their pairing) and, where there are
enough seeds, a random choice of seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distillscale.laws.arrays import Array

FEWEST_SEEDS = 3
DRAWS_WITHOUT_REPLICATES = 200
LEVEL = 0.9

TEST_ONLY = "intervals cover test sampling only, not run-to-run variation"
RUNS_AND_TEST = "intervals cover run-to-run variation ({seeds} seeds) and test sampling"
RUNS_ONLY = "intervals cover run-to-run variation only ({seeds} seeds), not test sampling"
NOTHING = "no intervals: fewer than {fewest} seeds and no replicates of the test examples"


@dataclass(frozen=True)
class Draws:
    """Resampled points: their values and how often each counts, both [draws, points].

    `covers` says in words which variation an interval made from them covers.
    """

    values: Array
    weights: Array
    covers: str

    def means(self) -> Array:
        """The weighted mean over the points of each draw, [draws]."""
        return (self.values * self.weights).sum(axis=1) / self.weights.sum(axis=1)


def draw(
    values: Array, replicates: Sequence[Array], run_seeds: Sequence[int], *, seed: int = 0
) -> Draws:
    """Resample points.

    Args:
        values: the measured value of each point.
        replicates: for each point its values on resamples of the test examples; they are used
            where every point has some.
        run_seeds: the seed of the run behind each point; from three different ones on they are
            resampled as wholes, a seed's points together.
        seed: of the random choice of seeds.
    """
    runs, run = np.unique(np.asarray(run_seeds), return_inverse=True)
    tests = min((len(row) for row in replicates), default=0)
    count = tests or (DRAWS_WITHOUT_REPLICATES if len(runs) >= FEWEST_SEEDS else 0)
    resampled = np.tile(values, (count, 1))
    if tests:
        resampled = resampled + _centred(replicates, tests)
    weights = np.ones((count, len(values)))
    if len(runs) >= FEWEST_SEEDS:
        weights = _run_counts(len(runs), count, seed)[:, run]
    return Draws(resampled, weights, _covers(tests, len(runs)))


def interval(draws: Array, level: float = LEVEL) -> tuple[float, float] | None:
    """The percentile interval that leaves out (1 - level) / 2 on each side; None without draws."""
    if len(draws) == 0:
        return None
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def at_level(covers: str, level: float) -> str:
    """What intervals cover, with their level: `90% intervals cover ...`."""
    return f"{level:.0%} {covers}" if covers.startswith("intervals") else covers


def _centred(replicates: Sequence[Array], tests: int) -> Array:
    """Deviations of the replicates from their mean, [tests, points].

    The mean is taken off because the replicates of some metrics are biased: a resample misses
    rare classes, which moves macro F1 as a whole.
    """
    stacked = np.stack([np.asarray(row, dtype=float)[:tests] for row in replicates], axis=1)
    return stacked - stacked.mean(axis=0)


def _run_counts(runs: int, count: int, seed: int) -> Array:
    """How often each run is drawn, [count, runs].

    One run fewer than there are is drawn: with all of them, the spread of few runs would come out
    too small by (runs - 1) / runs (Rao and Wu 1988).
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(runs - 1, np.full(runs, 1 / runs), size=count).astype(float)


def _covers(tests: int, runs: int) -> str:
    if runs >= FEWEST_SEEDS:
        return (RUNS_AND_TEST if tests else RUNS_ONLY).format(seeds=runs)
    return TEST_ONLY if tests else NOTHING.format(fewest=FEWEST_SEEDS)
