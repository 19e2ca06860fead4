"""Which points come from one run, and how their errors hang together.

The unit of variation is the run: a cell, that is a chain of stages with one seed. Its points share
errors in two ways. Each stage inherits the error of the stage before it, as a random walk along
the chain; and all points were measured on the same test examples.

Cells with equal values at every stage are one run: chains without chance in them (pruned only)
repeat themselves whatever their seed. The teacher, stage 0 of every chain, was measured once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distillscale.laws.arrays import Array
from distillscale.laws.form import Form
from distillscale.laws.points import Points

TEACHER = -1  # the run of stage 0, which no chain made


@dataclass(frozen=True)
class Runs:
    """The structure of n points' errors.

    Attributes:
        run: which run each point belongs to, [n]; `TEACHER` at stage 0.
        stage: how many times each point's model was pruned and trained, [n].
        test: covariance of the points through the test examples, on the errors' scale, [n, n].
        tested: whether `test` holds anything (measured or assumed).
    """

    run: NDArray[np.int64]
    stage: NDArray[np.int64]
    test: Array
    tested: bool = True

    def __len__(self) -> int:
        """The number of points."""
        return len(self.run)

    @property
    def count(self) -> int:
        """The number of runs, the teacher not counted."""
        return len(set(self.run.tolist()) - {TEACHER})

    @property
    def chained(self) -> bool:
        """Whether some run has several stages, so that errors can be inherited."""
        return bool((np.triu(self.same_run & (self.stage > 0), 1) & ~self.same_point).any())

    @property
    def same_run(self) -> NDArray[np.bool_]:
        """Which pairs of points come from one run, [n, n]."""
        return self.run[:, None] == self.run[None, :]

    @property
    def same_point(self) -> NDArray[np.bool_]:
        """Which pairs are one model measured once and listed twice, [n, n]."""
        return self.same_run & (self.stage[:, None] == self.stage[None, :])

    def components(self) -> Array:
        """Covariance of the points' errors per unit of each variance component, [k, n, n].

        First a deviation of each model's own; where runs have several stages, also the steps of a
        random walk from stage to stage, of which two stages share as many as the earlier one has.
        """
        own = self.same_point.astype(float)
        if not self.chained:
            return own[None]
        earlier = np.minimum(self.stage[:, None], self.stage[None, :])
        return np.stack([own, self.same_run * earlier])


def runs_of(points: Points, form: Form, *, logarithm: bool) -> Runs:
    """The structure of the points of one law.

    Args:
        points: of the law.
        form: of the law.
        logarithm: whether errors are taken on the logarithm of the metric's error.
    """
    test, tested = _test_covariance(points, form, logarithm)
    run = _run_numbers(points.cells, points.stages, points.value)
    return Runs(run, np.array(points.stages, dtype=int), test, tested)


def _run_numbers(cells: Sequence[str], stages: Sequence[int], values: Array) -> NDArray[np.int64]:
    """Cells numbered; those with equal values at equal stages have one number."""
    histories: dict[str, list[tuple[int, float]]] = {}
    for cell, stage, value in zip(cells, stages, values.tolist(), strict=True):
        if stage > 0:
            histories.setdefault(cell, []).append((stage, value))
    numbers: dict[object, int] = {}
    known = {
        cell: numbers.setdefault(_history(cell, found), len(numbers))
        for cell, found in histories.items()
    }
    return np.array(
        [known[cell] if stage else TEACHER for cell, stage in zip(cells, stages, strict=True)]
    )


def _history(cell: str, found: list[tuple[int, float]]) -> object:
    """What tells a run from others: its values where it has several, else its name.

    One equal number may be chance (scores are counts of a few hundred), a whole chain is not.
    """
    return tuple(sorted(found)) if len(found) > 1 else cell


def _test_covariance(points: Points, form: Form, logarithm: bool) -> tuple[Array, bool]:
    """From the replicates on common resamples of the test examples; zero without them."""
    count, tests = len(points), min((len(row) for row in points.replicates), default=0)
    if tests < 2:
        return np.zeros((count, count)), False
    stacked = np.stack([row[:tests] for row in points.replicates], axis=1)
    found = points.on_scale(form, stacked)
    scaled = np.log(found) if logarithm else found
    return np.cov(scaled, rowvar=False).reshape(count, count), True
