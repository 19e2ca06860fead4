"""Choose between forms for the same metric and inputs.

First by what counts: predicting what was held out beyond the fitted range (see `backtest`). AICc
says second how well the forms describe all points, parameters counted. A form is chosen only if it
beats every baseline.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from distillscale.laws.arrays import Array
from distillscale.laws.bootstrap import Draws, draw
from distillscale.laws.selection.backtest import SeriesBacktest, backtest_series
from distillscale.laws.selection.baselines import DESCRIPTIONS
from distillscale.laws.selection.scores import Score, effective_points, judged, scores_of
from distillscale.laws.selection.series import Series

# Better by less than this share is no better: then the form with fewer parameters is taken.
SAME_SCORE = 0.01
SURE, LIKELY = 0.95, 0.5  # shares of resamples: below the second a form has not won
SELECTION_COLUMNS = [
    "law", "metric", "x", "task", "configuration", "thinking", "model", "kind", "chosen", "score",
    "judged_by", "log_error", "rmse", "versus_last_point", "aicc", "weight", "cuts", "held_out",
    "effective_points", "duplicates",
]  # fmt: skip


@dataclass(frozen=True)
class Selection:
    """The choice between forms for one series.

    Attributes:
        law, metric, x, group: what the series is (see `Series`).
        judged_by: the score that decides: `log_error`, or `rmse` for scores above chance.
        chosen: the form that beats all baselines by most; None if no form does.
        best_form: the form that did best; None if none could be fitted.
        best_by_aicc: the form of smallest AICc; None if there is none.
        best_baseline: the baseline that did best; None where no cut-off was possible.
        improvement: by which share the best form's score is smaller than the best baseline's.
        certainty: share of resampled test examples and runs in which the best form beats it; None
            without replicates and with fewer than three runs.
        covers: which variation was resampled, in words; empty where nothing was.
        scores: of all models, best first.
        left_out: forms that could not take part, with the reason.
        cuts: how many levels each cut-off fitted.
        held_out: how many predictions were judged, a model.
        effective_points: the points behind AICc: fewer than were measured where points of one run
            have errors in common.
        duplicates: points left out because they repeat another one exactly.
        verdict: one sentence.
    """

    law: str
    metric: str
    x: str
    group: Mapping[str, str | float]
    judged_by: str
    chosen: str | None
    best_form: str | None
    best_by_aicc: str | None
    best_baseline: str | None
    improvement: float | None
    certainty: float | None
    covers: str
    scores: tuple[Score, ...]
    left_out: Mapping[str, str]
    cuts: tuple[int, ...]
    held_out: int
    effective_points: float
    duplicates: int
    verdict: str

    def table(self) -> pd.DataFrame:
        """One row a model, best first; columns `SELECTION_COLUMNS`."""
        last = {score.model: judged(score, self.judged_by) for score in self.scores}
        named = {k: v for k, v in self.group.items() if k in SELECTION_COLUMNS}
        rows = [
            {
                **named,
                "law": self.law,
                "metric": self.metric,
                "x": self.x,
                "model": score.model,
                "kind": score.kind,
                "chosen": score.model == self.chosen,
                "score": judged(score, self.judged_by),
                "judged_by": self.judged_by,
                "log_error": score.log_error,
                "rmse": score.rmse,
                "versus_last_point": _versus(last[score.model], last["last point"]),
                "aicc": score.aicc,
                "weight": score.weight,
                "cuts": len(self.cuts),
                "held_out": self.held_out,
                "effective_points": self.effective_points,
                "duplicates": self.duplicates,
            }
            for score in self.scores
        ]
        return pd.DataFrame(rows, columns=SELECTION_COLUMNS)

    def as_text(self) -> str:
        """The verdict with the scores behind it, for people."""
        lines = [f"{self.law} law of {self.metric} over {self.x}: {self.verdict}"]
        for score in self.scores:
            aicc = "" if score.aicc is None else f"{score.aicc:.1f}"
            weight = "" if score.weight is None else f"{score.weight:.2f}"
            lines.append(
                f"    {score.model:15} {score.log_error:9.3f} {score.rmse:9.4f} {aicc:>8} "
                f"{weight:>7}"
            )
        lines += [f"    {name:15} left out: {reason}" for name, reason in self.left_out.items()]
        return "\n".join(lines)


HEADER = f"    {'model':15} {'log error':>9} {'RMSE':>9} {'AICc':>8} {'weight':>7}"


def select_form(series: Series, *, seed: int = 0) -> Selection:
    """Choose the form of a series by extrapolation.

    Args:
        series: see `series_of` and `series_of_points`.
        seed: of the resampling behind `certainty`.
    """
    return selection_of(backtest_series(series, draws=0), seed=seed)


def selection_of(test: SeriesBacktest, *, seed: int = 0) -> Selection:
    """The choice that a back-test leads to; arguments as in `select_form`."""
    series = test.series
    judged_by = "rmse" if series.scale == "score" else "log_error"
    effective = effective_points(series)
    scores = sorted(scores_of(test, effective), key=lambda score: judged(score, judged_by))
    form = _best([s for s in scores if s.kind == "form"], judged_by)
    baseline = _best([s for s in scores if s.kind == "baseline"], judged_by)
    draws = draw(series.value, series.replicates, series.seeds, seed=seed)
    improvement = certainty = None
    if form and baseline:
        improvement = -_versus(judged(form, judged_by), judged(baseline, judged_by))
        certainty = _certainty(test, form.model, baseline.model, draws)
    second = _best_by_aicc(scores)
    wins = (
        improvement is not None
        and improvement > SAME_SCORE
        and (certainty is None or certainty >= LIKELY)
    )
    return Selection(
        law=series.law,
        metric=series.metric,
        x=series.x,
        group=series.group,
        judged_by=judged_by,
        chosen=form.model if form and wins else None,
        best_form=form.model if form else None,
        best_by_aicc=second,
        best_baseline=baseline.model if baseline else None,
        improvement=improvement,
        certainty=certainty,
        covers=draws.covers if certainty is not None else "",
        scores=tuple(scores),
        left_out=test.left_out,
        cuts=tuple(cut.levels for cut in test.cuts),
        held_out=sum(len(cut.out) for cut in test.cuts),
        effective_points=effective,
        duplicates=series.duplicates,
        verdict=_verdict(series, form, baseline, improvement, certainty, judged_by)
        + _disagreement(form, second),
    )


def _versus(score: float, reference: float) -> float:
    """By which share a score is larger than another; 0 if both are nothing but rounding."""
    return score / reference - 1 if reference > 1e-9 else 0.0


def _best(scores: Sequence[Score], judged_by: str) -> Score | None:
    """The smallest score; of those that are as small, the one with the fewest parameters."""
    if not scores:
        return None
    least = min(judged(score, judged_by) for score in scores)
    as_good = [s for s in scores if judged(s, judged_by) <= least * (1 + SAME_SCORE) + 1e-12]
    return min(as_good, key=lambda score: score.parameters or 0)


def _certainty(test: SeriesBacktest, form: str, baseline: str, draws: Draws) -> float | None:
    """Share of resamples of the measured points in which the form's score is the smaller one.

    The predictions stay as they are; what is resampled is what they are held against.
    """
    if len(draws.values) == 0:
        return None
    scores = [_resampled(test, model, draws.values, draws.weights) for model in (form, baseline)]
    return float((scores[0] < scores[1]).mean())


def _resampled(test: SeriesBacktest, model: str, values: Array, weights: Array) -> Array:
    """The deciding score against resampled measurements, [draws]."""
    series = test.series
    scores = []
    for cut in test.cuts:
        counted = weights[:, cut.out]
        errors = series.judged(cut.forecasts[model].value, cut.out) - series.judged(
            values[:, cut.out], cut.out
        )
        loss = errors**2 if series.scale == "score" else np.abs(errors)
        total = counted.sum(axis=1)
        scores.append((loss * counted).sum(axis=1) / np.where(total > 0, total, 1))
    return np.mean(scores, axis=0)


def _best_by_aicc(scores: Sequence[Score]) -> str | None:
    known = [(s.aicc, s.model) for s in scores if s.kind == "form" and s.aicc is not None]
    return min(known)[1] if known else None


def _disagreement(form: Score | None, second: str | None) -> str:
    """What AICc says, where it prefers another form."""
    if form is None or second is None or second == form.model:
        return "."
    return f"; AICc prefers `{second}`."


def _verdict(
    series: Series,
    form: Score | None,
    baseline: Score | None,
    improvement: float | None,
    certainty: float | None,
    judged_by: str,
) -> str:
    """The verdict, without its full stop."""
    if baseline is None:
        count = len(np.unique(series.levels)) if len(series) else 0
        return f"no cut-off can be scored with {count} different {series.x}"
    name, held = DESCRIPTIONS[baseline.model], judged(baseline, judged_by)
    unit = "RMSE" if judged_by == "rmse" else "log error"
    if form is None or improvement is None:
        return (
            f"no law can be fitted at the first cut-off; {name} predicts best ({unit} {held:.3f})"
        )
    own = judged(form, judged_by)
    if improvement <= SAME_SCORE:
        return f"no law beats {name} ({unit} {held:.3f}; best law `{form.model}` {own:.3f})"
    if certainty is not None and certainty < LIKELY:
        return (
            f"no law beats {name} ({unit} {held:.3f}; best law `{form.model}` {own:.3f}, which is "
            f"smaller in {certainty:.0%} of resamples only)"
        )
    text = f"`{form.model}` predicts best: {unit} {own:.3f}, {improvement:.0%} below {name} " + (
        f"({held:.3f})"
    )
    if certainty is None:
        return f"{text}; how certain that is cannot be told from single runs without replicates"
    if certainty >= SURE:
        return f"{text}, in {certainty:.0%} of resamples"
    return f"{text}, but in {certainty:.0%} of resamples only: a hint, no more"


def selections_table(selections: Sequence[Selection]) -> pd.DataFrame:
    """The scores of several selections, one row a model; columns `SELECTION_COLUMNS`."""
    rows = [row for selection in selections for row in selection.table().to_dict("records")]
    return pd.DataFrame(rows, columns=SELECTION_COLUMNS)
