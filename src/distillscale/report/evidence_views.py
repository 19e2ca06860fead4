"""What laws and comparisons found, as rows with intervals: exponents, collapse, contrasts."""

from collections.abc import Callable

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from distillscale.report.inputs import NotDrawn
from distillscale.report.interval_rows import interval_layers, row_axis, titled, zero_line
from distillscale.report.metrics import short_name
from distillscale.report.theme import (
    INK,
    MUTED,
    PLAIN,
    WIDTH,
    configuration_order,
    configuration_scales,
    finish,
)

MOST_CONTRASTS = 36  # rows; more can't be read
_SIGNIFICANT = 0.05
_TASK, _GENERAL = "#0072b2", "#d55e00"
_CONTRASTED = ("macro_f1", "gold_nll", "general", "general_rehearsed", "general_unrehearsed")
_EXPONENT_PANELS = (("data", "dataset_size"), ("size", "params"))
_SOURCE_COLOURS = {
    "supervision": "#d55e00", "method": "#0072b2", "thinking": "#cc79a7", "schedule": "#e69f00",
    "task": "#332288", "dataset size": "#009e73", "seed": "#56b4e9", "interactions": "#8c6d1f",
    "runs (within a setting)": "#9aa5b1", "not attributable": "#d5dae0",
}  # fmt: skip

_ALIASED = "#b8860b"


def exponent_forest(exponents: pd.DataFrame) -> ChartType:
    """Exponents of the data and size laws by format, one panel a law and metric."""
    drawn = [
        (law, x, metric, own)
        for law, x in _EXPONENT_PANELS
        for metric in ("macro_f1", "gold_nll")
        for own in [_chosen(exponents, law=law, x=x, metric=metric)]
        if len(own)
    ]
    if not drawn:
        raise NotDrawn("No law with an exponent was fitted.")
    panels = [
        _exponent_panel(
            own,
            configuration_order(own["configuration"]),
            f"{law} law of {short_name(metric)}",
            labelled=place % 2 == 0,
        )
        for place, (law, _, metric, own) in enumerate(drawn)
    ]
    subtitle = [
        "Point and line: estimate and 5–95 % interval. Arrow: only this side of the mark is known.",
        "Hollow and faint: the data do not identify the exponent.",
    ]
    grid = alt.concat(*panels, columns=2, spacing=30).resolve_scale(color="independent")
    return finish(grid, "Exponents by format of supervision", subtitle)


def _chosen(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table.drop_duplicates("configuration").assign(label=table["configuration"])


def _exponent_panel(
    rows: pd.DataFrame, names: list[str], title: str, *, labelled: bool
) -> alt.LayerChart:
    sure = rows[rows["kind"] != "unidentified"]
    ends = pd.concat([sure["value"], sure["high"], sure["low"], rows["value"]]).dropna()
    domain = (0.0, max(1.0, min(1.15 * float(ends.max()), 5.0)))
    symbol = str(rows["parameter"].iloc[0])
    scale = alt.Scale(domain=list(domain), nice=False)
    axis = alt.Axis(tickCount=6, grid=True, domain=False)

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title=symbol, scale=scale, axis=axis)

    colours = alt.Color("configuration:N", scale=configuration_scales(names)[0], legend=None)
    shared = {"y": row_axis(names, labelled=labelled), "color": colours}
    tooltip = ["configuration:N", "kind:N", "value:Q", "low:Q", "high:Q"]
    layers = interval_layers(rows.round(4), x, domain, shared, tooltip)
    return titled(layers, title, WIDTH // 2 - 100, 24 * len(names))


def collapse_points(collapse: pd.DataFrame) -> ChartType:
    """Where the task's score and general knowledge collapse by format, and the paired gap.

    Of several pairs of scores macro F1 and `general` are drawn where they are there.
    """
    pairs = collapse[collapse["quantity"] == "gap"][["in_domain", "general"]].drop_duplicates()
    if pairs.empty:
        raise NotDrawn("No uniform chain has enough ratios to locate a collapse.")
    pair = min(pairs.itertuples(index=False), key=lambda p: (p != ("macro_f1", "general"), p))
    points = collapse[
        (collapse["quantity"] == "r_star")
        & ((collapse["in_domain"] == pair[0]) | (collapse["general"] == pair[1]))
    ]
    gaps = collapse[
        (collapse["quantity"] == "gap")
        & (collapse["in_domain"] == pair[0])
        & (collapse["general"] == pair[1])
    ]
    scores = (short_name(str(pair[0])), short_name(str(pair[1])))
    points = points.assign(
        score=np.where(points["in_domain"] == pair[0], *scores), label=points["configuration"]
    )
    names = configuration_order(gaps["configuration"])
    left = _collapse_panel(points, names, scores)
    right = _gap_panel(gaps.assign(label=gaps["configuration"]), names)
    subtitle = [
        "Share of the teacher's parameters at which half of what a score has above chance is lost; "
        "95 % intervals.",
        "Arrow: it lies beyond the measured ratios, so that only a bound is known.",
    ]
    chart = alt.hconcat(left, right, spacing=24).resolve_scale(color="independent")
    return finish(chart, "Collapse points by format", subtitle)


def _collapse_panel(rows: pd.DataFrame, names: list[str], scores: tuple[str, str]) -> ChartType:
    known = pd.concat([rows["low"], rows["high"], rows["value"]]).dropna()
    low = min(0.1, 0.7 * float(known.min())) if len(known) else 0.1
    domain = (max(low, 0.01), 1.0)
    scale = alt.Scale(type="log", domain=list(domain), nice=False)
    axis = alt.Axis(format=".0%", values=[0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1], grid=True)

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title="r*, share kept (log scale)", scale=scale, axis=axis)

    colour = alt.Scale(domain=list(scores), range=[_TASK, _GENERAL])
    legend = alt.Legend(orient="bottom", direction="horizontal", symbolOpacity=1)
    shared = {
        "y": row_axis(names),
        "yOffset": alt.YOffset("score:N", sort=list(scores)),
        "color": alt.Color("score:N", scale=colour, title=None, legend=legend),
    }
    tooltip = ["configuration:N", "score:N", "kind:N", "value:Q", "low:Q", "high:Q"]
    layers = interval_layers(rows.round(4), x, domain, shared, tooltip, log=True)
    return titled(layers, "Where each score collapses", WIDTH // 2 - 90, 34 * len(names))


def _gap_panel(rows: pd.DataFrame, names: list[str]) -> ChartType:
    known = pd.concat([rows["low"], rows["high"], rows["value"]]).dropna()
    reach = max(0.2, 1.3 * float(known.abs().max())) if len(known) else 1.0
    domain = (-reach, reach)
    scale = alt.Scale(domain=list(domain), nice=False)

    def x(field: str) -> alt.X:
        title = "ln r*(general) − ln r*(task); right of 0: general first"
        return alt.X(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(tickCount=6))

    shared = {"y": row_axis(names, labelled=False), "color": alt.value(INK)}
    tooltip = ["configuration:N", "kind:N", "value:Q", "low:Q", "high:Q"]
    layers = [zero_line(), *interval_layers(rows.round(4), x, domain, shared, tooltip)]
    return titled(layers, "Paired gap between the two", WIDTH // 2 - 120, 34 * len(names))


def contrast_plot(contrasts: pd.DataFrame) -> ChartType:
    """What each factor changes with all else equal: one row a contrast, one panel a metric.

    Filled where Holm's p is below 0.05; small dots are single contexts, sets of matched pairs that
    share all else but the seed.
    """
    there = set(contrasts["metric"])
    metrics = [name for name in _CONTRASTED if name in there][:3]
    if not metrics:
        raise NotDrawn("No two cells differ in one factor alone.")
    own = contrasts[contrasts["metric"].isin(metrics)]
    own = own.assign(label=_contrast_labels(own))
    labels = [str(label) for label in own["label"].unique()]
    kept = labels[:MOST_CONTRASTS]
    own = own[own["label"].isin(kept)]
    panels = [
        _contrast_panel(own[own["metric"] == name], kept, name, labelled=place == 0)
        for place, name in enumerate(metrics)
    ]
    tested = own["p_holm"].notna().any()
    marks = (
        "Filled: Holm's p below 0.05 within its factor, grid and group of metrics."
        if tested
        else "Nothing is tested: a test needs several seeds."
    )
    subtitle = [
        "Later minus earlier level over the stages of matched chains, 95 % intervals; dots: single "
        "contexts.",
        marks
        + (f" The first {len(kept)} of {len(labels)} rows." if len(kept) < len(labels) else ""),
    ]
    row = alt.hconcat(*panels, spacing=14).resolve_scale(color="independent")
    return finish(row, "What each factor changes, all else equal", subtitle)


def _contrast_labels(rows: pd.DataFrame) -> list[str]:
    return [
        f"{factor.replace('_', ' ')}: {contrast.replace(' - ', ' − ')} · {held}"
        for factor, contrast, held in zip(
            rows["factor"], rows["contrast"], rows["held"], strict=True
        )
    ]


def _contrast_panel(
    rows: pd.DataFrame, labels: list[str], metric: str, *, labelled: bool
) -> alt.LayerChart:
    whole, parts = rows[rows["context"] == "all"], rows[rows["context"] != "all"]
    values = pd.concat([whole["low"], whole["high"], whole["difference"], parts["difference"]])
    reach = 1.08 * float(values.abs().max()) if values.notna().any() else 1.0
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    x = _differences(scale)
    y = row_axis(labels, labelled=labelled)
    found = whole["p_holm"].astype(float) < _SIGNIFICANT
    whole = whole.assign(
        value=whole["difference"], sure=np.where(found, "yes", "no"),
        mark=np.where(found, "*", ""),
    )  # fmt: skip
    columns = ["label", "value", "low", "high", "p_holm", "pairs", "units", "sure", "mark"]
    base = alt.Chart(whole[columns].astype({"p_holm": float}).round(4)).encode(y=y)
    rule = base.mark_rule(strokeWidth=2, color=INK, opacity=0.75)
    tooltip = ["label:N", "value:Q", "low:Q", "high:Q", "p_holm:Q", "pairs:Q", "units:Q"]
    fill = alt.condition("datum.sure === 'yes'", alt.value(INK), alt.value("white"))
    point = base.mark_point(size=48, filled=True, stroke=INK, strokeWidth=1.6, opacity=1)
    dots = (
        alt.Chart(parts.assign(value=parts["difference"].round(4))[["label", "context", "value"]])
        .mark_point(size=14, filled=True, color=PLAIN, opacity=0.55)
        .encode(x("value"), y, tooltip=["label:N", "context:N", "value:Q"])
    )
    layers: list[alt.Chart | alt.LayerChart] = [zero_line()]
    if whole["low"].notna().any():
        layers.append(rule.encode(x("low"), alt.X2("high")))
    layers += [dots] if len(parts) else []
    layers.append(point.encode(x("value"), fill=fill, tooltip=tooltip))
    return titled(layers, short_name(metric), 168, 16 * len(labels))


def _differences(scale: alt.Scale) -> Callable[[str], alt.X]:
    def x(field: str) -> alt.X:
        axis = alt.Axis(tickCount=4, labelColor=MUTED)
        return alt.X(f"{field}:Q", title="difference", scale=scale, axis=axis)

    return x


def variance_bars(shares: pd.DataFrame) -> ChartType:
    """Which share of a metric's variation each factor accounts for, one bar a metric and ratio."""
    if shares.empty:
        raise NotDrawn("No prune ratio has enough cells to tell factors apart.")
    bars = shares.assign(
        label=[
            f"{short_name(metric)}, to {ratio:.0%} ({cells} cells)"
            for metric, ratio, cells in zip(
                shares["metric"], shares["final_ratio"], shares["cells"], strict=True
            )
        ],
        share=shares["share"].round(4), source=shares["source"].str.replace("_", " "),
        order=[list(_SOURCE_COLOURS).index(s) if s in _SOURCE_COLOURS else 99
               for s in shares["source"].str.replace("_", " ")],
    )  # fmt: skip
    present = list(dict.fromkeys(bars["source"]))
    shared = [name for name in present if name not in _SOURCE_COLOURS]  # of aliased factors
    sources = [name for name in [*_SOURCE_COLOURS, *shared] if name in present]
    colours = [_SOURCE_COLOURS.get(name, _ALIASED) for name in sources]
    colour = alt.Scale(domain=sources, range=colours)
    legend = alt.Legend(orient="top", direction="horizontal", columns=4, title=None)
    columns = ["label", "source", "share", "p_holm", "order"]
    chart = (
        alt.Chart(bars[columns].astype({"p_holm": float}))
        .mark_bar(height=16)
        .encode(
            alt.X("share:Q", title="Share of the total sum of squares",
                  axis=alt.Axis(format=".0%", tickCount=6)),
            row_axis(list(dict.fromkeys(bars["label"]))),
            alt.Color("source:N", scale=colour, legend=legend),
            order="order:Q",
            tooltip=["label:N", "source:N", alt.Tooltip("share:Q", format=".1%"), "p_holm:Q"],
        )
        .properties(width=WIDTH - 320, height=alt.Step(24))
    )  # fmt: skip
    subtitle = (
        "At the end of the chains; sums of squares of type II. Left of zero: what factors that go "
        "together share."
    )
    return finish(chart, "What the differences between models come from", subtitle)
