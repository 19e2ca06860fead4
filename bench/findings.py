"""docs/findings.md from docs/results/lab.parquet: each claim of the paper and what the lab says.

Claims are those of arXiv 2606.24747 as far as we know them (`CLAIMS`, written down with the rule of
their verdict before the study was complete). A claim about a difference is *reproduced at lab
scale* if the difference has the claimed sign and Holm's p is below .05, else *not reproduced*; what
the table lacks is *not tested*.

    python bench/findings.py            # writes the page
    python bench/findings.py --print    # prints it
"""

import argparse
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from distillscale.laws.chance import with_chance
from distillscale.laws.collapse.gap import Collapses, collapse_gaps
from distillscale.laws.comparison.compare import Comparison, compare
from distillscale.laws.comparison.contrasts import EVERYWHERE
from distillscale.laws.plan import plan_laws
from distillscale.laws.selection.backtest import SeriesBacktest, backtest_series
from distillscale.laws.selection.leaderboard import leaderboard
from distillscale.laws.selection.series import CANDIDATES, series_of
from distillscale.laws.settings import configuration_label, with_settings
from distillscale.results import read_results

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "docs" / "results" / "lab.parquet", ROOT / "docs" / "findings.md"
TABLE = "docs/results/lab.parquet"
COMPARE = f"distillscale laws compare {TABLE}"
YES, NO, UNTESTED = "reproduced at lab scale", "not reproduced", "not tested"
SIGNIFICANT, MARGIN = 0.05, 0.02
FORMATS = ("pruned only", "label", "cot (brief)", "cot (full)", "blended (brief)", "blended (full)")
INPUTS = ("dataset_size", "params", "prune_ratio")
CHAIN, ENDS, SIZES = "uniform", "to", "oneshot"


@dataclass(frozen=True)
class Claim:
    """A claim about one contrast: the sign that it should have, or `within` a margin above zero."""

    says: str
    factor: str
    contrast: str
    metric: str
    sign: int
    held: str = CHAIN
    within: float | None = None


CLAIMS: dict[str, tuple[Claim, ...]] = {
    "Distillation": (
        Claim("Distillation after each prune keeps the task that pruning alone loses",
              "supervision", "label - pruned only", "macro_f1", +1),
        Claim("It keeps general knowledge that pruning alone loses",
              "supervision", "label - pruned only", "general", +1),
        Claim("`logit` keeps the task better than `lora`",
              "method", "lora - logit", "macro_f1", -1),
        Claim("`logit` keeps general knowledge better than `lora`",
              "method", "lora - logit", "general", -1),
    ),
    "Reasoning": (
        Claim(f"The teacher's labels suffice for the task: CoT adds less than {MARGIN} macro F1",
              "supervision", "cot (full) - label", "macro_f1", 0, within=MARGIN),
        Claim("CoT recovers general knowledge that label-only distillation loses",
              "supervision", "cot (full) - label", "general", +1),
        Claim("... of facts that the traces state (rehearsed)",
              "supervision", "cot (full) - label", "general_rehearsed", +1),
        Claim("... of facts that no trace states (unrehearsed)",
              "supervision", "cot (full) - label", "general_unrehearsed", +1),
        Claim("CoT keeps more general knowledge than pruning alone",
              "supervision", "cot (full) - pruned only", "general", +1),
        Claim("... of facts that no trace states (unrehearsed)",
              "supervision", "cot (full) - pruned only", "general_unrehearsed", +1),
        Claim("More thinking recovers more general knowledge",
              "thinking", "full - brief", "general", +1),
        Claim("More thinking helps the task", "thinking", "full - brief", "macro_f1", +1),
    ),
    "Blending": (
        Claim("Blending steadies CoT: the gradient norm spreads less",
              "supervision", "blended (full) - cot (full)", "gradient_norm_spread", -1),
        Claim("Blending brings the answer closer to the teacher's",
              "supervision", "blended (full) - cot (full)", "kl_answer", -1),
        Claim("Blending brings the reasoning closer to the teacher's",
              "supervision", "blended (full) - cot (full)", "kl_reasoning", -1),
        Claim("Blending beats CoT on the task",
              "supervision", "blended (full) - cot (full)", "macro_f1", +1),
        Claim("Blending keeps the general knowledge that CoT recovers",
              "supervision", "blended (full) - label", "general", +1),
    ),
    "Schedule": (
        Claim("Pruning in uniform stages beats one cut on the task",
              "schedule", "uniform in 5 - oneshot", "macro_f1", +1, ENDS),
        Claim("... and on general knowledge",
              "schedule", "uniform in 5 - oneshot", "general", +1, ENDS),
        Claim("Decayed stages beat uniform ones on the task",
              "schedule", "decayed in 5 - uniform in 5", "macro_f1", +1, ENDS),
        Claim("... and on general knowledge",
              "schedule", "decayed in 5 - uniform in 5", "general", +1, ENDS),
    ),
}  # fmt: skip

NEVER_TESTED = (
    "Models of a size in use, and MMLU and MMLU-Pro: this is the lab's teacher of 1.6 million "
    "parameters, and its questions stand in for both",
    "The corpus of 500 thousand headlines: the largest dataset here has 2,592 examples",
    "The paper's own weights of the blended loss, which are not in the material that we have",
    "Latency and cost: the study shared its two cores with other work, so `ms_per_example` and "
    "`examples_per_second` in the table are no measurements of speed",
)


def page(table: pd.DataFrame) -> str:
    """The page as Markdown."""
    found = compare(table)
    # Accuracy says what chance is for macro F1 too: one over the number of classes.
    headline = table[table["metric"].isin(["macro_f1", "gold_nll", "general", "accuracy"])]
    lines = [*_head(table, found)]
    lines += ["", "## General knowledge collapses first", "", *_collapse(collapse_gaps(headline))]
    for theme, claims in CLAIMS.items():
        factors = dict.fromkeys(claim.factor for claim in claims)
        commands = " and ".join(f"`{COMPARE} --factor {factor}`" for factor in factors)
        lines += ["", f"## {theme}", "", f"Printed by {commands}:", ""]
        lines += ["| claim | verdict | difference |"]
        lines += ["|---|---|---|", *(_row(claim, found.contrasts) for claim in claims)]
        if theme == "Blending":
            lines += ["", *_diverged(found)]
    lines += ["", "## Laws", "", *_laws(leaderboard(_backtests(headline)))]
    lines += ["", *_exponents(found)]
    lines += ["", "## What varies most", "", *_shares(found)]
    lines += ["", "## Not tested", "", *(f"- {text}." for text in NEVER_TESTED)]
    return "\n".join(lines) + "\n"


def _head(table: pd.DataFrame, found: Comparison) -> Iterator[str]:
    cells = found.design.cells
    yield "# Findings: the paper's claims in the lab"
    yield ""
    yield (
        f"Study `studies/lab.yaml`: {len(cells)} chains, {cells['task'].nunique()} tasks, "
        f"{cells['seed'].nunique()} seeds, {len(table):,} measurements in `{TABLE}`. This page is "
        "written by `python bench/findings.py` from that table; a test compares the two."
    )
    yield ""
    yield (
        "Claims are those of arXiv 2606.24747 as far as we know them, each with the rule of its "
        f"verdict in `bench/findings.py`: *{YES}* if the difference has the claimed sign and "
        "Holm's p is below .05 (a claim of *less than*: if the whole interval is below the "
        f"margin), else *{NO}*; *{UNTESTED}* if the table lacks it. Differences are "
        "means over the stages of a chain, in brackets 95 % intervals over runs and test examples "
        "(gradient norms: runs); n counts independent pairs of chains; *by setting* is the range "
        "over tasks, methods and the like; *at the end* is after the last stage."
    )


def _row(claim: Claim, contrasts: pd.DataFrame) -> str:
    rows = contrasts[
        (contrasts["factor"] == claim.factor)
        & (contrasts["contrast"] == claim.contrast)
        & (contrasts["metric"] == claim.metric)
        & contrasts["held"].str.startswith(f"{claim.held} ")
    ]
    whole = rows[rows["context"] == EVERYWHERE].to_dict("records")
    if not whole or pd.isna(whole[0]["p"]):
        return f"| {claim.says} | *{UNTESTED}* | |"
    row = whole[0]
    rows = rows[rows["held"] == row["held"]]
    name = claim.contrast.replace(" - ", " − ")
    text = f"{name}, `{claim.metric}`: {_number(row['difference'], row['low'], row['high'])}"
    text += f", {_p(row['p_holm'])}, n = {row['units']}"
    parts = rows.loc[rows["context"] != EVERYWHERE, "difference"]
    if len(parts):
        text += f"; by setting {parts.min():+.3f} to {parts.max():+.3f}"
    if pd.notna(row["at_end"]) and row["at_end"] != row["difference"]:
        end = _number(row["at_end"], row["at_end_low"], row["at_end_high"])
        text += f"; at the end {end}"
    return f"| {claim.says} | *{_verdict(claim, row)}* | {text} |"


def _verdict(claim: Claim, row: dict[str, float]) -> str:
    if claim.within is not None:
        return YES if row["high"] < claim.within else NO
    certain = pd.notna(row["p_holm"]) and row["p_holm"] < SIGNIFICANT
    if not certain:
        return f"{NO} (undecided)"
    return YES if np.sign(row["difference"]) == claim.sign else f"{NO} (the opposite)"


def _diverged(found: Comparison) -> Iterator[str]:
    yield f"Chains that stopped before their last stage (`{COMPARE}`):"
    counts = [
        f"{configuration_label(row['configuration'], row['thinking'])} {row['stopped']} of "
        f"{row['chains']} [{row['low']:.0%}, {row['high']:.0%}]"
        for row in found.stopped.to_dict("records")
    ]
    yield "; ".join(counts) + "."
    stopped = found.stopped.set_index(["configuration", "thinking"])["stopped"]
    if stopped.sum() == 0:
        yield f"None diverged, so that blending prevents divergence is *{UNTESTED}*."


def _collapse(found: Collapses) -> Iterator[str]:
    gaps = [
        gap
        for gap in found.gaps
        if (gap.in_domain.metric, gap.general.metric) == ("macro_f1", "general")
    ]
    distilled = [gap for gap in gaps if gap.group["configuration"] != "pruned only"]
    signs = [_sign(gap.kept.low, gap.kept.high) for gap in distilled]
    verdict = YES if signs and min(signs) > 0 else NO
    yield (
        "Claim: the in-domain score holds while general knowledge collapses earlier. Rule: in "
        "every distilled format the share of macro F1 (above chance) that is kept at the smallest "
        "size exceeds that of general knowledge, its interval above zero. "
        f"**{verdict.capitalize()}**: so in {sum(s > 0 for s in signs)} of {len(signs)} formats, "
        f"the reverse in {sum(s < 0 for s in signs)}."
    )
    yield ""
    yield "| task | format | kept of macro F1 − of general | ln r*(general) − ln r*(macro F1) |"
    yield "|---|---|---|---|"
    for gap in gaps:
        name = configuration_label(str(gap.group["configuration"]), str(gap.group["thinking"]))
        kept = _number(gap.kept.value, gap.kept.low, gap.kept.high, 2)
        yield f"| {gap.group['task']} | {name} | {kept} | {_located(gap.gap)} |"
    yield ""
    yield (
        f"r*: the share of parameters at which half of what lies above chance is lost. Printed by "
        f"`distillscale laws collapse {TABLE}`; intervals over runs and test examples, not "
        "corrected for their number."
    )


def _located(quantity: object) -> str:
    kind = getattr(quantity, "kind")  # noqa: B009  (a `Located`, which is not public)
    value, low, high = (getattr(quantity, name) for name in ("value", "low", "high"))
    if kind == "value":
        return _number(value, low, high, 2)
    if kind == "unknown":
        return "not identified"
    return f"{kind} {low if kind == '>' else high:+.2f}"


def _sign(low: float | None, high: float | None) -> int:
    if low is None or high is None:
        return 0
    return int(low > 0) - int(high < 0)


def _backtests(table: pd.DataFrame) -> list[SeriesBacktest]:
    """As `distillscale laws backtest` makes them, without their intervals."""
    plans = plan_laws(with_chance(with_settings(table)))
    wanted = [plan for plan in plans if plan.law in CANDIDATES and plan.x in INPUTS]
    return [backtest_series(series_of(plan), draws=0) for plan in wanted]


def _laws(board: pd.DataFrame) -> Iterator[str]:
    yield (
        "Claim: data and size laws are power laws with a floor. Rule: fitted to fewer levels, "
        "the law predicts the held-out largest datasets (smallest sizes) with less absolute error "
        "than each baseline: the last point, the two-parameter power law, the flat line. "
        f"Printed by `distillscale laws backtest {TABLE}`."
    )
    yield ""
    yield "| law | verdict | absolute error | best baseline | best of all |"
    yield "|---|---|---|---|---|"
    board = board[board["ranked"]]
    for (law, metric, x), rows in board.groupby(["law", "metric", "x"], sort=False):
        own = rows[rows["model"] == law].to_dict("records")
        if not own:
            continue
        ranked = rows.sort_values("absolute_error", kind="stable")
        best, rival = ranked.iloc[0], ranked[ranked["kind"] == "baseline"].iloc[0]
        error = own[0]["absolute_error"]
        verdict = YES if error < rival["absolute_error"] else NO
        yield (
            f"| {law}: {metric} over {x} | *{verdict}* | {error:.4f} | "
            f"{rival['model']} {rival['absolute_error']:.4f} | "
            f"{best['model']} {best['absolute_error']:.4f} |"
        )


def _exponents(found: Comparison) -> Iterator[str]:
    rows = found.exponent_differences
    known = rows[rows["identified"].astype(bool)]
    signs = np.sign(known["difference"]).where((known["low"] > 0) | (known["high"] < 0), 0)
    alike = known.assign(sign=signs).groupby(["law", "metric", "method", "earlier", "later"])
    tasks = rows["task"].nunique()
    repeated = [name for name, own in alike["sign"] if tasks > 1 and abs(own.sum()) == tasks]
    verdict = UNTESTED if known.empty or tasks < 2 else YES if repeated else NO
    yield (
        "Claim: the exponents differ by format. Rule: for some law, method and two formats the "
        "difference has an interval without zero and the same sign in every task, all exponents "
        f"being identified. **{verdict.capitalize()}**: an interval without zero in "
        f"{int((signs != 0).sum())} of {len(known)} identified pairs ({len(rows)} in all), in all "
        f"tasks alike for {len(repeated)}. Below, exponents with 95 % intervals, ? where the data "
        f"do not identify them. Printed by `{COMPARE}`."
    )
    yield ""
    formats = [name for name in FORMATS if name in set(found.exponents["format"])]
    yield f"| law | task, method | {_joined(formats)}"
    yield "|---|---|" + "---|" * len(formats)
    keys = ["law", "metric", "parameter", "task", "method"]
    for (law, metric, parameter, task, method), own in found.exponents.groupby(keys, sort=False):
        by_format = {row["format"]: row for row in own.to_dict("records")}
        shown = [_exponent(by_format[name]) if name in by_format else "–" for name in formats]
        by = "" if method == "none" else f", {method}"
        yield f"| {law}: {metric}, {parameter} | {task}{by} | {_joined(shown)}"


def _exponent(row: dict[Hashable, Any]) -> str:
    text = f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
    return text if row["identified"] else f"{text} ?"


def _shares(found: Comparison) -> Iterator[str]:
    yield (
        "Shares of the variance at the end of the chains (ANOVA, sums of squares of type II, "
        "main effects; the design is unbalanced, so shares need not add up to 100 %). Printed by "
        f"`{COMPARE}`; F tests against runs: * Holm's p < .05."
    )
    for ratio, own in found.shares.groupby("final_ratio"):
        metrics = list(own["metric"].unique())
        yield ""
        yield f"| pruned to {ratio:.2g}, {own['cells'].max()} chains | " + _joined(metrics)
        yield "|---|" + "---:|" * len(metrics)
        for source, line in own.groupby("source", sort=False):
            by_metric = {row["metric"]: row for row in line.to_dict("records")}
            yield f"| {source} | " + _joined(
                f"{round(by_metric[m]['share'], 3) + 0.0:.1%}{_star(by_metric[m]['p_holm'])}"
                if m in by_metric
                else "–"
                for m in metrics
            )


def _star(p: float | None) -> str:
    return " *" if p is not None and p < SIGNIFICANT else ""  # NaN is not


def _joined(texts: Iterable[str]) -> str:
    return " | ".join(texts) + " |"


def _p(p: float | None) -> str:
    if p is None or pd.isna(p):
        return "not tested"
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".")


def _number(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    if value is None or pd.isna(value):
        return "–"
    if low is None or pd.isna(low):
        return f"{value:+.{digits}f}"
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def main() -> None:
    """Write the page, or print it."""
    parser = argparse.ArgumentParser(description="Write docs/findings.md.")
    parser.add_argument("--print", action="store_true", help="print it instead")
    parser.add_argument("--results", type=Path, default=RESULTS, help="another results table")
    options = parser.parse_args()
    text = page(read_results(options.results))
    if options.print:
        print(text)
    else:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
