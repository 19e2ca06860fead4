"""One measured number of one checkpoint."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Measurement:
    """A metric's value with what is needed to judge it.

    Attributes:
        metric: the metric's name in the results table.
        value: the metric; None where it could not be measured (never 0.0 instead).
        chance: the value that guessing reaches; None where that is not defined.
        examples: number of test examples behind the value.
        replicates: the metric on bootstrap resamples of the test examples; empty where resampling
            does not apply.
    """

    metric: str
    value: float | None
    chance: float | None
    examples: int
    replicates: tuple[float, ...] = ()

    def interval(self, level: float = 0.9) -> tuple[float, float] | None:
        """The middle share of the replicates, by percentiles; None where there are none."""
        if not self.replicates:
            return None
        low, high = np.quantile(self.replicates, ((1 - level) / 2, (1 + level) / 2))
        return float(low), float(high)
