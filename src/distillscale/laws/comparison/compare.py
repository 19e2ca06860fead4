"""All comparisons of a results table at once."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from distillscale.laws.comparison.contrasts import CONTRAST_LEVEL, METRIC_GROUPS, contrasts
from distillscale.laws.comparison.exponents import EXPONENTS, exponent_differences, exponent_table
from distillscale.laws.comparison.knowledge import with_splits
from distillscale.laws.comparison.matched import FACTORS, Design, design
from distillscale.laws.comparison.stability import stopped_runs
from distillscale.laws.comparison.variance_shares import variance_shares
from distillscale.laws.plan import fit_plans, plan_laws

SPREAD_COLUMNS = ["metric", "deviation", "settings", "degrees"]
_EXPONENT_INPUTS = ("dataset_size", "params")


@dataclass(frozen=True)
class Comparison:
    """What a table's cells say about each factor; the columns are described where they are made."""

    design: Design
    contrasts: pd.DataFrame
    shares: pd.DataFrame
    exponents: pd.DataFrame
    exponent_differences: pd.DataFrame
    stopped: pd.DataFrame
    spread: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by the names of their files."""
        return {
            "pairs": self.design.pairs,
            "contrasts": self.contrasts,
            "variance_shares": self.shares,
            "exponents": self.exponents,
            "exponent_differences": self.exponent_differences,
            "stopped_runs": self.stopped,
            "run_spread": self.spread,
        }


def compare(table: pd.DataFrame, *, level: float = CONTRAST_LEVEL) -> Comparison:
    """Compare the cells of a results table factor by factor."""
    found = design(table)
    table = with_splits(table)
    plans = [
        plan for plan in plan_laws(table) if plan.law in EXPONENTS and plan.x in _EXPONENT_INPUTS
    ]
    fits = fit_plans(plans, level=level)
    return Comparison(
        found,
        contrasts(table, found, level=level),
        variance_shares(table, found),
        exponent_table(fits),
        exponent_differences(fits),
        stopped_runs(found, level),
        run_spread(table, found),
    )


def run_spread(table: pd.DataFrame, found: Design) -> pd.DataFrame:
    """How far the seeds of one setting lie apart at the end of a chain, `SPREAD_COLUMNS`.

    `deviation` is the standard deviation within settings, pooled over those with several seeds.
    """
    ends = with_splits(table).merge(
        found.cells[["study", "cell", "planned_ratio"]], on=["study", "cell"]
    )
    ends = ends[(ends["stage"] == ends["stages"]) & np.isfinite(ends["value"].astype(float))]
    setting = ["study", "stages", "planned_ratio", *(f for f in FACTORS if f != "seed")]
    rows = []
    for metric in (name for names in METRIC_GROUPS.values() for name in names):
        values = ends[ends["metric"] == metric].groupby(setting)["value"]
        repeated = values.agg(["var", "count"]).query("count > 1")
        if repeated.empty:
            continue
        degrees = repeated["count"] - 1
        variance = (repeated["var"] * degrees).sum() / degrees.sum()
        rows.append((metric, float(variance) ** 0.5, len(repeated), int(degrees.sum())))
    return pd.DataFrame(rows, columns=SPREAD_COLUMNS)
