"""Compare the cells of a results table factor by factor: `distillscale laws compare`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd

from distillscale.commands.output import check_writable
from distillscale.errors import InputError
from distillscale.laws.comparison.compare import Comparison, compare
from distillscale.laws.comparison.contrasts import (
    CONTRAST_LEVEL,
    EVERYWHERE,
    METRIC_GROUPS,
    factors_in_order,
)
from distillscale.laws.settings import configuration_label
from distillscale.results import read_results

_WIDTH = 120  # of prose
_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
_LEGEND = (
    "Differences of two levels with all else equal and the same seed: mean over the stages of a",
    f"chain [{CONTRAST_LEVEL:.0%} interval] and, below it, after the last stage. n: independent",
    "pairs (those that share a chain count once). Holm's p within a factor, grid and group of",
    "metrics: * < .05, ** < .01, *** < .001. `--factor` prints the p-values and single settings.",
)


def compare_results(results: Path, factor: str | None, out: Path | None) -> None:
    """Print the comparison of a results table, and write its tables as CSV files to `out`.

    Raises:
        InputError: the table cannot be read or has no rows, no such factor, or `out` is no place
            to write.
    """
    if factor is not None and factor not in factors_in_order():
        raise InputError(
            f"--factor `{factor}`: no such factor; there are {', '.join(factors_in_order())}."
        )
    table = read_results(results)
    if table.empty:
        raise InputError(f"{results}: it has no rows, so there is nothing to compare.")
    if out is not None:
        check_writable(out, "--out")
    found = compare(table)
    print("\n".join(_lines(found, factor)))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, rows in found.tables().items():
            rows.to_csv(out / f"{name}.csv", index=False)
        print(f"tables: {out}")


def _lines(found: Comparison, factor: str | None) -> Iterator[str]:
    yield from _design(found)
    for (name, held), own in found.contrasts.groupby(["factor", "held"], sort=False):
        if factor in (None, name):
            yield from ("", f"{name}: {held}", *_contrasts(own, detailed=factor is not None))
    if factor is None:
        yield from ("", *_shares(found.shares))
        yield from ("", *_exponents(found))
        yield from ("", *_stopped(found.stopped))
        yield from ("", *_spread(found.spread))


def _design(found: Comparison) -> Iterator[str]:
    cells, pairs = found.design.cells, found.design.pairs
    yield f"{len(cells)} cells; pairs of cells that differ in one factor alone:"
    for factor, own in pairs.groupby("factor", sort=False):
        yield f"  {factor:13} {len(own):5}  {', '.join(found.design.levels(str(factor)))}"
    if found.design.fixed:
        yield f"  not varied:    {', '.join(found.design.fixed)}"
    yield from ("", *_LEGEND)


def _contrasts(rows: pd.DataFrame, *, detailed: bool) -> Iterator[str]:
    """One factor in one grid; in detail with the p-values and by setting."""
    whole = rows[rows["context"] == EVERYWHERE]
    for group, own in whole.groupby("group", sort=False):
        there = set(own["metric"])
        metrics = [name for name in METRIC_GROUPS[str(group)] if name in there]
        tests = own["tests"].iloc[0]
        title = f"{group} ({tests} tests)" if tests else f"{group} (no test)"
        yield f"  {title:45}" + "".join(f"{metric:28}" for metric in metrics).rstrip()
        for contrast, line in own.groupby("contrast", sort=False):
            yield _line(f"  {contrast}", line, metrics, "", units=True)
            if not line["at_end"].equals(line["difference"]):
                yield _line("    at the end", line, metrics, "at_end_")
            if detailed:
                yield _p_line(line, metrics)
                parts = rows[(rows["contrast"] == contrast) & rows["metric"].isin(metrics)]
                parts = parts[parts["context"] != EVERYWHERE]
                for context, part in parts.groupby("context", sort=False):
                    yield _line(f"    {context}", part, metrics, "")
    for covers in whole.loc[whole["low"].notna(), "covers"].unique():
        yield f"  intervals cover {covers}"


def _line(
    title: str, rows: pd.DataFrame, metrics: list[str], prefix: str, *, units: bool = False
) -> str:
    """One contrast: a column a metric; what was not measured is a dash."""
    by_metric = {row["metric"]: row for row in rows.to_dict("records")}
    columns = ["at_end" if prefix else "difference", f"{prefix}low", f"{prefix}high"]
    shown = []
    for metric in metrics:
        if metric not in by_metric:
            shown.append("-")
            continue
        row = by_metric[metric]
        stars = "" if prefix else _stars(row["p_holm"])
        value, low, high = (row[column] for column in columns)
        shown.append(_with_interval(value, low, high, stars))
    count = f"n={rows['units'].max()}" if units else ""
    return f"{title:40} {count:5} " + "".join(f"{text:28}" for text in shown).rstrip()


def _p_line(rows: pd.DataFrame, metrics: list[str]) -> str:
    p_values = dict(zip(rows["metric"], rows["p_holm"], strict=True))
    shown = [
        "-" if pd.isna(p_values.get(metric)) else f"{p_values[metric]:.4f}" for metric in metrics
    ]
    return f"{'    p (Holm)':46} " + "".join(f"{text:28}" for text in shown).rstrip()


def _stars(p: Any) -> str:
    return next((stars for limit, stars in _STARS if p is not None and p < limit), "")


def _with_interval(value: float, low: float, high: float, stars: str = "") -> str:
    if pd.isna(value):
        return "-"
    if pd.isna(low) or pd.isna(high):
        return f"{value:+.3f}"
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]{stars}"


def _shares(shares: pd.DataFrame) -> Iterator[str]:
    yield "variance shares at the end of the chains (ANOVA, sums of squares of type II, Holm's p)"
    for ratio, own in shares.groupby("final_ratio"):
        metrics = list(own["metric"].unique())
        yield f"  to {ratio:<26g}" + "".join(f"{metric:>21}" for metric in metrics)
        for source, line in own.groupby("source", sort=False):
            by_metric = {row["metric"]: row for row in line.to_dict("records")}
            shown = [_share(by_metric[m]) if m in by_metric else "-" for m in metrics]
            yield f"    {source:26}" + "".join(f"{text:>21}" for text in shown)
        yield from _aliases(own)
    if shares.empty:
        yield "  nothing varies"


def _aliases(rows: pd.DataFrame) -> Iterator[str]:
    """Which factors were varied together, so that what they share belongs to neither."""
    aliased = rows[rows["aliased_with"].fillna("") != ""]
    columns = ["source", "aliased_with", "degrees", "levels"]
    for row in aliased.drop_duplicates(columns).to_dict("records"):
        own = f"{row['degrees']:.0f} of its {row['levels'] - 1:.0f} degrees of freedom"
        yield f"    {row['source']} is aliased with {row['aliased_with']}: {own} are its own"


def _share(row: Mapping[Any, Any]) -> str:
    if row["degrees"] == 0:
        return "aliased"
    share = round(row["share"], 3) + 0.0  # + 0.0: no minus before nothing
    return f"{share:.1%}{_stars(row['p_holm'])}"


def _exponents(found: Comparison) -> Iterator[str]:
    yield "exponents by format with their intervals; ? where the data do not identify them"
    keys = ["law", "metric", "x", "parameter", "task", "method"]
    differences = found.exponent_differences
    for key, own in found.exponents.groupby(keys, sort=False):
        law, metric, x, parameter, task, method = key
        by = "" if method == "none" else f", {method}"
        yield f"  {law} law of {metric} over {x}, {parameter}: {task}{by}"
        for row in own.to_dict("records"):
            yield f"    {row['format']:38} {_exponent(row, 'value').replace('+', '')}"
        same = np.logical_and.reduce(
            [differences[name] == value for name, value in zip(keys, key, strict=True)]
        )
        for row in differences[same].to_dict("records"):
            yield f"    {row['later'] + ' - ' + row['earlier']:38} {_exponent(row, 'difference')}"
    for covers in found.exponents["covers"].unique():
        yield from wrap(f"{covers}; not corrected for their number", _WIDTH, initial_indent="  ",
                        subsequent_indent="  ")  # fmt: skip
    if found.exponents.empty:
        yield "  no law to compare"


def _exponent(row: Mapping[Any, Any], column: str) -> str:
    text = _with_interval(row[column], row["low"], row["high"])
    return text if row["identified"] else f"{text} ?"


def _stopped(rows: pd.DataFrame) -> Iterator[str]:
    yield "chains that stopped before their last stage (diverged, or not run yet)"
    for row in rows.to_dict("records"):
        name = configuration_label(row["configuration"], row["thinking"])
        share = f"{row['stopped']} of {row['chains']}"
        yield f"  {name:34} {share:12} [{row['low']:.0%}, {row['high']:.0%}]  {row['where']}"


def _spread(rows: pd.DataFrame) -> Iterator[str]:
    yield "run-to-run standard deviation at the end of a chain (seeds of one setting)"
    for row in rows.to_dict("records"):
        yield (
            f"  {row['metric']:24} {row['deviation']:.4f}  {row['settings']} settings, "
            f"{row['degrees']} degrees of freedom"
        )
    if rows.empty:
        yield "  no setting was run with two seeds"
