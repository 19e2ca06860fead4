"""The leaderboard of back-tests: who predicts what was held out, and whose intervals hold.

Models are ranked by their errors on the same series: a form of many parameters can be fitted to the
longer series only, and those may be the easier ones. A form that fits so few series that ranking it
would throw away most of the others' is listed below the ranking, against the last point on its own.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from distillscale.laws.chance import with_chance
from distillscale.laws.plan import plan_laws
from distillscale.laws.selection.backtest import DRAWS, SeriesBacktest, backtest_series, predictions
from distillscale.laws.selection.forecast import LEVEL
from distillscale.laws.selection.series import CANDIDATES, series_of
from distillscale.laws.settings import with_settings

FAMILY = ["law", "metric", "x"]
SERIES = [
    *FAMILY, "task", "configuration", "thinking", "schedule", "stages", "dataset_size",
    "final_ratio",
]  # fmt: skip
# Series of one configuration are measured on the same models, so their hits are not independent.
SAME_MODELS = ["task", "configuration", "thinking"]
LEADERBOARD_COLUMNS = [
    *FAMILY, "model", "kind", "ranked", "fitted", "series", "predictions", "signed_error",
    "absolute_error", "log_error", "versus_last_point", "best_in", "intervals", "coverage",
    "coverage_error",
]  # fmt: skip
SCORES = ["signed_error", "absolute_error", "log_error"]
LAST_POINT = "last point"
# At least so many of a family's series are ranked on; forms that fit too few are not ranked.
FEWEST_COMMON = 0.5


def backtest_laws(
    table: pd.DataFrame, *, draws: int = DRAWS, seed: int = 0
) -> list[SeriesBacktest]:
    """Back-test every law that a results table allows (see `plan_laws`).

    Args:
        table: a results table.
        draws: as in `backtest_series`.
        seed: of the simulations behind the intervals.
    """
    plans = plan_laws(with_chance(with_settings(table)))
    known = [plan for plan in plans if plan.law in CANDIDATES]
    return [backtest_series(series_of(plan), draws=draws, seed=seed) for plan in known]


def leaderboard(tests: Sequence[SeriesBacktest]) -> pd.DataFrame:
    """One row a law, metric, input and model, the best first; columns `LEADERBOARD_COLUMNS`.

    All numbers of `ranked` models are of the series that all of them could be fitted to (see
    `common_series`); those of the others, which follow, of the series that each could be fitted
    to. `series` says how many these are, `fitted` to how many a model could be fitted.

    Errors are means over series, in which every cut-off counts alike. `versus_last_point` is the
    share by which the absolute error is larger than that of the last point on the same series;
    `best_in` counts the series in which no ranked model's is smaller. `coverage` is the share of
    measured values inside the predictive interval, `coverage_error` its standard error.
    """
    rows = predictions(tests)
    if rows.empty:
        return pd.DataFrame(columns=LEADERBOARD_COLUMNS)
    rows = rows.assign(absolute_error=rows["signed_error"].abs(), log_error=rows["log_error"].abs())
    rows = rows.assign(place=rows.groupby(SERIES, dropna=False, sort=False).ngroup())
    by_cut = rows.groupby([*FAMILY, "place", "model", "levels"], sort=False)[SCORES].mean()
    by_series = by_cut.groupby([*FAMILY, "place", "model"], sort=False).mean().reset_index()
    return pd.concat(
        [
            _ranked(family, by_series[_is(by_series, name)], rows[_is(rows, name)])
            for name, family in _families(rows)
        ],
        ignore_index=True,
    )[LEADERBOARD_COLUMNS]


def common_series(fitted: pd.DataFrame) -> tuple[list[str], pd.Series]:
    """The models that can be ranked, and the series on which they are.

    As long as fewer than half of the series could be fitted by all models, those that were fitted
    to the fewest are left out.

    Args:
        fitted: whether a model (column) could be fitted to a series (row).

    Returns:
        The models, and for each series whether all of them could be fitted to it.
    """
    models = list(fitted.columns)
    counts = fitted.sum()
    while (common := fitted[models].all(axis=1)).mean() < FEWEST_COMMON:
        fewest = counts[models].min()
        models = [model for model in models if counts[model] > fewest]
    return models, common


def coverage(covered: pd.Series, clusters: pd.Series) -> tuple[float, float]:
    """The share of intervals that hold the measured value, and its standard error.

    The error allows for hits that come together within a cluster, and stays above zero when every
    interval holds (the share that it is computed from has four imagined cases added, two of each
    kind; Agresti and Coull 1998).

    Args:
        covered: whether each interval holds, without missing ones.
        clusters: what each belongs to.
    """
    hits, count = float(covered.sum()), len(covered)
    share = hits / count
    smoothed = (hits + 2) / (count + 4)
    independent = smoothed * (1 - smoothed) / (count + 4)
    sums = (covered.astype(float) - share).groupby(clusters).sum()
    clustered = float((sums**2).sum()) / count**2 * len(sums) / max(len(sums) - 1, 1)
    return share, float(np.sqrt(max(independent, clustered)))


def leaderboard_text(table: pd.DataFrame, tests: Sequence[SeriesBacktest]) -> str:
    """The leaderboard for people."""
    lines: list[str] = []
    for name, rows in table.groupby(FAMILY, sort=False):
        law, metric, x = name
        ranked, others = rows[rows["ranked"]], rows[~rows["ranked"]]
        total, common = rows["fitted"].max(), ranked["series"].iloc[0]
        lines += [f"{law} law of {metric} over {x}, {_cuts(tests, name)}"]
        lines += [f"  ranked on the {common} of {total} series that all of them can be fitted to"]
        lines += [HEADER, *(_line(row) for _, row in ranked.iterrows())]
        if len(others):
            lines += ["  not ranked: fitted to fewer series; on these alone"]
            lines += [_line(row) for _, row in others.iterrows()]
        lines += [f"  {form:12} left out{why}" for form, why in _left_out(tests, name).items()]
        lines.append("")
    short = [test for test in tests if not test.cuts]
    if short:
        lines.append(f"{len(short)} of {len(tests)} series are too short to be cut.")
    return "\n".join([*lines, FOOTNOTE])


HEADER = (
    f"  {'model':12} {'fits':>6} {'pred.':>6} {'signed':>9} {'absolute':>9} {'log err.':>9} "
    f"{'vs last':>8} {'best in':>7}  {LEVEL:.0%} interval holds"
)
FOOTNOTE = (
    "fits: series that it can be fitted to; signed and absolute: predicted minus measured, in the "
    "metric's\nunit, mean over series; log err.: mean |ln(predicted error / measured error)|; vs "
    "last: absolute error\nagainst the last point carried forward on the same series (-40% is "
    "better); interval: of a newly\nmeasured value, +- one standard error."
)


def _families(rows: pd.DataFrame) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    return [(tuple(map(str, name)), own) for name, own in rows.groupby(FAMILY, sort=False)]


def _is(rows: pd.DataFrame, family: tuple[str, ...]) -> pd.Series:
    matches = [rows[column] == value for column, value in zip(FAMILY, family, strict=True)]
    return matches[0] & matches[1] & matches[2]


def _ranked(family: pd.DataFrame, series: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one law, metric and input."""
    models = list(dict.fromkeys(series["model"]))
    tables = {name: series.pivot(index="place", columns="model", values=name)[models]
              for name in SCORES}  # fmt: skip
    fitted = tables["absolute_error"].notna()
    ranked, common = common_series(fitted)
    found = [
        family.iloc[0][FAMILY].to_dict()
        | {"model": model, "ranked": model in ranked, "fitted": int(fitted[model].sum())}
        | _scored(model, common if model in ranked else fitted[model], tables, rows, ranked)
        for model in models
    ]
    board = pd.DataFrame(found).astype({"best_in": "Int64"})
    return board.sort_values(["ranked", "absolute_error"], ascending=[False, True], kind="stable")


def _scored(
    model: str, chosen: pd.Series, tables: dict[str, pd.DataFrame], made: pd.DataFrame,
    ranked: list[str],
) -> dict[str, Any]:  # fmt: skip
    """A model's numbers on some of the series."""
    own = {name: table.loc[chosen, model].mean() for name, table in tables.items()}
    errors = tables["absolute_error"][chosen]
    last = errors[LAST_POINT].mean()
    least = errors[ranked].min(axis=1) * (1 + 1e-9)
    rows = made[(made["model"] == model) & made["place"].isin(errors.index)]
    scored = rows[rows["covered"].notna()]
    share, error = (np.nan, np.nan)
    if len(scored):
        cluster = scored[SAME_MODELS].astype(str).agg("/".join, axis=1)
        share, error = coverage(scored["covered"], cluster)
    return own | {
        "kind": rows["kind"].iloc[0],
        "series": int(chosen.sum()),
        "predictions": len(rows),
        "versus_last_point": own["absolute_error"] / last - 1 if last else 0.0,
        "best_in": int((errors[model] <= least).sum()) if model in ranked else None,
        "intervals": len(scored),
        "coverage": share,
        "coverage_error": error,
    }


def _cuts(tests: Sequence[SeriesBacktest], family: Any) -> str:
    own = [test for test in tests if _family(test) == family and test.cuts]
    cuts = sorted({cut.levels for test in own for cut in test.cuts})
    most = max(int(test.series.levels.max()) + 1 for test in own)
    outwards = "largest" if own[0].series.direction == "up" else "smallest"
    return f"fitted to {', '.join(map(str, cuts))} of {most} levels, the {outwards} held out"


def _left_out(tests: Sequence[SeriesBacktest], family: Any) -> dict[str, str]:
    """For each form that could not be fitted everywhere, where it could not and why."""
    own = [test for test in tests if _family(test) == family and test.cuts]
    reasons: dict[str, list[str]] = {}
    for test in own:
        for form, reason in test.left_out.items():
            reasons.setdefault(form, []).append(reason)
    return {
        form: (f": {found[0]}" if len(found) == len(own)
               else f" of {len(found)} of {len(own)} series: {found[0]}")
        for form, found in reasons.items()
    }  # fmt: skip


def _family(test: SeriesBacktest) -> tuple[str, str, str]:
    return test.series.law, test.series.metric, test.series.x


def _line(row: pd.Series) -> str:
    held, best = "", "-" if pd.isna(row["best_in"]) else str(row["best_in"])
    if row["intervals"]:
        held = f"{row['coverage']:.2f} +- {row['coverage_error']:.2f} of {row['intervals']}"
    return (
        f"  {row['model']:12} {row['fitted']:6d} {row['predictions']:6d} "
        f"{row['signed_error']:+9.4f} {row['absolute_error']:9.4f} {row['log_error']:9.3f} "
        f"{row['versus_last_point']:+8.0%} {best:>7}  {held}"
    )
