"""Metrics against dataset size and against model size.

Both functions take the results of one task with the column `configuration`, the fitted curves of
that task, the metrics to draw and what to call them; they raise `NotDrawn` where nothing can be
compared.
"""

import math

import altair as alt
import pandas as pd
from altair.typing import ChartType

from distillscale.report import series
from distillscale.report.panels import SizeAxis, dataset_axis, metric_panel, params_axis
from distillscale.report.theme import WIDTH, finish

_HEIGHT = 300


def against_dataset_size(
    results: pd.DataFrame, curves: pd.DataFrame, metrics: list[str], what: str
) -> ChartType:
    """How the number of training examples matters at one kept ratio."""
    view = series.by_dataset_size(results)
    points = series.summarise(view.rows, metrics, ["dataset_size"])
    drawn = series.measured_in(points, metrics)
    axis = dataset_axis(points)
    control = series.control_at(results, view.rows)
    fitted = drawn_laws(curves[curves["x_name"] == "dataset_size"], points, drawn)
    panels = [
        _panel(points, fitted, metric, axis, len(drawn), _control_level(control, metric))
        for metric in drawn
    ]
    title = f"{what} against dataset size"
    return _side_by_side(panels, title, view.held_fixed, meaning(points, fitted))


def against_model_size(
    results: pd.DataFrame, curves: pd.DataFrame, metrics: list[str], what: str
) -> ChartType:
    """How quality falls along the stages of the uniform schedule."""
    view = series.by_model_size(results)
    points = series.summarise(view.rows, metrics, ["stage"])
    drawn = series.measured_in(points, metrics)
    axis = params_axis(points)
    fitted = drawn_laws(over_params(curves, points), points, drawn)
    panels = [_panel(points, fitted, metric, axis, len(drawn)) for metric in drawn]
    title = f"{what} against model size"
    return _side_by_side(panels, title, view.held_fixed, meaning(points, fitted))


def over_params(curves: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """The size curves with x as parameters; a kept ratio is multiplied by the teacher's count."""
    curves = curves[curves["x_name"].isin(["params", "prune_ratio"])]
    factor = curves["x_name"].map({"params": 1.0, "prune_ratio": series.teacher_params(points)})
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
    fitted = curves[curves["metric"] == metric]
    return metric_panel(measured, fitted, metric, axis, (width, _HEIGHT), control)


def drawn_laws(curves: pd.DataFrame, points: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """The curves that belong to points, one for each metric and configuration: the first listed.

    A second curve of the same law begins where x falls.
    """
    curves = curves[curves["metric"].isin(metrics)]
    curves = curves[curves["configuration"].isin(points["configuration"])]
    series_of = curves.groupby(["metric", "configuration"], group_keys=False)
    restarts = series_of["x"].transform(lambda x: (x.diff() < 0).cumsum())
    return curves[(curves["law"] == series_of["law"].transform("first")) & (restarts == 0)]


def _control_level(control: pd.DataFrame, metric: str) -> float | None:
    """What the pruned-only control reaches; no dataset size changes it."""
    level = control[control["metric"] == metric]["value"].mean()
    return None if math.isnan(level) else float(level)


def _side_by_side(panels: list[alt.LayerChart], title: str, held: str, marks: str) -> ChartType:
    row = alt.concat(*panels, columns=2, spacing=36).resolve_scale(color="shared", shape="shared")
    return finish(row, title, [sentence(held), sentence(marks)])


def meaning(points: pd.DataFrame, curves: pd.DataFrame) -> str:
    """What the whiskers of these points and these curves mean."""
    laws = [str(law) for law in curves["law"].unique()]
    fitted = f"; curves: fitted {' and '.join(laws)} law, band 5–95 %" if laws else ""
    return f"{whiskers(points)}{fitted}"


def whiskers(points: pd.DataFrame) -> str:
    """What the whiskers of these points mean."""
    if points["low"].isna().all():
        return "no intervals: the results hold no bootstrap replicates"
    seeds = int(points["seeds"].max())
    of = f" of {seeds} seeds together" if seeds > 1 else ""
    return f"whiskers: middle 90 % of the bootstrap replicates{of}"


def sentence(text: str) -> str:
    """The phrase as a sentence."""
    return text[:1].upper() + text[1:] + "."
