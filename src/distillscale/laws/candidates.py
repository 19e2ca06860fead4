"""Models that a recommendation can choose from: measured ones, and sizes between measured ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from math import nan

import numpy as np
import pandas as pd

from distillscale.laws.bootstrap import LEVEL, at_level, draw, interval
from distillscale.laws.constraints import SIZES, Constraint
from distillscale.laws.fit import LawFit
from distillscale.laws.points import read_replicates
from distillscale.laws.settings import SETTING, configuration_label, with_settings

SIZES_TRIED = 64


@dataclass(frozen=True)
class Estimate:
    """A metric's value, measured or predicted, with its interval if there is one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Candidate:
    """A model that exists, or could be made, at one point of a chain.

    `stage` is None for a size between two measured stages, whose metrics are the laws'.
    `covers` says what the intervals cover.
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
    covers: str

    @property
    def label(self) -> str:
        """Configuration and depth of reasoning."""
        return configuration_label(self.configuration, self.thinking)

    @property
    def setting(self) -> tuple[str | float, ...]:
        """Identity of the chain, by the columns of `SETTING`."""
        return tuple(getattr(self, column) for column in SETTING)

    def value(self, name: str) -> float:
        """A size or the value of a metric; NaN where it was not measured."""
        if name in SIZES:
            return float(getattr(self, name))
        return self.metrics[name].value if name in self.metrics else nan

    def meets(self, constraints: Sequence[Constraint]) -> bool:
        """Whether every constraint is satisfied."""
        return all(constraint.met(self.value(constraint.name)) for constraint in constraints)


def measured_candidates(table: pd.DataFrame, metrics: Sequence[str]) -> list[Candidate]:
    """One candidate a setting and stage, with the mean over its seeds of each metric asked for."""
    rows = with_settings(table)
    return [_measured(group, metrics) for _, group in rows.groupby([*SETTING, "stage"])]


def _measured(rows: pd.DataFrame, metrics: Sequence[str]) -> Candidate:
    first = rows.iloc[0]
    usable = rows[rows["metric"].isin(metrics) & rows["value"].notna()]
    estimates, covers = {}, ""
    for name, runs in usable.groupby("metric"):
        replicates = [read_replicates(entry) for entry in runs["replicates"]]
        draws = draw(runs["value"].to_numpy(dtype=float), replicates, runs["seed"].tolist())
        low, high = interval(draws.means(), LEVEL) or (None, None)
        estimates[str(name)] = Estimate(float(runs["value"].mean()), low, high)
        if low is not None or not covers:
            covers = at_level(draws.covers, LEVEL)
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
        metrics=estimates,
        seeds=rows["seed"].nunique(),
        covers=covers,
    )


def interpolated_candidates(
    measured: Sequence[Candidate], fits: Sequence[LawFit], constraints: Sequence[Constraint]
) -> list[Candidate]:
    """The smallest size that the laws allow between a stage that fails and one that does not.

    Only sizes between a measured stage that misses a demanded metric and the next larger one that
    meets them all are considered: there the laws fill a gap and cannot contradict a measurement.
    """
    demands = [constraint for constraint in constraints if not constraint.is_size]
    found: list[Candidate] = []
    for setting in dict.fromkeys(candidate.setting for candidate in measured):
        chain = sorted((c for c in measured if c.setting == setting), key=lambda c: c.params)
        laws = _laws_of(chain[0], fits)
        if not all(demand.name in laws for demand in demands):
            continue
        for smaller, larger in pairwise(chain):
            gap = smaller.params < larger.params
            if gap and larger.meets(demands) and not smaller.meets(demands):
                between = _between(smaller, larger, laws)
                found += islice((c for c in between if c.meets(constraints)), 1)
    return found


def _laws_of(candidate: Candidate, fits: Sequence[LawFit]) -> dict[str, LawFit]:
    """The usable size and collapse laws of a candidate's chain, by metric it was measured in."""
    setting = dict(zip(SETTING, candidate.setting, strict=True))
    return {
        fit.metric: fit
        for fit in fits
        if fit.x in ("params", "prune_ratio")
        and fit.metric in candidate.metrics
        and fit.status == "ok"
        and all(fit.group.get(column) == value for column, value in setting.items())
    }


def _between(smaller: Candidate, larger: Candidate, laws: dict[str, LawFit]) -> Iterator[Candidate]:
    """Sizes between two stages, smallest first, with the metrics that the laws predict."""
    covers = [at_level(law.covers, law.level) for law in laws.values()]
    everything = (smaller.params_with_embeddings, larger.params_with_embeddings)
    for params in np.geomspace(smaller.params, larger.params, SIZES_TRIED + 2)[1:-1].round():
        share = (params - smaller.params) / (larger.params - smaller.params)
        x = {
            "params": float(params),
            "prune_ratio": float(
                np.interp(share, [0, 1], [smaller.prune_ratio, larger.prune_ratio])
            ),
        }
        yield replace(
            larger,
            stage=None,
            prune_ratio=x["prune_ratio"],
            params=int(params),
            params_with_embeddings=round(float(np.interp(share, [0, 1], everything))),
            metrics={name: _predicted(law, x[law.x]) for name, law in laws.items()},
            covers=covers[0],
        )


def _predicted(law: LawFit, x: float) -> Estimate:
    prediction = law.predict(x)
    return Estimate(prediction.value, prediction.low, prediction.high)
