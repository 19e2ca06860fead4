"""How steady training on reasoning was: KL by segment, gradient norms, runs that diverged."""

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from distillscale.report import series
from distillscale.report.comparisons import sentence
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
    """KL to the teacher by segment, spread of gradient norms, and chains that stopped early.

    Drawn for the configurations that learn from reasoning.
    """
    reasoning = results[results["supervision"].isin(["cot", "blended"])]
    if reasoning.empty:
        raise NotDrawn("No configuration learns from reasoning.")
    view = series.by_model_size(reasoning)
    points = series.summarise(view.rows, _METRICS, ["stage"])
    panels = [_panel(points, metric) for metric in series.measured_in(points, _METRICS)]
    panels.append(_stopped(reasoning))
    grid = alt.concat(*panels, columns=2, spacing=36).resolve_scale(color="shared", shape="shared")
    held = sentence(f"{view.held_fixed}; early stops among all chains")
    return finish(grid, "Stability of learning from reasoning", held)


def _panel(points: pd.DataFrame, metric: str) -> alt.LayerChart:
    own = points[points["metric"] == metric]
    none = pd.DataFrame({"configuration": []})
    return metric_panel(own, none, metric, params_axis(own), _SIZE)


def _stopped(reasoning: pd.DataFrame) -> alt.LayerChart:
    """How many chains have no result for their last stage, or a training loss that is not finite.

    A diverged training leaves no results; neither does a study that was interrupted.
    """
    counts = stopped_chains(reasoning)
    counts["text"] = [f"{a} of {b}" for a, b in zip(counts["sum"], counts["count"], strict=True)]
    names = configuration_order(counts["configuration"])
    top = max(1, int(counts["sum"].max()))
    axis = alt.Axis(values=list(range(0, top + 1, -(-top // 6))), format="d", domain=False)
    scale = alt.Scale(domain=[0, top * 1.3], nice=False)
    x = alt.X("sum:Q", title="Chains that stopped early (count)", scale=scale, axis=axis)
    base = alt.Chart(counts).encode(x, alt.Y("configuration:N", sort=names, title=None))
    colour = alt.Color("configuration:N", scale=configuration_scales(names)[0], title=None)
    bars = base.mark_bar(height=18).encode(colour)
    text = base.mark_text(align="left", dx=6, color=INK, fontSize=12).encode(text="text:N")
    return layered(bars, text).properties(width=_SIZE[0], height=alt.Step(44))


def stopped_chains(results: pd.DataFrame) -> pd.DataFrame:
    """For each configuration, the chains (`count`) and those that stopped early (`sum`)."""
    losses = (results["metric"] == "train_loss") & (results["stage"] > 0)
    infinite = losses & ~np.isfinite(results["value"].astype(float))
    table = results.assign(infinite=infinite)
    chains = table.groupby(["configuration", "cell", "seed"]).agg(
        reached=("stage", "max"), stages=("stages", "max"), infinite=("infinite", "any")
    )
    stopped = (chains["reached"] < chains["stages"]) | chains["infinite"]
    return stopped.groupby("configuration").agg(["sum", "count"]).reset_index()
