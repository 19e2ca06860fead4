"""The measured points behind one law, read from rows of the results table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from distillscale.laws.arrays import Array
from distillscale.laws.form import Form
from distillscale.laws.likelihoods import sampling_errors
from distillscale.laws.metrics import error_of, metric


@dataclass(frozen=True)
class Points:
    """Usable points of one metric, one an entry.

    `smallest` is the smallest error that the test set can show: half an example for shares of
    right answers, 0 for losses. `examples`: how many the test set had, nan where unknown.
    `dropped` counts rows that could not be used.
    """

    metric: str
    x: Array
    value: Array
    replicates: tuple[Array, ...]
    seeds: tuple[int, ...]
    cells: tuple[str, ...]
    stages: tuple[int, ...]
    smallest: Array
    examples: Array
    dropped: int

    def __len__(self) -> int:
        """The number of points."""
        return len(self.x)

    @property
    def distinct(self) -> int:
        """How many different x there are; those within about 1 % count as one."""
        return len(np.unique(np.round(np.log(self.x), 2)))

    def sampling_errors(self) -> Array:
        """Standard errors of the values by test sampling, from their replicates, [n]."""
        variances = [row.var() if len(row) > 1 else np.nan for row in self.replicates]
        half = 0.5 / np.where(self.examples > 0, self.examples, np.inf)
        return sampling_errors(np.array(variances), half)

    def on_scale(self, form: Form, values: Array) -> Array:
        """Values [..., points] as the form wants them.

        A perfect score has no logarithm, so errors below what the test set can show are set to it.
        Scores stay as they are: they may lie below chance, where no logarithm or logit exists,
        and near the ceiling a log error would be mostly noise.
        """
        if form.scale == "score":
            return values
        return np.maximum(error_of(self.metric, values), np.maximum(self.smallest, 1e-9))


def without_repetitions(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Rows of one metric, each run's measurement once: a table may hold a study twice.

    The same stage of the same cell and seed, at the same place, with the same value, is the same
    measurement; counted twice it would seem twice as sure.

    Args:
        rows: of the results table.
        columns: where the inputs are.
    """
    run = ["study", "cell", "stage", "seed", "value", *columns]
    return rows[~rows.duplicated(list(dict.fromkeys(run)))]


def read_points(rows: pd.DataFrame, form: Form, x: str) -> Points:
    """Take the points of one metric out of rows of the results table.

    Args:
        rows: rows of a single metric.
        x: the column to read x from.
    """
    name = str(rows["metric"].iloc[0])
    values = rows["value"].to_numpy(dtype=float)
    places = rows[x].to_numpy(dtype=float)
    usable = np.isfinite(values) & np.isfinite(places) & (places > 0)
    smallest = np.zeros(len(rows))
    tests = rows["examples"].to_numpy(dtype=float)
    if form.scale == "log error" and metric(name).bounded:
        usable &= tests > 0
        smallest[usable] = 0.5 / tests[usable]
    elif form.scale == "log error":
        usable &= error_of(name, values) > 0
    kept = rows[usable]
    return Points(
        metric=name,
        x=places[usable],
        value=values[usable],
        replicates=tuple(read_replicates(entry) for entry in kept["replicates"]),
        seeds=tuple(int(seed) for seed in kept["seed"]),
        cells=tuple(
            f"{study}/{cell}" for study, cell in zip(kept["study"], kept["cell"], strict=True)
        ),
        stages=tuple(int(stage) for stage in kept["stage"]),
        smallest=smallest[usable],
        examples=tests[usable],
        dropped=int((~usable).sum()),
    )


def read_replicates(entry: object) -> Array:
    """One entry of the `replicates` column as an array; empty where there are none usable."""
    if not isinstance(entry, list | tuple | np.ndarray):
        return np.zeros(0)
    replicates = np.asarray(entry, dtype=float)
    return replicates if np.isfinite(replicates).all() else np.zeros(0)
