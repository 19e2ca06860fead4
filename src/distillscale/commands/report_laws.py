"""What the report shows of laws and comparisons, as plain tables."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from distillscale.errors import InputError
from distillscale.laws import LawFit, collapse_gaps
from distillscale.laws.arrays import Array
from distillscale.laws.collapse.table import COLLAPSE_COLUMNS, collapse_table
from distillscale.laws.comparison.contrasts import CONTRAST_COLUMNS, contrasts
from distillscale.laws.comparison.exponents import EXPONENTS
from distillscale.laws.comparison.matched import design
from distillscale.laws.comparison.variance_shares import SHARE_COLUMNS, variance_shares
from distillscale.laws.plan import LawPlan, plan_laws
from distillscale.laws.points import read_replicates
from distillscale.report.inputs import empty_table

_CURVE_POINTS, _BEYOND_POINTS = 60, 12
_BEYOND = 2.0  # the factor that a law is drawn beyond its points
_PERCENTILES = (5.0, 95.0)


def law_curves(laws: Sequence[LawFit]) -> pd.DataFrame:
    """Each fitted law on a grid inside its range."""
    rows = [
        row
        for law in laws
        if law.x_range is not None
        for row in _line(law, np.geomspace(*law.x_range, _CURVE_POINTS))
    ]
    return pd.DataFrame(rows) if rows else empty_table("curves")


def law_lines(laws: Sequence[LawFit]) -> pd.DataFrame:
    """Each fitted law inside its range and beyond it: to more examples, or to smaller models."""
    rows = []
    for fit, law in enumerate(laws):
        if law.x_range is None:
            continue
        low, high = law.x_range
        ends = (high, high * _BEYOND) if law.x == "dataset_size" else (low / _BEYOND, low)
        for part, x in (
            ("fitted", np.geomspace(low, high, _CURVE_POINTS)),
            ("beyond", np.geomspace(*ends, _BEYOND_POINTS)),
        ):
            rows += [row | {"fit": fit, "part": part} for row in _line(law, x)]
    return pd.DataFrame(rows) if rows else empty_table("law_lines")


def law_points(table: pd.DataFrame, laws: Sequence[LawFit]) -> pd.DataFrame:
    """The measured points behind each fitted law, with what the law misses of them.

    `laws` are those of the table; a law that belongs to no plan of it has no points.
    """
    plans = {
        _identity(plan.law, plan.metric, plan.x, plan.group): plan for plan in plan_laws(table)
    }
    rows = []
    for fit, law in enumerate(laws):
        plan = plans.get(_identity(law.form, law.metric, law.x, law.group))
        if plan is not None and law.x_range is not None:
            rows += [row | {"fit": fit} for row in _points(law, plan)]
    return pd.DataFrame(rows) if rows else empty_table("law_points")


def exponents(laws: Sequence[LawFit]) -> pd.DataFrame:
    """The exponent of every data and size law: a value, a bound on one side, or not identified."""
    rows = []
    for law in laws:
        name = EXPONENTS.get(law.form)
        if name is None or name not in law.estimate:
            continue
        low, high = law.intervals[name] or (None, None)
        value: float | None = law.estimate[name]
        kind = "value" if law.identified(name) else "unidentified"
        if name in law.bounds:
            _, kind, edge = law.bounds[name].split()
            kind = kind.removesuffix("=")
            value = None
            low, high = (None, float(edge)) if kind == "<" else (float(edge), None)
        rows.append(
            _head(law)
            | {"x": law.x, "parameter": name, "value": value, "low": low, "high": high}
            | {"kind": kind}
        )
    columns = {"value": float, "low": float, "high": float}
    return pd.DataFrame(rows).astype(columns) if rows else empty_table("exponents")


def collapses(table: pd.DataFrame) -> pd.DataFrame:
    """Collapse points and gaps; nothing where no chain has enough ratios."""
    try:
        found = collapse_table(collapse_gaps(table))
    except InputError:
        return pd.DataFrame(columns=COLLAPSE_COLUMNS)
    return found.astype({"value": float, "low": float, "high": float})


def comparisons(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The paired contrasts of every factor, and the variance shares."""
    if table.empty:
        return pd.DataFrame(columns=CONTRAST_COLUMNS), pd.DataFrame(columns=SHARE_COLUMNS)
    found = design(table)
    return contrasts(table, found), variance_shares(table, found)


def _identity(law: str, metric: str, x: str, group: dict[str, Any]) -> tuple[object, ...]:
    return law, metric, x, tuple(sorted(group.items()))


def _line(law: LawFit, xs: Array) -> Iterator[dict[str, Any]]:
    for x in xs:
        found = law.predict(float(x))
        yield _head(law) | {
            "x_name": law.x, "x": x, "value": found.value, "low": found.low, "high": found.high,
        }  # fmt: skip


def _points(law: LawFit, plan: LawPlan) -> Iterator[dict[str, Any]]:
    for row in plan.rows.to_dict("records"):
        x, value = float(row[law.x]), float(row["value"])
        if not (np.isfinite(value) and np.isfinite(x) and x > 0):
            continue
        replicates = read_replicates(row["replicates"])
        low, high = np.percentile(replicates, _PERCENTILES) if len(replicates) else (None, None)
        yield _head(law) | {
            "x_name": law.x, "x": x, "value": value, "low": low, "high": high,
            "residual": value - law.predict(x).value,
        }  # fmt: skip


def _head(law: LawFit) -> dict[str, Any]:
    return {
        "law": law.form,
        "task": law.group.get("task", ""),
        "configuration": law.group.get("configuration", ""),
        "thinking": law.group.get("thinking", ""),
        "metric": law.metric,
    }
