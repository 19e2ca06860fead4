"""How steady training on reasoning was: KL by segment, gradient norms, diverged runs."""

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from distillscale.report import series
from distillscale.report.inputs import NotDrawn
from distillscale.report.panels import metric_panel, params_axis
from distillscale.report.theme import (
    INK,
    WIDTH,
    configuration_order,
    configuration_scales,
    finish,
    layered,
)

_METRICS = ("kl_answer", "kl_reasoning", "gradient_norm_spread")
_SIZE = (WIDTH // 2 - 100, 210)


def stability(results: pd.DataFrame) -> ChartType:
    """KL to the teacher by segment, spread of gradient norms, and diverged stages.

    Drawn for the configurations that learn from reasoning. A stage counts as diverged where its
    training loss is missing or not finite.
    """
    reasoning = results[results["supervision"].isin(["cot", "blended"])]
    if not set(reasoning["metric"]) & set(_METRICS):
        raise NotDrawn("No configuration that learns from reasoning was measured.")
    view = series.by_model_size(reasoning)
    points = series.summarise(view.rows, ["configuration", "stage", "metric"])
    measured = [metric for metric in _METRICS if metric in set(points["metric"])]
    panels: list[alt.LayerChart] = [_panel(points, metric) for metric in measured]
    if (reasoning["metric"] == "train_loss").any():
        panels.append(_diverged(reasoning))
    grid = alt.concat(*panels, columns=2, spacing=36).resolve_scale(color="shared", shape="shared")
    held = f"{view.held_fixed[:1].upper()}{view.held_fixed[1:]}; diverged stages over all chains."
    return finish(grid, "Stability of learning from reasoning", held)


def _panel(points: pd.DataFrame, metric: str) -> alt.LayerChart:
    own = points[points["metric"] == metric]
    none = pd.DataFrame({"configuration": []})
    return metric_panel(own, none, metric, params_axis(own), _SIZE)


def _diverged(reasoning: pd.DataFrame) -> alt.LayerChart:
    losses = reasoning[(reasoning["metric"] == "train_loss") & (reasoning["stage"] >= 1)]
    failed = pd.Series(~np.isfinite(losses["value"].astype(float)), losses.index)
    counts = failed.groupby(losses["configuration"]).agg(["sum", "count"]).reset_index()
    counts["text"] = [f"{a} of {b}" for a, b in zip(counts["sum"], counts["count"], strict=True)]
    names = configuration_order(counts["configuration"])
    top = max(1, int(counts["sum"].max()))
    axis = alt.Axis(values=list(range(0, top + 1, -(-top // 6))), format="d", domain=False)
    scale = alt.Scale(domain=[0, top * 1.3], nice=False)
    x = alt.X("sum:Q", title="Stages that diverged (count)", scale=scale, axis=axis)
    base = alt.Chart(counts).encode(x, alt.Y("configuration:N", sort=names, title=None))
    colour = alt.Color("configuration:N", scale=configuration_scales(names)[0], title=None)
    bars = base.mark_bar(height=18).encode(colour)
    text = base.mark_text(align="left", dx=6, color=INK, fontSize=12).encode(text="text:N")
    return layered(bars, text).properties(width=_SIZE[0], height=alt.Step(44))
