"""A model's decisions with everything that was measured of them; two models compared."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distillscale.evaluation import InDomain, Measurement, TaskInputs
from distillscale.evaluation.assessment import Assessment
from distillscale.evaluation.paired import Difference, McNemar, f1_differences, mcnemar


@dataclass(frozen=True)
class Subject:
    """What models were judged on. `categories` is the category of each class."""

    task: str
    data: str
    sha256: str
    examples: int
    classes: int
    categories: Mapping[str, str]


@dataclass(frozen=True)
class Judged:
    """A model, how it was asked, what it decided, what that is worth and what it costs."""

    model: str
    thinking: str
    inputs: TaskInputs
    result: InDomain
    gold: NDArray[np.intp]
    assessment: Assessment
    cost: Mapping[str, Measurement]

    @property
    def predicted(self) -> NDArray[np.intp]:
        """The decisions, by number of the label, shape [examples]."""
        return self.result.scores.argmax(axis=1)

    @property
    def measurements(self) -> dict[str, Measurement]:
        """Every measurement by its name; those of written answers only where it thinks."""
        both = (*self.result.measurements, *self.assessment.normalised)
        return {item.metric: item for item in both}


@dataclass(frozen=True)
class Comparison:
    """Paired tests of the first model against the second, on the same examples."""

    accuracy: McNemar
    f1: tuple[Difference, ...]


def compare(first: Judged, second: Judged) -> Comparison:
    """Test two models that were judged on the same examples."""
    gold = first.gold
    return Comparison(
        mcnemar(first.predicted == gold, second.predicted == gold),
        f1_differences(gold, first.predicted, second.predicted),
    )
