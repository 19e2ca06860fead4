"""Metrics against dataset size and against model size.

Both functions take the results of one task with the column `configuration`, the fitted curves of
that task, the metrics to draw and what to call them; they raise `NotDrawn` where nothing can be
compared.
"""

import altair as alt
import pandas as pd
from altair.typing import ChartType

from distillscale.report import series
from distillscale.report.inputs import NotDrawn
from distillscale.report.metrics import short_name
from distillscale.report.panels import (
    SizeAxis,
    dataset_axis,
    metric_panel,
    params_axis,
)
from distillscale.report.theme import WIDTH, finish

INTERVALS = "bars: middle 90 % of bootstrap replicates"
_HEIGHT = 300


def against_dataset_size(
    results: pd.DataFrame, curves: pd.DataFrame, metrics: list[str], what: str
) -> ChartType:
    """How the number of training examples matters at one kept ratio."""
    view = series.by_dataset_size(results)
    points = series.summarise(view.rows, ["configuration", "dataset_size", "metric"])
    drawn = present(points, metrics)
    axis = dataset_axis(points)
    control = series.summarise(series.control_at(results, view.rows), ["configuration", "metric"])
    fitted = _drawn_laws(curves[curves["x_name"] == "dataset_size"], points, drawn)
    panels = [
        _panel(points, fitted, metric, axis, len(drawn), _control_level(control, metric))
        for metric in drawn
    ]
    return _side_by_side(panels, f"{what} against dataset size", view.held_fixed, fitted)


def against_model_size(
    results: pd.DataFrame, curves: pd.DataFrame, metrics: list[str], what: str
) -> ChartType:
    """How quality falls along the stages of the uniform schedule."""
    view = series.by_model_size(results)
    points = series.summarise(view.rows, ["configuration", "stage", "metric"])
    drawn = present(points, metrics)
    axis = params_axis(points)
    fitted = _drawn_laws(_over_params(curves, points), points, drawn)
    panels = [_panel(points, fitted, metric, axis, len(drawn)) for metric in drawn]
    return _side_by_side(panels, f"{what} against model size", view.held_fixed, fitted)


def present(points: pd.DataFrame, metrics: list[str]) -> list[str]:
    """Those of `metrics` that were measured; raises `NotDrawn` where none was."""
    measured = set(points["metric"])
    drawn = [metric for metric in metrics if metric in measured]
    if not drawn:
        raise NotDrawn(f"None of {', '.join(map(short_name, metrics))} was measured.")
    return drawn


def _over_params(curves: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """The size curves with x as parameters; a kept ratio is multiplied by the teacher's count."""
    curves = curves[curves["x_name"].isin(["params", "prune_ratio"])]
    factor = curves["x_name"].map({"params": 1.0, "prune_ratio": points["params"].max()})
    return curves.assign(x=curves["x"] * factor.astype(float))


def _panel(
    points: pd.DataFrame,
    curves: pd.DataFrame,
    metric: str,
    axis: SizeAxis,
    count: int,
    control: float | None = None,
) -> alt.LayerChart:
    """One of `count` panels, two in a row."""
    width = WIDTH // 2 - 90 if count > 1 else WIDTH - 320
    measured = points[points["metric"] == metric]
    fitted = curves[curves["metric"] == metric].rename(columns={"x": axis.field})
    return metric_panel(measured, fitted, metric, axis, (width, _HEIGHT), control)


def _drawn_laws(curves: pd.DataFrame, points: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """The curves that belong to points, one law for each metric and configuration: the first."""
    curves = curves[curves["metric"].isin(metrics)]
    curves = curves[curves["configuration"].isin(points["configuration"])]
    first = curves.groupby(["metric", "configuration"])["law"].transform("first")
    return curves[curves["law"] == first]


def _control_level(control: pd.DataFrame, metric: str) -> float | None:
    """What the pruned-only control reaches; no dataset size changes it."""
    own = control[control["metric"] == metric]
    return None if own.empty else float(own["value"].iloc[0])


def _side_by_side(
    panels: list[alt.LayerChart], title: str, held: str, curves: pd.DataFrame
) -> ChartType:
    laws = list(curves["law"].unique())
    fit = f"; curves: fitted {' and '.join(laws)} law, band 5–95 %" if laws else ""
    row = alt.concat(*panels, columns=2, spacing=36).resolve_scale(color="shared", shape="shared")
    return finish(row, title, [sentence(held), sentence(INTERVALS + fit)])


def sentence(text: str) -> str:
    """The phrase as a sentence."""
    return text[:1].upper() + text[1:] + "."
