"""p-values of several tests, so that one of them at level a is rarely wrong by chance alone."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment (Holm 1979): the chance of any false finding in the family.

    A missing p-value (a contrast that could not be tested) stays missing and does not count.
    """
    tested = [place for place, p in enumerate(p_values) if p is not None and not np.isnan(p)]
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(tested, key=lambda place: p_values[place] or 0.0)):
        largest = max(largest, min(1.0, (len(tested) - rank) * float(p_values[place] or 0.0)))
        adjusted[place] = largest
    return adjusted
