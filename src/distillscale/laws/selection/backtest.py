"""Back-tests: fit everything up to a cut-off, predict everything beyond it, compare.

The cut-offs are nested (see `Series.cuts`). Every form meets the same baselines at the same
cut-offs; one that has more parameters than the first cut-off has different points is left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from distillscale.laws.arrays import Array
from distillscale.laws.selection.baselines import BASELINES
from distillscale.laws.selection.forecast import Forecast, Index, forecast
from distillscale.laws.selection.series import Series
from distillscale.laws.selection.stacking import stacking_weights

DRAWS = 100
STACKED = "stacked"
PREDICTION_COLUMNS = [
    "law", "metric", "x", "task", "configuration", "thinking", "schedule", "stages",
    "dataset_size", "final_ratio", "levels", "fitted_until", "model", "kind", "at", "seed",
    "measured", "predicted", "low", "high", "signed_error", "log_error", "covered",
]  # fmt: skip


@dataclass(frozen=True)
class CutOff:
    """One cut of a series.

    Attributes:
        levels: how many levels were fitted.
        fitted: the points that were fitted.
        out: the points that were predicted.
        forecasts: of each form and baseline, and `stacked`.
    """

    levels: int
    fitted: Index = field(repr=False)
    out: Index = field(repr=False)
    forecasts: dict[str, Forecast] = field(repr=False)


@dataclass(frozen=True)
class SeriesBacktest:
    """The back-test of one series.

    Attributes:
        series: what was predicted.
        cuts: from the fewest levels to the most; empty where the series is too short.
        left_out: forms that could not take part, with the reason.
    """

    series: Series
    cuts: tuple[CutOff, ...]
    left_out: dict[str, str]

    @property
    def models(self) -> tuple[str, ...]:
        """The forms, baselines and `stacked`, in this order."""
        return tuple(self.cuts[0].forecasts) if self.cuts else ()

    def kind(self, model: str) -> str:
        """`form`, `baseline` or `stacked`."""
        if model == STACKED:
            return STACKED
        return "baseline" if model in BASELINES else "form"

    def errors(self, model: str, cut: CutOff) -> Array:
        """Predicted minus measured where the series is judged (ln error, or score), [m]."""
        measured = self.series.judged(self.series.value[cut.out], cut.out)
        return self.series.judged(cut.forecasts[model].value, cut.out) - measured

    def table(self) -> pd.DataFrame:
        """One row a prediction; columns `PREDICTION_COLUMNS`."""
        return predictions([self])

    def rows(self) -> Iterator[dict[str, Any]]:
        """The predictions, one by one."""
        series = self.series
        shared: dict[str, Any] = {"law": series.law, "metric": series.metric, "x": series.x}
        shared |= {k: v for k, v in series.group.items() if k in PREDICTION_COLUMNS}
        for cut in self.cuts:
            edge = series.places[cut.fitted]
            until = edge.max() if series.direction == "up" else edge.min()
            here = shared | {"levels": cut.levels, "fitted_until": until}
            for model in self.models:
                yield from self._rows(here | {"model": model, "kind": self.kind(model)}, cut)

    def _rows(self, shared: dict[str, Any], cut: CutOff) -> Iterator[dict[str, Any]]:
        series, made = self.series, cut.forecasts[shared["model"]]
        logs = series.log_error(made.value, cut.out)
        logs = logs - series.log_error(series.value[cut.out], cut.out)
        for j, at in enumerate(cut.out):
            measured, low, high = series.value[at], made.low[j], made.high[j]
            yield shared | {
                "at": series.places[at],
                "seed": series.seeds[at],
                "measured": measured,
                "predicted": made.value[j],
                "low": low,
                "high": high,
                "signed_error": made.value[j] - measured,
                "log_error": logs[j],
                "covered": bool(low <= measured <= high) if np.isfinite(low) else None,
            }


def backtest_series(series: Series, *, draws: int = DRAWS, seed: int = 0) -> SeriesBacktest:
    """Back-test one series.

    Args:
        series: what is predicted.
        draws: simulated refits behind each form's intervals; 0: no intervals of forms.
        seed: of the simulation.
    """
    cuts = [(cut, *_split(series, cut)) for cut in series.cuts]
    if not cuts:
        return SeriesBacktest(series, (), {})
    enough = _different(series, cuts[0][1])
    left_out = {
        form.name: f"{len(form.free)} parameters, {enough} different {series.x} at the first cut"
        for form in series.forms
        if len(form.free) > enough
    }
    made: list[CutOff] = []
    for levels, fitted, out in cuts:
        forecasts = {
            form.name: forecast(series, form, fitted, out, draws=draws, seed=seed + levels)
            for form in series.forms
            if form.name not in left_out
        }
        forecasts |= {name: baseline(series, fitted, out) for name, baseline in BASELINES.items()}
        forecasts[STACKED] = _stacked(series, made, levels, forecasts)
        made.append(CutOff(levels, fitted, out, forecasts))
    return SeriesBacktest(series, tuple(made), left_out)


def held_out(
    series: Series, cuts: Sequence[CutOff], models: Sequence[str], below: int | None = None
) -> tuple[Array, Array, Array]:
    """Predictions [n, models] and measurements [n] where they are judged, and their weights [n].

    Every cut-off counts as much as another.

    Args:
        series: the series.
        cuts: its cut-offs.
        models: whose predictions.
        below: only points of the levels below this one.
    """
    predictions, measurements, weights = [], [], []
    for cut in cuts:
        keep = np.ones(len(cut.out), bool) if below is None else series.levels[cut.out] < below
        at = cut.out[keep]
        made = [series.judged(cut.forecasts[name].value[keep], at) for name in models]
        predictions.append(np.stack(made, axis=1))
        measurements.append(series.judged(series.value[at], at))
        weights.append(np.full(len(at), 1 / max(len(at), 1)))
    return np.concatenate(predictions), np.concatenate(measurements), np.concatenate(weights)


def _stacked(
    series: Series, earlier: Sequence[CutOff], levels: int, forecasts: dict[str, Forecast]
) -> Forecast:
    """The mixture whose weights did best at the earlier cut-offs, on points that are fitted now.

    So nothing beyond the cut is looked at. At the first cut-off all members count alike.
    """
    names = list(forecasts)
    weights = np.full(len(names), 1 / len(names))
    if earlier:
        weights = stacking_weights(*held_out(series, earlier, names, below=levels))
    out = _split(series, levels)[1]
    made = np.stack([series.judged(forecasts[name].value, out) for name in names])
    value = series.of_judged(weights @ made)
    missing = np.full(len(value), np.nan)
    return Forecast(value, missing, missing)


def _split(series: Series, cut: int) -> tuple[Index, Index]:
    return np.flatnonzero(series.levels < cut), np.flatnonzero(series.levels >= cut)


def _different(series: Series, fitted: Index) -> int:
    """How many different places the fitted points lie at."""
    return len(np.unique(np.log(series.inputs[:, fitted]).round(2), axis=1).T)


def predictions(tests: Sequence[SeriesBacktest]) -> pd.DataFrame:
    """The predictions of several back-tests, one row each; columns `PREDICTION_COLUMNS`."""
    rows = [row for test in tests for row in test.rows()]
    table = pd.DataFrame(rows, columns=PREDICTION_COLUMNS)
    return table.astype({"covered": "boolean"})
