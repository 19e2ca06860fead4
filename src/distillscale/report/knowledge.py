"""General knowledge on rehearsed and on unrehearsed facts."""

import altair as alt
import pandas as pd
from altair.typing import ChartType

from distillscale.report import series
from distillscale.report.comparisons import INTERVALS
from distillscale.report.inputs import NotDrawn
from distillscale.report.metrics import BENCHMARKS
from distillscale.report.panels import metric_panel, params_axis
from distillscale.report.theme import WIDTH, finish


def rehearsed(results: pd.DataFrame) -> ChartType:
    """Facts that some reasoning trace states, beside facts that none does, against model size.

    A gain on the right only could not come from repeating facts in the traces.
    """
    measured = set(results["metric"])
    split = [name for name in BENCHMARKS if f"{name}_unrehearsed" in measured]
    if not split:
        raise NotDrawn("No benchmark tells rehearsed from unrehearsed facts.")
    view = series.by_model_size(results)
    points = series.summarise(view.rows, ["configuration", "stage", "metric"])
    rows = [_pair(points, name) for name in split]
    grid = alt.vconcat(*rows, spacing=28).resolve_scale(color="shared", shape="shared")
    subtitle = [
        "Rehearsed facts are stated in some reasoning trace, unrehearsed facts in none.",
        f"{view.held_fixed[:1].upper()}{view.held_fixed[1:]}; {INTERVALS}.",
    ]
    return finish(
        grid, "Knowledge that the traces repeat, and knowledge that they do not", subtitle
    )


def _pair(points: pd.DataFrame, benchmark: str) -> alt.HConcatChart:
    names = [f"{benchmark}_rehearsed", f"{benchmark}_unrehearsed"]
    axis, none = params_axis(points), pd.DataFrame({"configuration": []})
    panels = [
        metric_panel(points[points["metric"] == name], none, name, axis, (WIDTH // 2 - 90, 230))
        for name in names
    ]
    return alt.hconcat(*panels, spacing=36).resolve_scale(y="shared")
