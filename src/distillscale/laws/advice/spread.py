"""How far one run falls from what its setting gives on average.

Runs repeated with another seed tell it directly. In a table of single runs nothing does; then what
the laws leave unexplained stands in for it (it holds their misfit too, so it is rather too large),
and for metrics without a law what straight lines through neighbouring sizes leave (Gasser, Sroka
and Jennen-Steinmetz 1986). All settings of a task are pooled on the metric's scale, where the
spread depends little on the value (an assumption). The teacher is no run, and models that are never
trained scatter less than trained ones: both are left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from distillscale.laws.advice.law_points import UNTRAINED, LawPoints
from distillscale.laws.advice.scale import Scale
from distillscale.laws.arrays import Array
from distillscale.laws.settings import SETTING

FEWEST_DEGREES = 2  # of freedom; a variance from fewer says nothing
Run = tuple[str, int]


@dataclass(frozen=True)
class Spread:
    """The variance of one run on the metric's scale, and that of a law's misfit.

    `degrees`: of freedom behind it. `origin`: where it comes from, in words. `residuals`: by cell
    and stage, those it was made from; two metrics' are compared to see whether they err together.
    `misfit`: of the law that predicts, with its `misfit_degrees` (see the module of that name).
    """

    variance: float
    degrees: float
    origin: str
    residuals: Mapping[Run, float] = field(default_factory=dict, compare=False, repr=False)
    misfit: float = 0.0
    misfit_degrees: float = inf

    def total(self, runs: float, places: float, known: float = 0.0) -> tuple[float, float]:
        """A variance made of these, and its degrees of freedom (Satterthwaite 1946).

        Args:
            runs: how many times the variance of one run counts.
            places: how many times that of the misfit.
            known: variance besides, which is known.
        """
        parts = [(runs * self.variance, self.degrees), (places * self.misfit, self.misfit_degrees)]
        total = known + sum(part for part, _ in parts)
        uncertain = sum(part**2 / degrees for part, degrees in parts)
        return total, total**2 / uncertain if uncertain > 0 else inf


@dataclass(frozen=True)
class Residuals:
    """What some model leaves of the measured values, [n], with its degrees of freedom."""

    values: Array
    runs: Sequence[Run]
    degrees: float


def without_copies(table: pd.DataFrame) -> pd.DataFrame:
    """The table with runs that occur twice (in two studies, say) once: they repeat nothing.

    Args:
        table: a results table with the columns of `SETTING`.
    """
    return table.drop_duplicates([*SETTING, "stage", "seed", "metric", "value"])


def run_spread(
    rows: pd.DataFrame, scale: Scale, laws: Iterable[tuple[LawPoints, Array]]
) -> Spread | None:
    """The spread of runs of one metric; None where nothing tells it.

    Args:
        rows: all rows of the metric, with the columns of `SETTING`.
        scale: the metric's.
        laws: its laws' points, each with the fitted parameters.
    """
    return repeats(rows, scale).spread() or single_spread(rows, scale, laws)


def single_spread(
    rows: pd.DataFrame, scale: Scale, laws: Iterable[tuple[LawPoints, Array]]
) -> Spread | None:
    """The spread where nothing was repeated, by what laws or neighbours leave unexplained."""
    of_laws = law_residuals(laws)
    trained = sorted(kind for kind in of_laws if kind != "data" and not kind.endswith(UNTRAINED))
    for kind in ("data", *trained):
        if kind in of_laws and of_laws[kind].degrees >= FEWEST_DEGREES:
            return _spread(of_laws[kind], f"single runs: what the {kind} laws leave unexplained")
    between = _between_neighbours(_trained(rows), scale)
    if between.degrees >= FEWEST_DEGREES:
        return _spread(between, "single runs: what lines through neighbouring sizes leave")
    return None


def law_residuals(laws: Iterable[tuple[LawPoints, Array]]) -> dict[str, Residuals]:
    """What laws leave unexplained, by their kind.

    A point that pulls its own prediction by h leaves 1 - h of its variance.
    """
    found: dict[str, list[Residuals]] = {}
    for law, parameters in laws:
        trained = np.flatnonzero(np.array(law.points.stages) > 0)
        degrees = float(law.degrees(parameters)[trained].sum())
        if degrees > 0:
            runs = [(law.points.cells[i], law.points.stages[i]) for i in trained]
            entry = Residuals(law.residuals(parameters)[trained], runs, degrees)
            found.setdefault(law.kind, []).append(entry)
    return {name: _joined(entries) for name, entries in found.items()}


def law_spread(kind: str, laws: Iterable[tuple[LawPoints, Array]]) -> Spread | None:
    """The spread where nothing tells how runs differ: all that laws of a kind leave unexplained."""
    left = law_residuals((law, found) for law, found in laws if law.kind == kind).get(kind)
    if left is None or left.degrees < FEWEST_DEGREES:
        return None
    return _spread(left, f"what the {kind} laws leave unexplained")


def pooled(residuals: Residuals) -> float:
    """The variance of a run by residuals."""
    return float((residuals.values**2).sum() / residuals.degrees)


def _spread(residuals: Residuals, origin: str) -> Spread:
    by_run = dict(zip(residuals.runs, residuals.values.tolist(), strict=True))
    return Spread(pooled(residuals), residuals.degrees, origin, by_run)


def _trained(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows["stage"] > 0) & (rows["method"] != "none") & rows["value"].notna()]


@dataclass(frozen=True)
class Repeats:
    """Trained models, [n]: value on the metric's scale, place (setting and stage), setting, run.

    Places and settings are numbered from 0, so that one cell after another can be left out fast.
    """

    values: Array
    places: NDArray[np.intp]
    settings: NDArray[np.intp]
    runs: Sequence[Run]

    def spread(self, kept: NDArray[np.bool_] | None = None) -> Spread | None:
        """The spread of runs around the mean of their place; None where there are too few.

        The stages of a chain err together, so the degrees of freedom count chains: those of all
        places, times settings over places.
        """
        kept = np.ones(len(self.values), dtype=bool) if kept is None else kept
        values, places = self.values[kept], self.places[kept]
        count = np.bincount(places, minlength=1)
        mean = np.bincount(places, values, minlength=1) / np.maximum(count, 1)
        repeated = count[places] >= 2
        squares = float((count[count >= 2] - 1).sum())
        settings = len(np.unique(self.settings[kept][repeated]))
        degrees = round(squares * settings / max(int((count >= 2).sum()), 1), 9)
        if degrees < FEWEST_DEGREES:
            return None
        residuals = ((values - mean[places]) * (degrees / squares) ** 0.5)[repeated]
        runs = [self.runs[i] for i in np.flatnonzero(kept)[repeated]]
        origin = f"repeated runs, {degrees:.0f} degrees of freedom"
        return _spread(Residuals(residuals, runs, degrees), origin)


def repeats(rows: pd.DataFrame, scale: Scale) -> Repeats:
    """The trained models of one metric, to tell how repeated runs scatter."""
    trained = _trained(rows)
    return Repeats(
        values=np.asarray(scale.there(trained["value"].to_numpy(dtype=float))),
        places=trained.groupby([*SETTING, "stage"]).ngroup().to_numpy().astype(np.intp),
        settings=trained.groupby(SETTING).ngroup().to_numpy().astype(np.intp),
        runs=_runs(trained),
    )


def _between_neighbours(trained: pd.DataFrame, scale: Scale) -> Residuals:
    """Each model of a chain against the line through the next smaller and the next larger one."""
    found = []
    for _, chain in trained.groupby(["study", "cell"]):
        chain = chain.sort_values("params")
        value = scale.there(chain["value"].to_numpy(dtype=float))
        x = np.log(chain["params"].to_numpy(dtype=float))
        if len(chain) < 3 or (np.diff(x) <= 0).any():
            continue
        share = (x[1:-1] - x[:-2]) / (x[2:] - x[:-2])
        left = value[1:-1] - (1 - share) * value[:-2] - share * value[2:]
        left = left / np.sqrt(1 + share**2 + (1 - share) ** 2)
        found.append(Residuals(left, _runs(chain.iloc[1:-1]), len(left)))
    return _joined(found)


def _runs(rows: pd.DataFrame) -> list[Run]:
    return [
        (f"{study}/{cell}", int(stage))
        for study, cell, stage in zip(rows["study"], rows["cell"], rows["stage"], strict=True)
    ]


def _joined(entries: Sequence[Residuals]) -> Residuals:
    return Residuals(
        np.concatenate([np.zeros(0), *(entry.values for entry in entries)]),
        [run for entry in entries for run in entry.runs],
        sum(entry.degrees for entry in entries),
    )
