"""Collapse points and gaps as a table and as text."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from distillscale.laws.bootstrap import at_level
from distillscale.laws.collapse.gap import IN_DOMAIN, CollapseGap, Collapses, GapDifference
from distillscale.laws.collapse.located import LEVEL, Located
from distillscale.laws.collapse.point import HALF, CollapsePoint
from distillscale.laws.settings import configuration_label

COLLAPSE_COLUMNS = [
    "task", "configuration", "thinking", "against", "against_thinking", "quantity", "in_domain",
    "general", "lost", "value", "low", "high", "kind", "reason", "smallest_ratio", "chance",
    "seeds", "covers",
]  # fmt: skip
HEADLINE = ("macro_f1", "general")


def collapse_table(found: Collapses) -> pd.DataFrame:
    """All quantities, one row each; columns `COLLAPSE_COLUMNS`.

    `quantity` is `r_star` (a share of the teacher's parameters), `kept` (a share, at the smallest
    ratio), `gap` and `difference of gaps` (both in units of ln r), or `kept difference`. `kind`
    says whether there is a `value`, or only a bound (`<`: `high` is one, `>`: `low` is one).
    """
    rows = [row for point in found.points for row in _point_rows(point)]
    rows += [row for gap in found.gaps for row in _gap_rows(gap)]
    rows += [_difference_row(difference) for difference in found.differences]
    return pd.DataFrame(rows, columns=COLLAPSE_COLUMNS).assign(lost=found.lost)


def collapse_text(
    found: Collapses, in_domain: str = HEADLINE[0], general: str = HEADLINE[1]
) -> str:
    """The collapse points, gaps and differences of one pair of scores, for people.

    Args:
        found: what was located.
        in_domain: the score of the task.
        general: the score of general knowledge.
    """
    gaps = [g for g in found.gaps if (g.in_domain.metric, g.general.metric) == (in_domain, general)]
    lines: list[str] = []
    for task in dict.fromkeys(gap.group["task"] for gap in gaps):
        own = [gap for gap in gaps if gap.group["task"] == task]
        lines += [f"{task}: share of the teacher's parameters at which {_loss(found.lost)}", ""]
        lines += _points_text(own)
        lines += ["", "gap ln r*(general) - ln r*(in domain); above 0: general collapses first", ""]
        lines += [f"  {_label(gap):31}{_gap_text(gap)}" for gap in own]
        lines += ["", *_differences_text(found, own, (in_domain, general))]
    notes = dict.fromkeys(at_level(gap.general.covers, LEVEL) for gap in gaps)
    chance = {gap.in_domain.metric: gap.in_domain.chance for gap in gaps}
    lines += [f"chance of {name}: {value:.3g}, 1 / classes" for name, value in chance.items()]
    return "\n".join([*lines, *notes, *found.left_out])


def _points_text(gaps: list[CollapseGap]) -> list[str]:
    smallest = gaps[0].general.ratios[0]
    lines = [
        f"  {'':30} {gaps[0].in_domain.metric:22} {gaps[0].general.metric:22} "
        f"kept at {smallest:.2g}: difference"
    ]
    for gap in gaps:
        points = [f"{_ratio_text(point):22}" for point in (gap.in_domain, gap.general)]
        lines.append(f"  {_label(gap):30} {' '.join(points)} {_number(gap.kept)}")
    return lines


def _differences_text(
    found: Collapses, gaps: list[CollapseGap], scores: tuple[str, str]
) -> list[str]:
    task = gaps[0].group["task"]
    own = [
        d
        for d in found.differences
        if d.left.group["task"] == task
        and (d.left.in_domain.metric, d.left.general.metric) == scores
    ]
    known = [d for d in own if d.difference.kind != "unknown"]
    if not own:
        return []
    lines = [
        "differences of gaps (each interval by itself; not corrected for their number)",
        "",
        *(f"  {_label(d.left)} - {_label(d.right)}: {_number(d.difference)}" for d in known),
    ]
    if len(known) < len(own):
        lines.append(f"  {len(own) - len(known)} of {len(own)} pairs: not known from either side")
    return [*lines, ""]


def _loss(lost: float) -> str:
    share = "half" if lost == HALF else f"{lost:.0%}"
    return f"{share} of what a score has above chance is lost"


def _label(gap: CollapseGap) -> str:
    return configuration_label(str(gap.group["configuration"]), str(gap.group["thinking"]))


def _ratio_text(point: CollapsePoint) -> str:
    ratio = point.ratio
    if ratio.kind == "unknown":
        return f"unknown: {ratio.reason}"
    value, low, high = _exponentials(ratio)
    if ratio.kind == "value":
        return f"{value:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")
    return f"r* < {high:.3f}" if ratio.kind == "<" else f"r* > {low:.3f}"


def _gap_text(gap: CollapseGap) -> str:
    text = _number(gap.gap)
    low, high = gap.gap.low, gap.gap.high
    if low is not None and low > 0:
        return f"{text}: general knowledge collapses first"
    if high is not None and high < 0:
        return f"{text}: the task collapses first"
    return text


def _number(found: Located) -> str:
    if found.kind == "unknown":
        return f"not identified: {found.reason}"
    if found.kind != "value":
        return f"> {found.low:+.2f}" if found.kind == ">" else f"< {found.high:+.2f}"
    return f"{found.value:+.2f}" + (
        "" if found.low is None else f" ({found.low:+.2f} to {found.high:+.2f})"
    )


def _exponentials(found: Located) -> tuple[float | None, ...]:
    values = (found.value, found.low, found.high)
    return tuple(None if value is None else float(np.exp(value)) for value in values)


def _point_rows(point: CollapsePoint) -> Iterator[dict[str, Any]]:
    side = "in_domain" if point.metric in IN_DOMAIN else "general"
    named = {side: point.metric}
    value, low, high = _exponentials(point.ratio)
    yield _row(point, "r_star", point.ratio) | named | {"value": value, "low": low, "high": high}
    yield _row(point, "kept", point.kept) | named


def _gap_rows(gap: CollapseGap) -> Iterator[dict[str, Any]]:
    named = {"in_domain": gap.in_domain.metric, "general": gap.general.metric, "chance": None}
    yield _row(gap.general, "gap", gap.gap) | named
    yield _row(gap.general, "kept difference", gap.kept) | named


def _difference_row(difference: GapDifference) -> dict[str, Any]:
    left, right = difference.left, difference.right
    return _row(left.general, "difference of gaps", difference.difference) | {
        "in_domain": left.in_domain.metric,
        "general": left.general.metric,
        "chance": None,
        "against": right.group["configuration"],
        "against_thinking": right.group["thinking"],
    }


def _row(point: CollapsePoint, quantity: str, found: Located) -> dict[str, Any]:
    return {
        **{name: point.group.get(name) for name in ("task", "configuration", "thinking")},
        "quantity": quantity,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "kind": found.kind,
        "reason": found.reason if found.kind == "unknown" else "",
        "smallest_ratio": point.ratios[0],
        "chance": point.chance,
        "seeds": len(point.seeds),
        "covers": point.covers,
    }
