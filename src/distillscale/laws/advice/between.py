"""Models that nobody made: between measured sizes and dataset sizes, and on request beyond them.

Along a chain the size and collapse laws tell the metrics, along dataset sizes the data law. Where a
metric that counts has no law, nothing is derived.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from distillscale.laws.advice.candidates import Candidate, Estimate
from distillscale.laws.advice.law_points import LawPoints, beyond_variance, law_points
from distillscale.laws.advice.scale import Scale
from distillscale.laws.arrays import Array
from distillscale.laws.forms import FORMS
from distillscale.laws.law_fit import LawFit
from distillscale.laws.plan import LawPlan, plan_laws
from distillscale.laws.settings import SETTING

PLACES_BETWEEN = 64
PLACES_BEYOND = 64
FARTHEST = 10.0  # how many times beyond the fitted range an answer is still given
SIZE_AXES = ("params", "prune_ratio")
DATA_AXIS = "dataset_size"


@dataclass(frozen=True)
class UsableLaw:
    """A law that describes its points, with these."""

    fit: LawFit
    points: LawPoints

    @property
    def parameters(self) -> Array:
        """The fitted parameters, in the form's order."""
        return np.array([self.fit.estimate[name] for name in FORMS[self.fit.form].names])

    def estimates(self, x: Array) -> list[Estimate]:
        """The metric at each x, with what its error is made of."""
        known = self.fit.x_range or (float(x.min()), float(x.max()))
        values = self.points.value(self.parameters, x)
        if self.points.scale.name == "angle":
            values = values.clip(0, 1)  # far outside its range a power law leaves the metric's
        pulls = self.points.pulls(self.parameters, x, np.ones(len(self.points.points)))
        runs, places = 1 + self.points.leverage(pulls), 1 + self.points.place_leverage(pulls)
        sampling = self.points.sampling(pulls)
        beyond = [beyond_variance(self.points, self.parameters, at, known) for at in x]
        return [
            Estimate(float(value), float(run), moved, further, self.points.kind, float(place))
            for value, run, place, moved, further in zip(
                values, runs, places, sampling, beyond, strict=True
            )
        ]


def usable_laws(
    table: pd.DataFrame, fits: Sequence[LawFit], scales: dict[str, Scale]
) -> list[UsableLaw]:
    """The laws that fit the table's points and may be asked, of the metrics that have a scale."""
    plans = {_identity(plan): plan for plan in plan_laws(table) if plan.metric in scales}
    found = []
    for fit in fits:
        plan = plans.get((fit.form, fit.metric, fit.x, tuple(sorted(fit.group.items()))))
        if plan is not None and fit.status == "ok" and fit.x in (*SIZE_AXES, DATA_AXIS):
            found.append(UsableLaw(fit, law_points(plan, scales[fit.metric])))
    return found


def derived_candidates(
    measured: Sequence[Candidate],
    laws: Sequence[UsableLaw],
    needed: Sequence[str],
    *,
    extrapolate: bool,
) -> list[Candidate]:
    """Models between measured ones, and beyond them if asked for.

    Args:
        measured: the measured models.
        laws: what tells the metrics of others.
        needed: metrics that a model must have a prediction of to be of use.
        extrapolate: also beyond the measured sizes and dataset sizes, up to `FARTHEST` times.
    """
    found: list[Candidate] = []
    for chain in _groups(measured, SETTING):
        own = _laws_of(chain[0], laws, SETTING, SIZE_AXES)
        if len(chain) > 1 and all(name in own for name in needed) and own:
            found += _sizes(sorted(chain, key=lambda c: c.params), own, extrapolate)
    ends = [c for c in measured if c.stage == c.stages and c.method != "none"]
    shared = [column for column in SETTING if column != DATA_AXIS]
    for family in _groups(ends, shared):
        own = _laws_of(family[0], laws, shared, (DATA_AXIS,))
        if len(family) > 1 and all(name in own for name in needed) and own:
            found += _dataset_sizes(sorted(family, key=lambda c: c.dataset_size), own, extrapolate)
    return found


def _identity(plan: LawPlan) -> tuple[object, ...]:
    return plan.law, plan.metric, plan.x, tuple(sorted(plan.group.items()))


def _groups(candidates: Sequence[Candidate], columns: Sequence[str]) -> list[list[Candidate]]:
    groups: dict[tuple[object, ...], list[Candidate]] = {}
    for candidate in candidates:
        key = tuple(getattr(candidate, column) for column in columns)
        groups.setdefault(key, []).append(candidate)
    return list(groups.values())


def _laws_of(
    candidate: Candidate, laws: Sequence[UsableLaw], columns: Sequence[str], axes: Sequence[str]
) -> dict[str, UsableLaw]:
    """The laws over one of the axes that describe a candidate's chain, by metric."""
    return {
        law.fit.metric: law
        for law in laws
        if law.fit.x in axes
        and all(law.fit.group.get(column) == getattr(candidate, column) for column in columns)
    }


def _sizes(
    chain: Sequence[Candidate], laws: dict[str, UsableLaw], extrapolate: bool
) -> Iterator[Candidate]:
    """Sizes between the stages of a chain, and smaller ones than its last."""
    for smaller, larger in pairwise(chain):
        if smaller.params < larger.params:
            params = np.geomspace(smaller.params, larger.params, PLACES_BETWEEN + 2)[1:-1].round()
            share = (params - smaller.params) / (larger.params - smaller.params)
            yield from _made(larger, params, share, (smaller, larger), laws, 1.0)
    if extrapolate:
        last, before = chain[0], chain[1]
        params = np.geomspace(last.params / FARTHEST, last.params, PLACES_BEYOND + 1)[:-1].round()
        share = (params - last.params) / max(before.params - last.params, 1)
        yield from _made(last, params, share, (last, before), laws, last.params / params)


def _made(
    anchor: Candidate, params: Array, share: Array, ends: tuple[Candidate, Candidate],
    laws: dict[str, UsableLaw], factor: Array | float,
) -> Iterator[Candidate]:  # fmt: skip
    """Models of these sizes; embeddings and ratio lie on the line through the two ends."""
    left, right = ends
    ratio = left.prune_ratio + share * (right.prune_ratio - left.prune_ratio)
    rest = np.array([left.params_with_embeddings - left.params for _ in params], dtype=float)
    rest += share.clip(0, 1) * (
        right.params_with_embeddings - right.params - left.params_with_embeddings + left.params
    )
    places = {"params": params, "prune_ratio": ratio}
    metrics = {name: law.estimates(places[law.fit.x]) for name, law in laws.items()}
    factors = np.broadcast_to(factor, params.shape)
    for i in range(len(params)):
        yield replace(
            anchor,
            stage=None,
            prune_ratio=float(ratio[i]),
            params=int(params[i]),
            params_with_embeddings=round(params[i] + rest[i]),
            metrics={name: estimates[i] for name, estimates in metrics.items()},
            ratios=(*(kept for kept in anchor.ratios if kept > ratio[i]), float(ratio[i])),
            anchor=anchor,
            factor=float(factors[i]),
            laws=_stated(laws),
        )


def _dataset_sizes(
    family: Sequence[Candidate], laws: dict[str, UsableLaw], extrapolate: bool
) -> Iterator[Candidate]:
    """Dataset sizes between measured ones, and larger ones than the largest."""
    largest = family[-1]
    grids = [
        (larger, np.geomspace(smaller.dataset_size, larger.dataset_size, PLACES_BETWEEN + 2)[1:-1])
        for smaller, larger in pairwise(family)
    ]
    if extrapolate:
        top = largest.dataset_size
        grids.append((largest, np.geomspace(top, top * FARTHEST, PLACES_BEYOND + 1)[1:]))
    for anchor, grid in grids:
        sizes = np.unique(grid.round())
        metrics = {name: law.estimates(sizes) for name, law in laws.items()}
        for i, size in enumerate(sizes):
            yield replace(
                anchor,
                stage=None,
                dataset_size=int(size),
                metrics={name: estimates[i] for name, estimates in metrics.items()},
                anchor=anchor,
                factor=max(1.0, float(size) / largest.dataset_size),
                laws=_stated(laws),
            )


def _stated(laws: dict[str, UsableLaw]) -> tuple[str, ...]:
    """Each law in words: its formula and where it was fitted."""
    texts = []
    for law in laws.values():
        low, high = law.fit.x_range or (0.0, 0.0)
        formula = FORMS[law.fit.form].formula
        texts.append(
            f"{law.fit.form} law {formula}, fitted over {law.fit.x} {low:.4g} to {high:.4g}"
        )
    return tuple(dict.fromkeys(texts))
