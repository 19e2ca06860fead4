"""How far the collapse of general knowledge lies from that of the task.

"General knowledge collapses before the task does" as a number: the gap ln r*(general) - ln r*(in
domain), above zero if that is so. Both points come from the same runs, and every resample takes the
same runs and the same resample of the test examples for both, so that what they have in common
cancels.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import pandas as pd

from distillscale.errors import InputError
from distillscale.laws.chance import with_chance
from distillscale.laws.collapse.located import Located, minus
from distillscale.laws.collapse.point import (
    FEWEST_RATIOS,
    HALF,
    CollapsePoint,
    Group,
    locate_collapse,
)
from distillscale.laws.metrics import knowledge_metrics
from distillscale.laws.plan import uniform_chains
from distillscale.laws.settings import with_settings

IN_DOMAIN = ("macro_f1", "accuracy")


@dataclass(frozen=True)
class CollapseGap:
    """How far the collapse of general knowledge lies from that of the task, in one format.

    Attributes:
        group: what the format is.
        in_domain, general: the two collapse points.
        gap: ln r*(general) - ln r*(in domain); above zero: general knowledge collapses first.
        kept: share kept in domain minus share kept in general, at the smallest measured ratio.
    """

    group: Group
    in_domain: CollapsePoint
    general: CollapsePoint
    gap: Located
    kept: Located


@dataclass(frozen=True)
class GapDifference:
    """The gap of one format minus that of another, for the same two scores."""

    left: CollapseGap
    right: CollapseGap
    difference: Located


@dataclass(frozen=True)
class Collapses:
    """All collapse points, gaps and differences of gaps of a table.

    Attributes:
        lost: the share above chance whose loss is called collapse.
        points: one a format and score.
        gaps: one a format and pair of scores.
        differences: one a pair of formats of a task and pair of scores.
        left_out: what could not be located, in words.
    """

    lost: float
    points: tuple[CollapsePoint, ...]
    gaps: tuple[CollapseGap, ...]
    differences: tuple[GapDifference, ...]
    left_out: tuple[str, ...] = field(default=())


def collapse_gaps(table: pd.DataFrame, *, lost: float = HALF, seed: int = 0) -> Collapses:
    """Locate the collapse points of every format of a results table, and compare them.

    Args:
        table: a results table.
        lost: the share above chance whose loss is called collapse, between 0 and 1.
        seed: of the resampling.

    Raises:
        InputError: `lost` is not between 0 and 1, or no chain of the table has enough ratios.
    """
    if not 0 < lost < 1:
        raise InputError(f"lost={lost}: the share that is lost must lie between 0 and 1.")
    rows = with_chance(with_settings(table))
    general = knowledge_metrics(rows)
    chains = [(group, chain[chain["metric"].isin([*IN_DOMAIN, *general])])
              for group, chain in uniform_chains(rows)]  # fmt: skip
    usable = [pair for pair in chains if pair[1]["stage"].nunique() >= FEWEST_RATIOS]
    if not usable:
        raise InputError(
            f"collapse points: no uniform chain of the table has {FEWEST_RATIOS} prune ratios."
        )
    finder = _Finder(lost, seed)
    points, gaps = [], []
    for group, chain in usable:
        found = {name: finder.point(group, chain, name) for name in (*IN_DOMAIN, *general)}
        points += [point for point in found.values() if point]
        gaps += list(_gaps(found, general))
    return Collapses(
        lost=lost,
        points=tuple(points),
        gaps=tuple(gaps),
        differences=tuple(_differences(gaps)),
        left_out=tuple(finder.left_out),
    )


class _Finder:
    """Locates points for `collapse_gaps`, and notes what cannot be located."""

    def __init__(self, lost: float, seed: int) -> None:
        self.lost, self.seed = lost, seed
        self.left_out: list[str] = []

    def point(self, group: Group, chain: pd.DataFrame, metric: str) -> CollapsePoint | None:
        """The point of one metric of a chain; None if it cannot be located."""
        rows = chain[chain["metric"] == metric]
        if rows.empty:
            return None
        try:
            return locate_collapse(rows, group=group, lost=self.lost, seed=self.seed)
        except InputError as error:
            self.left_out.append(f"{group['task']}, {group['configuration']}: {error}")
            return None


def _gaps(found: Mapping[str, CollapsePoint | None], general: list[str]) -> Iterator[CollapseGap]:
    for in_domain in (found[name] for name in IN_DOMAIN):
        for knowledge in (found[name] for name in general):
            if in_domain and knowledge and in_domain.seeds == knowledge.seeds:
                gap = minus(knowledge.ratio, in_domain.ratio, _unknown(in_domain, knowledge))
                kept = minus(in_domain.kept, knowledge.kept, "one of them cannot collapse")
                yield CollapseGap(in_domain.group, in_domain, knowledge, gap, kept)


def _differences(gaps: list[CollapseGap]) -> Iterator[GapDifference]:
    """Pairs of formats of the same runs' seeds: other runs are not paired."""
    for left, right in combinations(gaps, 2):
        same = left.group["task"] == right.group["task"]
        same &= left.in_domain.seeds == right.in_domain.seeds
        scores = (left.in_domain.metric, left.general.metric)
        if same and scores == (right.in_domain.metric, right.general.metric):
            reason = "the two gaps are not known from opposite sides"
            yield GapDifference(left, right, minus(left.gap, right.gap, reason))


def _unknown(in_domain: CollapsePoint, general: CollapsePoint) -> str:
    """Why the gap of two points would be unknown."""
    kinds = {in_domain.ratio.kind, general.ratio.kind}
    if kinds == {"<"}:
        return f"both points may lie below the smallest measured ratio, {in_domain.ratios[0]:.2g}"
    if kinds == {">"}:
        return f"both points may lie above the largest measured ratio, {in_domain.ratios[1]:.2g}"
    return "one of the points is not located"
