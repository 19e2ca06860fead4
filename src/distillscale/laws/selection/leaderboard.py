"""The leaderboard of back-tests: who predicts what was held out, and whose intervals hold."""

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

SERIES = ["law", "metric", "x", "task", "configuration", "thinking", "dataset_size", "final_ratio"]
FAMILY = ["law", "metric", "x"]
# Series of one configuration are measured on the same models, so their hits are not independent.
SAME_MODELS = ["task", "configuration", "thinking"]
LEADERBOARD_COLUMNS = [
    *FAMILY, "model", "kind", "series", "predictions", "signed_error", "absolute_error",
    "log_error", "versus_last_point", "best_in", "intervals", "coverage", "coverage_error",
]  # fmt: skip
LAST_POINT = "last point"


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

    Errors are means over series, in which every cut-off counts alike. `versus_last_point` is the
    share by which the absolute error is smaller than that of the last point on the same series;
    `best_in` counts the series in which nobody's is smaller. `coverage` is the share of measured
    values inside the predictive interval, `coverage_error` its standard error.
    """
    rows = predictions(tests)
    if rows.empty:
        return pd.DataFrame(columns=LEADERBOARD_COLUMNS)
    rows = rows.assign(absolute_error=rows["signed_error"].abs(), log_error=rows["log_error"].abs())
    scores = ["signed_error", "absolute_error", "log_error"]
    by_cut = rows.groupby([*SERIES, "model", "levels"], dropna=False)[scores].mean()
    by_series = by_cut.groupby([*SERIES, "model"], dropna=False).mean().reset_index()
    return pd.concat(
        [
            _ranked(family, by_series[_is(by_series, name)], rows[_is(rows, name)])
            for name, family in _families(rows)
        ],
        ignore_index=True,
    )[LEADERBOARD_COLUMNS]


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
        lines += [f"{law} law of {metric} over {x}, {_cuts(tests, name)}", HEADER]
        lines += [_line(row) for _, row in rows.iterrows()]
        lines += [f"  {form:12} left out: {why}" for form, why in _left_out(tests, name).items()]
        lines.append("")
    short = [test for test in tests if not test.cuts]
    if short:
        lines.append(f"{len(short)} of {len(tests)} series are too short to be cut.")
    return "\n".join([*lines, FOOTNOTE])


HEADER = (
    f"  {'model':12} {'series':>6} {'pred.':>6} {'signed':>9} {'absolute':>9} {'log err.':>9} "
    f"{'vs last':>8} {'best in':>7}  {LEVEL:.0%} interval holds"
)
FOOTNOTE = (
    "signed and absolute: predicted minus measured, in the metric's unit, mean over series; log "
    "err.: mean\n|ln(predicted error / measured error)|; vs last: absolute error against the last "
    "point carried forward\non the same series (-40% is better); interval: of a newly measured "
    "value, +- one standard error."
)


def _families(rows: pd.DataFrame) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    return [(tuple(map(str, name)), own) for name, own in rows.groupby(FAMILY, sort=False)]


def _is(rows: pd.DataFrame, family: tuple[str, ...]) -> pd.Series:
    matches = [rows[column] == value for column, value in zip(FAMILY, family, strict=True)]
    return matches[0] & matches[1] & matches[2]


def _ranked(family: pd.DataFrame, series: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one law, metric and input."""
    keys = [column for column in SERIES if column not in FAMILY]
    errors = series.set_index([*keys, "model"])["absolute_error"].unstack("model")
    least = errors.min(axis=1)
    found = []
    for model, own in series.groupby("model", sort=False):
        made = rows[rows["model"] == model]
        scored = made[made["covered"].notna()]
        absolute = errors[str(model)]
        last = errors[LAST_POINT].where(absolute.notna()).mean()
        share, error = (np.nan, np.nan)
        if len(scored):
            cluster = scored[SAME_MODELS].astype(str).agg("/".join, axis=1)
            share, error = coverage(scored["covered"], cluster)
        found.append(
            {
                **family.iloc[0][FAMILY],
                "model": model,
                "kind": made["kind"].iloc[0],
                "series": len(own),
                "predictions": len(made),
                **own[["signed_error", "absolute_error", "log_error"]].mean(),
                "versus_last_point": absolute.mean() / last - 1 if last else 0.0,
                "best_in": int((absolute <= least * (1 + 1e-9)).sum()),
                "intervals": len(scored),
                "coverage": share,
                "coverage_error": error,
            }
        )
    return pd.DataFrame(found).sort_values("absolute_error", kind="stable")


def _cuts(tests: Sequence[SeriesBacktest], family: Any) -> str:
    own = [test for test in tests if _family(test) == family and test.cuts]
    cuts = sorted({cut.levels for test in own for cut in test.cuts})
    most = max(int(test.series.levels.max()) + 1 for test in own)
    outwards = "largest" if own[0].series.direction == "up" else "smallest"
    return f"fitted to {', '.join(map(str, cuts))} of {most} levels, the {outwards} held out"


def _left_out(tests: Sequence[SeriesBacktest], family: Any) -> dict[str, str]:
    return {
        form: reason
        for test in tests
        if _family(test) == family
        for form, reason in test.left_out.items()
    }


def _family(test: SeriesBacktest) -> tuple[str, str, str]:
    return test.series.law, test.series.metric, test.series.x


def _line(row: pd.Series) -> str:
    held = ""
    if row["intervals"]:
        held = f"{row['coverage']:.2f} +- {row['coverage_error']:.2f} of {row['intervals']}"
    return (
        f"  {row['model']:12} {row['series']:6d} {row['predictions']:6d} "
        f"{row['signed_error']:+9.4f} {row['absolute_error']:9.4f} {row['log_error']:9.3f} "
        f"{row['versus_last_point']:+8.0%} {row['best_in']:7d}  {held}"
    )
