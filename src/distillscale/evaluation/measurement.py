"""One measured number of one checkpoint."""

from dataclasses import dataclass


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
