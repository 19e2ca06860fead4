"""What a functional form is.

Shapes: parameters [..., p], predictions [..., n], derivatives [..., p, n]; x [n], or [k, n] for a
form of k inputs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from distillscale.laws.arrays import Array

LARGEST_EXPONENT = 5.0


@dataclass(frozen=True)
class Parameter:
    """A parameter of a form.

    `open_low` and `open_high`: the search stops at that bound although values beyond it make
    sense, so an interval that reaches it is no answer. `rests_on` names the parameter without
    which this one has no meaning. `fixed`: known beforehand, never fitted. `nuisance`: fitted, but
    of the noise, not of the curve.
    """

    name: str
    meaning: str
    unit: str
    open_low: bool = False
    open_high: bool = False
    rests_on: str | None = None
    fixed: bool = False
    nuisance: bool = False


@dataclass(frozen=True)
class Form:
    """A functional form.

    Attributes:
        name: key in `FORMS`.
        formula: as a person writes it.
        source: where the form comes from.
        inputs: what its predictors are, one name each; x is [n] for one, [k, n] for several.
        linear: parameters that enter linearly with a non-negative sign, so that they can be
            projected out (see `projection`).
        unscaled: inputs whose unit is fixed by y's (a loss), so that x / s leaves them alone.
        scale: where residuals are taken: the log of the error, or the score itself.
        parameters: in the order of the arrays' last axis.
        curve: (parameters, x) -> predictions: errors or scores, by `scale`.
        gradient: (parameters, x) -> derivatives of the curve by each parameter.
        rescale: (parameters for x / s, s) -> parameters for x; s is [k] for several inputs.
        starts: (x, y [b, n]) -> starting points [b, starts, p].
        bounds: (x, y [n], fixed values) -> search bounds [p, 2].
        limits: as `bounds`, but the range in which a parameter lies whatever the data say; an
            interval as wide as this means that the data do not identify it.
    """

    name: str
    formula: str
    source: str
    scale: Literal["log error", "score"]
    parameters: tuple[Parameter, ...]
    curve: Callable[[Array, Array], Array]
    gradient: Callable[[Array, Array], Array]
    rescale: Callable[[Array, Any], Array]
    starts: Callable[[Array, Array], Array]
    bounds: Callable[[Array, Array, Mapping[str, float]], Array]
    limits: Callable[[Array, Array, Mapping[str, float]], Array]
    inputs: tuple[str, ...] = ("x",)
    linear: tuple[str, ...] = ()
    unscaled: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters, in order."""
        return tuple(parameter.name for parameter in self.parameters)

    def reference(self, x: Array) -> Array:
        """Where x is divided so that parameters come out of order one: its geometric mean, [k].

        With one input a scalar array.
        """
        kept = np.array([name not in self.unscaled for name in self.inputs])
        places = np.exp(np.log(x).mean(axis=-1))
        return places if x.ndim == 1 else np.where(kept, places, 1.0)

    @property
    def free(self) -> tuple[Parameter, ...]:
        """The parameters that are fitted."""
        return tuple(parameter for parameter in self.parameters if not parameter.fixed)
