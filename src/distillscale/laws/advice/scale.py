"""The scale on which the spread of runs is pooled: there it depends little on the value itself.

Shares in [0, 1] (accuracy, F1, benchmarks) are turned into angles, 2 arcsin sqrt(v): a share of n
examples then has variance 1/n whatever its size (Anscombe 1948). Positive quantities (losses,
times) are turned into logarithms: runs differ by a share of them. An interval made there and turned
back stays where the metric can be.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from distillscale.laws.arrays import Array
from distillscale.laws.metrics import METRICS, metric


@dataclass(frozen=True)
class Scale:
    """There and back; both take and give arrays or numbers."""

    name: str
    there: Callable[[Any], Any]
    back: Callable[[Any], Any]


def angle(examples: float) -> Scale:
    """For shares of so many examples: one of none or all counts as a quarter of an example off."""
    nearest = 0.25 / max(examples, 1.0)

    def there(value: Any) -> Any:
        return 2 * np.arcsin(np.sqrt(np.clip(value, nearest, 1 - nearest)))

    return Scale("angle", there, _share)


def _share(angle: Any) -> Any:
    return np.sin(np.clip(angle, 0, np.pi) / 2) ** 2


def _logarithm(value: Any) -> Any:
    return np.log(np.maximum(value, 1e-12))


LOGARITHM = Scale("logarithm", _logarithm, np.exp)
PLAIN = Scale("value", np.asarray, np.asarray)


def scale_of(rows: pd.DataFrame) -> Scale:
    """The scale of a metric, by what it is and the values that it took in rows of it."""
    name = str(rows["metric"].iloc[0])
    values = rows["value"].dropna().to_numpy(dtype=float)
    if looks_bounded(name, values):
        return angle(float(rows["examples"].median()))
    return LOGARITHM if (values > 0).all() else PLAIN


def looks_bounded(name: str, values: Array) -> bool:
    """Whether a metric is a share; an unlisted one (a cost, say) with other values is none."""
    return metric(name).bounded and bool(((values >= 0) & (values <= 1)).all())


def direction_known(name: str, values: Array) -> bool:
    """Whether it is known which direction of a metric is better."""
    return name in METRICS or looks_bounded(name, values)
