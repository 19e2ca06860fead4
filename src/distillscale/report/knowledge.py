"""General knowledge on rehearsed and on unrehearsed facts."""

import altair as alt
import pandas as pd
from altair.typing import ChartType

from distillscale.report import series
from distillscale.report.comparisons import drawn_laws, meaning, over_params, sentence
from distillscale.report.inputs import NotDrawn
from distillscale.report.metrics import BENCHMARKS
from distillscale.report.panels import metric_panel, params_axis
from distillscale.report.theme import WIDTH, finish


def rehearsed(results: pd.DataFrame, curves: pd.DataFrame) -> ChartType:
    """Facts that some reasoning trace states, beside facts that none does, against model size.

    A gain on the right only could not come from repeating facts in the traces.
    """
    measured = set(results["metric"])
    split = [name for name in BENCHMARKS if f"{name}_unrehearsed" in measured]
    if not split:
        raise NotDrawn("No benchmark tells rehearsed from unrehearsed facts.")
    view = series.by_model_size(results)
    pairs = [(f"{name}_rehearsed", f"{name}_unrehearsed") for name in split]
    metrics = [name for pair in pairs for name in pair]
    points = series.summarise(view.rows, metrics, ["stage"])
    fitted = drawn_laws(over_params(curves, points), points, metrics)
    rows = [_pair(points, fitted, pair) for pair in pairs]
    grid = alt.vconcat(*rows, spacing=28).resolve_scale(color="shared", shape="shared")
    subtitle = [
        "Rehearsed facts are stated in some reasoning trace, unrehearsed facts in none.",
        sentence(view.held_fixed),
        sentence(meaning(points, fitted)),
    ]
    return finish(
        grid, "Knowledge that the traces repeat, and knowledge that they do not", subtitle
    )


def _pair(points: pd.DataFrame, curves: pd.DataFrame, names: tuple[str, str]) -> alt.HConcatChart:
    axis, size = params_axis(points), (WIDTH // 2 - 90, 230)
    panels = [
        metric_panel(
            points[points["metric"] == name], curves[curves["metric"] == name], name, axis, size
        )
        for name in names
    ]
    return alt.hconcat(*panels, spacing=36).resolve_scale(y="shared")
