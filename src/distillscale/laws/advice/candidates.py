"""Models that advice can choose from: those that were measured."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import nan

import numpy as np
import pandas as pd

from distillscale.laws.advice.constraints import SIZES
from distillscale.laws.advice.law_points import deviations
from distillscale.laws.advice.scale import Scale
from distillscale.laws.arrays import Array
from distillscale.laws.points import read_replicates
from distillscale.laws.settings import SETTING, configuration_label, with_settings


@dataclass(frozen=True)
class Estimate:
    """A metric's value, measured or predicted, and what its error as a prediction is made of.

    Attributes:
        value: on the metric's own scale.
        runs: variance that runs add, in units of one run's: that of a new run (1) and of the runs
            behind the value (1/n for a mean of n); 0 for the teacher, which is no run.
        sampling: how the value moves over the common resamples of the test examples, [draws], on
            the metric's scale (see `scale`); empty without replicates.
        beyond: variance that is added outside the fitted range.
        law: the kind of law that predicts it (see `LawPoints`); empty where it was measured.
        places: variance that the law's misfit adds, in units of one place's: that of the new place
            (1) and of the places behind the prediction; 0 where it was measured.
    """

    value: float
    runs: float
    sampling: Array = field(compare=False, repr=False)
    beyond: float = 0.0
    law: str = ""
    places: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """A model that exists, or could be made, at one point of a chain.

    Where it was not measured, `stage` is None, its metrics are the laws', `anchor` is the measured
    model that it is derived from (the next larger one, or with the next larger dataset), and
    `factor` is how far outside the fitted range it lies (1 inside). `ratios`: the shares kept by
    the stages that lead to it.
    """

    task: str
    configuration: str
    supervision: str
    method: str
    thinking: str
    schedule: str
    stages: int
    dataset_size: int
    final_ratio: float
    stage: int | None
    prune_ratio: float
    params: int
    params_with_embeddings: int
    metrics: dict[str, Estimate]
    seeds: int
    cells: tuple[str, ...]
    ratios: tuple[float, ...]
    anchor: "Candidate | None" = None
    factor: float = 1.0
    laws: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Configuration and depth of reasoning."""
        return configuration_label(self.configuration, self.thinking)

    @property
    def setting(self) -> tuple[str | float, ...]:
        """Identity of the chain, by the columns of `SETTING`; a derived model has its anchor's."""
        chain = self.anchor or self
        return tuple(getattr(chain, column) for column in SETTING)

    def value(self, name: str) -> float:
        """A size or the value of a metric; NaN where it was not measured."""
        if name in SIZES:
            return float(getattr(self, name))
        return self.metrics[name].value if name in self.metrics else nan


def measured_candidates(
    table: pd.DataFrame, metrics: Sequence[str], scales: dict[str, Scale]
) -> list[Candidate]:
    """One candidate a setting and stage, with the mean over its seeds of each metric asked for."""
    rows = with_settings(table)
    found = []
    for _, chain in rows.groupby(SETTING):
        ratios = chain[chain["stage"] > 0].groupby("stage")["prune_ratio"].mean()
        for stage, group in chain.groupby("stage"):
            kept = tuple(float(ratio) for ratio in ratios[ratios.index <= stage])
            found.append(_measured(group, metrics, scales, kept))
    return found


def _measured(
    rows: pd.DataFrame, metrics: Sequence[str], scales: dict[str, Scale], ratios: tuple[float, ...]
) -> Candidate:
    first = rows.iloc[0]
    usable = rows[rows["metric"].isin(metrics) & rows["value"].notna()]
    teacher = int(first["stage"]) == 0
    return Candidate(
        task=first["task"],
        configuration=first["configuration"],
        supervision=first["supervision"],
        method=first["method"],
        thinking=first["thinking"],
        schedule=first["schedule"],
        stages=int(first["stages"]),
        dataset_size=int(first["dataset_size"]),
        final_ratio=float(first["final_ratio"]),
        stage=int(first["stage"]),
        prune_ratio=float(rows["prune_ratio"].mean()),
        params=round(rows["params"].mean()),
        params_with_embeddings=round(rows["params_with_embeddings"].mean()),
        metrics={
            str(name): _mean(runs, scales[str(name)], teacher)
            for name, runs in usable.groupby("metric")
        },
        seeds=rows["seed"].nunique(),
        cells=tuple(sorted(rows["cell"].unique())),
        ratios=ratios,
    )


def _mean(runs: pd.DataFrame, scale: Scale, teacher: bool) -> Estimate:
    values = runs["value"].to_numpy(dtype=float)
    replicates = [read_replicates(entry) for entry in runs["replicates"]]
    moved = deviations(values, replicates, scale)
    sampling = moved.mean(axis=1) if len(moved) else np.zeros(0)
    return Estimate(float(values.mean()), 0.0 if teacher else 1 + 1 / len(values), sampling)
