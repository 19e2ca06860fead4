"""Paired contrasts: what one factor changes when everything else is held fixed.

The unit is a pair of chains that differ in the factor alone (see `matched`), with the same seed.
Stages of a chain inherit their parent's error, so they are averaged, never counted as separate
evidence; pairs that share a chain (one control for several methods) are averaged too.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from distillscale.laws.arrays import Array
from distillscale.laws.comparison.crossed import Mean, crossed_mean
from distillscale.laws.comparison.knowledge import with_splits
from distillscale.laws.comparison.matched import FACTORS, Design, design
from distillscale.laws.comparison.multiplicity import holm
from distillscale.laws.comparison.paired import (
    CellName,
    Chain,
    Measured,
    Pair,
    compare_pairs,
    independent_units,
    read_chains,
)

CONTRAST_LEVEL = 0.95
"""Level of the intervals of comparisons, so that they agree with tests at 5 %."""

METRIC_GROUPS: Mapping[str, tuple[str, ...]] = {
    "task": ("macro_f1", "gold_nll"),
    "knowledge": ("general", "general_rehearsed", "general_unrehearsed"),
    "training": ("kl_answer", "kl_reasoning", "gradient_norm_spread"),
}
"""What is compared. A family of tests is all contrasts of one factor, grid and group of metrics."""

CONTRAST_COLUMNS = [
    "factor", "held", "group", "metric", "contrast", "earlier", "later", "context",
    "value_earlier", "value_later", "difference", "low", "high", "p", "p_holm", "tests",
    "at_end", "at_end_low", "at_end_high", "pairs", "units", "degrees", "covers",
]  # fmt: skip

EVERYWHERE = "all"
"""`context` of a contrast over all contexts; only these are tested, single ones are described."""


def contrasts(
    table: pd.DataFrame,
    found: Design | None = None,
    *,
    metrics: Sequence[str] | None = None,
    level: float = CONTRAST_LEVEL,
) -> pd.DataFrame:
    """Contrasts of every factor but the seed, columns `CONTRAST_COLUMNS`.

    `difference` is the mean over the stages that both chains of a pair have at the same prune
    ratio, `at_end` that at the planned last ratio. One row with context `all` a contrast and
    metric, then one a context; `p` and Holm's `p_holm` are for the former, in families of one
    factor, grid (`held`) and group of metrics, `tests` of them.

    Args:
        table: a results table.
        found: its design, where it is already there.
        metrics: which ones; left out, those of `METRIC_GROUPS`.
        level: of the intervals.
    """
    found = found or design(table)
    groups = _groups(metrics)
    measured = read_chains(
        with_splits(table), [name for names in groups.values() for name in names]
    )
    planned = {
        (str(cell["study"]), str(cell["cell"])): float(cell["planned_ratio"])
        for cell in found.cells.to_dict("records")
    }
    pairs = found.pairs[found.pairs["factor"] != "seed"]
    rows = [
        row | {"group": group}
        for (factor, held), own in pairs.groupby(["factor", "held"], sort=False)
        for group, names in groups.items()
        for row in _family(own, str(factor), str(held), names, measured, planned, level)
    ]
    return pd.DataFrame(rows, columns=CONTRAST_COLUMNS)


def _groups(metrics: Sequence[str] | None) -> Mapping[str, tuple[str, ...]]:
    """The asked metrics in their groups; one that is in none is a family of its own."""
    if metrics is None:
        return METRIC_GROUPS
    chosen = {
        group: tuple(name for name in names if name in metrics)
        for group, names in METRIC_GROUPS.items()
    }
    known = {name for names in METRIC_GROUPS.values() for name in names}
    others = {name: (name,) for name in metrics if name not in known}
    return {group: names for group, names in (chosen | others).items() if names}


def _family(
    pairs: pd.DataFrame,
    factor: str,
    held: str,
    metrics: Sequence[str],
    measured: Mapping[Measured, Chain],
    planned: Mapping[CellName, float],
    level: float,
) -> Iterator[dict[str, object]]:
    """All contrasts of a family, with their adjusted p-values."""
    whole: list[dict[str, object]] = []
    parts: list[list[dict[str, object]]] = []
    for (earlier, later), own in pairs.groupby(["earlier", "later"], sort=False):
        named = {
            "factor": factor, "held": held, "earlier": earlier, "later": later,
            "contrast": f"{later} - {earlier}",
        }  # fmt: skip
        records = own.to_dict("records")
        for metric in metrics:
            compared = compare_pairs(records, metric, measured, planned)
            if not compared:
                continue
            row = named | {"metric": metric, "context": EVERYWHERE}
            whole.append(row | _estimate(compared, level))
            parts.append([row | part for part in _by_context(compared, level)])
    adjusted = holm([row["p"] for row in whole])  # type: ignore[misc]
    tests = sum(p is not None for p in adjusted)
    for row, p, own_parts in zip(whole, adjusted, parts, strict=True):
        yield row | {"p_holm": p, "tests": tests}
        yield from (part | {"tests": tests} for part in own_parts)


def _by_context(compared: Sequence[Pair], level: float) -> Iterator[dict[str, object]]:
    """The estimate in each context, without a test; nothing where there is only one."""
    contexts = list(dict.fromkeys(pair.context for pair in compared))
    if len(contexts) == 1:
        return
    for context in contexts:
        own = [pair for pair in compared if pair.context == context]
        yield _estimate(own, level) | {"context": context, "p": None, "p_holm": None}


def _estimate(compared: Sequence[Pair], level: float) -> dict[str, object]:
    """The mean over contexts with its interval, over all common stages and at the end."""
    units = independent_units(compared)
    mean = _mean([(unit.context, unit.mean, unit.replicates) for unit in units], level)
    at_end = [(u.context, u.end, u.end_replicates) for u in units if np.isfinite(u.end)]
    end = _mean(at_end, level) if at_end else None
    return {
        "value_earlier": float(np.mean([pair.earlier for pair in compared])),
        "value_later": float(np.mean([pair.later for pair in compared])),
        "difference": mean.value,
        "low": mean.low,
        "high": mean.high,
        "p": mean.p,
        "at_end": end and end.value,
        "at_end_low": end and end.low,
        "at_end_high": end and end.high,
        "pairs": len(compared),
        "units": mean.units,
        "degrees": mean.degrees,
        "covers": mean.covers,
    }


def _mean(units: Sequence[tuple[str, float, Array]], level: float) -> Mean:
    contexts, values, replicates = zip(*units, strict=True)
    return crossed_mean(np.array(values), replicates, contexts, level)


def factors_in_order() -> tuple[str, ...]:
    """The factors that have contrasts, in the order of tables."""
    return tuple(factor for factor in FACTORS if factor != "seed")
