"""How much of a metric's variation each factor accounts for: analysis of variance by statsmodels.

At one final prune ratio, main effects of all factors that the cells vary, sums of squares of type
II (each factor given all others; Langsrud 2003), because the design is unbalanced: not every
supervision exists with every method. Where factors are aliased, what they share is a source of its
own (see `sums_of_squares`). A factor without a meaning for a cell (depth of reasoning of a
label-only chain) takes the reference level there, so `thinking` is the contrast of depths among
chains that reason, and what reasoning itself does belongs to `supervision`. Chains that are only
pruned are left out: they have no method and no examples.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from distillscale.laws.comparison.knowledge import with_splits
from distillscale.laws.comparison.matched import FACTORS, Design, design
from distillscale.laws.comparison.multiplicity import holm
from distillscale.laws.comparison.sums_of_squares import Effect, partial_effects

SHARE_COLUMNS = [
    "final_ratio", "metric", "source", "levels", "degrees", "share", "omega_squared", "f", "p",
    "p_holm", "cells", "aliased_with",
]  # fmt: skip
ANOVA_METRICS = ("macro_f1", "gold_nll", "general", "general_rehearsed", "general_unrehearsed")

INTERACTIONS = "interactions"
TINY = 1e-24  # of the values' mean square: less variance is rounding
RUNS = "runs (within a setting)"
OVERLAP = "not attributable"
SHARED = " or "


def variance_shares(
    table: pd.DataFrame,
    found: Design | None = None,
    *,
    metrics: Sequence[str] = ANOVA_METRICS,
) -> pd.DataFrame:
    """Shares of the total sum of squares at the end of the chains, columns `SHARE_COLUMNS`.

    For each final ratio and metric one row a factor, with its share and degrees of freedom given
    all others. `aliased_with` names the factors with which it shares degrees of freedom (with none
    of its own its share is 0); what those cannot be told apart in is a row of its own, such as
    `supervision or method`. Then `interactions` (what settings differ in beyond main effects),
    `runs` (what is left between the seeds of one setting) and `not attributable` (total minus all
    others: an unbalanced design cannot attribute what factors that go together share; it may be
    negative). `f` and `p` test against the runs within a setting; a design without repetition has
    neither, and its interactions contain the runs. `omega_squared` is the share without what
    chance alone gives a factor; `p_holm` is by Holm's method over the sources of one ratio and
    metric.
    """
    found = found or design(table)
    cells = found.cells[
        (found.cells["measured"] == found.cells["stages"]) & (found.cells["method"] != "none")
    ]
    ends = with_splits(table).merge(cells[["study", "cell", "planned_ratio"]], on=["study", "cell"])
    ends = ends[(ends["stage"] == ends["stages"]) & np.isfinite(ends["value"].astype(float))]
    rows = [
        row | {"p_holm": p}
        for ratio, at_ratio in ends.groupby("planned_ratio")
        for metric in metrics
        for row, p in _corrected(
            _shares(at_ratio[at_ratio["metric"] == metric], float(str(ratio)), metric)
        )
    ]
    return pd.DataFrame(rows, columns=SHARE_COLUMNS)


def _corrected(
    sources: Iterable[dict[str, Any]],
) -> Iterator[tuple[dict[str, Any], float | None]]:
    """The sources of one analysis with p-values by Holm: they are a family."""
    found = list(sources)
    return zip(found, holm([source.get("p") for source in found]), strict=True)


def _shares(rows: pd.DataFrame, ratio: float, metric: str) -> Iterator[dict[str, Any]]:
    if rows.empty:
        return
    data = _coded(rows)
    varied = [factor for factor in FACTORS if data[factor].nunique() > 1]
    total = float(((data["value"] - data["value"].mean()) ** 2).sum())
    if not varied or total <= TINY * len(data) * float((data["value"] ** 2).mean()):
        return
    found = _analysis(data, varied)
    if found is None:
        return
    effects, runs, freedom = found
    common = {"final_ratio": ratio, "metric": metric, "cells": len(data)}
    error = runs / freedom if freedom > 0 else None
    for effect in effects:
        source = SHARED.join(effect.factors)
        if effect.degrees == 0 and not effect.aliased_with:
            continue
        tested = effect.degrees > 0 and error
        f = effect.squares / effect.degrees / error if tested and error else None
        yield common | {
            "source": source,
            "levels": data[source].nunique() if source in data else None,
            "degrees": effect.degrees,
            "share": effect.squares / total,
            "omega_squared": None if error is None else _omega(effect, error, total),
            "f": f,
            "p": None if f is None else _tail(f, effect.degrees, freedom),
            "aliased_with": ", ".join(effect.aliased_with),
        }
    if freedom > 0:
        yield common | {"source": RUNS, "degrees": freedom, "share": runs / total}
    accounted = sum(effect.squares for effect in effects) + runs
    yield common | {"source": OVERLAP, "share": 1 - accounted / total}


def _coded(rows: pd.DataFrame) -> pd.DataFrame:
    """The factors as text, those without a meaning at the reference level, and the settings."""
    data = rows[[*FACTORS, "stages", "value"]].copy()
    data["schedule"] = data["schedule"] + data["stages"].astype(str)
    reasons = data["thinking"] != "none"
    depths = sorted(data.loc[reasons, "thinking"].unique(), reverse=True)
    data["thinking"] = data["thinking"].where(reasons, depths[0] if depths else "none")
    for factor in FACTORS:
        data[factor] = data[factor].astype(str)
    return data.assign(setting=data[[f for f in FACTORS if f != "seed"]].agg("|".join, axis=1))


def _analysis(data: pd.DataFrame, varied: Sequence[str]) -> tuple[list[Effect], float, int] | None:
    """The sources' sums of squares and degrees of freedom, and those of the runs.

    None where main effects leave no degree of freedom: then nothing can be told apart.
    """
    main = _fitted(data, varied)
    if main.df_resid < 1:
        return None
    value = data["value"].to_numpy(dtype=float)
    effects = partial_effects(value, {factor: data[factor].tolist() for factor in varied})
    repeated = data["setting"].nunique() < len(data)
    if not repeated:
        return [*effects, Effect((INTERACTIONS,), float(main.ssr), int(main.df_resid))], 0.0, 0
    full = _fitted(data, ["setting", *(["seed"] if "seed" in varied else [])])
    beyond = max(float(main.ssr - full.ssr), 0.0)
    interactions = Effect((INTERACTIONS,), beyond, int(main.df_resid - full.df_resid))
    return [*effects, interactions], float(full.ssr), int(full.df_resid)


def _fitted(data: pd.DataFrame, factors: Sequence[str]) -> Any:
    """Least squares of main effects; of aliased ones statsmodels' degrees of freedom are ranks."""
    # Here, because statsmodels takes a second to import and only this analysis needs it.
    from statsmodels.formula.api import ols
    from statsmodels.tools.sm_exceptions import SingularMatrixWarning

    terms = " + ".join(f"C({factor})" for factor in factors)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularMatrixWarning)  # aliases are told, effect by effect
        return ols(f"value ~ {terms}", data).fit()


def _omega(effect: Effect, error: float, total: float) -> float:
    """Omega squared (Hays 1963): the share less what the runs' variance alone would give it."""
    return float(np.clip((effect.squares - effect.degrees * error) / (total + error), 0, 1))


def _tail(f: float, degrees: float, freedom: float) -> float:
    from scipy.stats import f as distribution

    return float(distribution.sf(f, degrees, freedom))
