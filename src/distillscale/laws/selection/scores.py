"""How well each form and baseline of a series does: held out, and by AICc."""

from dataclasses import dataclass

import numpy as np

from distillscale.laws.selection.backtest import STACKED, CutOff, SeriesBacktest, held_out
from distillscale.laws.selection.baselines import BASELINES, parameters_of
from distillscale.laws.selection.forecast import fit_form, run_correlation
from distillscale.laws.selection.series import Series
from distillscale.laws.selection.stacking import stacking_weights


@dataclass(frozen=True)
class Score:
    """How one model did.

    Attributes:
        model: a form, a baseline, or `stacked`.
        kind: which of these it is.
        log_error: mean |ln(predicted error / measured error)| of the held-out points.
        rmse: of the held-out points, in the metric's unit.
        aicc: of the fit to all points; None where the points are too few, or nothing is fitted.
        weight: in the stack of all held-out predictions; None for the stack itself.
        parameters: how many are fitted; None for the last point and the stack.
    """

    model: str
    kind: str
    log_error: float
    rmse: float
    aicc: float | None
    weight: float | None
    parameters: int | None


def effective_points(series: Series) -> float:
    """How many independent points a series is worth.

    A run's points have errors in common (children of a chain inherit their parent's), so m of them
    are worth m / (1 + (m - 1) rho), rho being the share of the variance about the levels' means
    that a run's points share. With one run rho cannot be told, and is taken for 0.
    """
    values = series.judged(series.value, np.arange(len(series)))
    levels = series.levels
    means = np.bincount(levels, values) / np.bincount(levels)
    repeated = np.bincount(levels)[levels] > 1
    runs = np.array(series.seeds)
    rho = run_correlation((values - means[levels])[repeated], tuple(runs[repeated].tolist()))
    size = len(series) / max(len(np.unique(runs)), 1)
    return len(series) / (1 + max(size - 1, 0) * rho)


def aicc(squares: float, points: int, effective: float, parameters: int) -> float | None:
    """Akaike's criterion, corrected for few points (Hurvich and Tsai 1989), normal errors.

    Args:
        squares: sum of squared residuals of all points.
        points: how many there are.
        effective: how many independent ones they are worth.
        parameters: of the curve; the errors' variance counts as one more.

    Returns:
        None where the correction is not defined: too few points for the parameters.
    """
    count = parameters + 1
    if effective - count - 1 <= 0:
        return None
    likelihood = effective * np.log(max(squares / points, 1e-20))
    return float(likelihood + 2 * count * effective / (effective - count - 1))


def scores_of(test: SeriesBacktest, effective: float) -> list[Score]:
    """The scores of all models of a back-test; none where no cut-off was possible.

    Args:
        test: the back-test.
        effective: `effective_points` of its series.
    """
    if not test.cuts:
        return []
    members = [name for name in test.models if name != STACKED]
    mixed = stacking_weights(*held_out(test.series, test.cuts, members))
    weights = dict(zip(members, mixed.tolist(), strict=True))
    counts = {form.name: len(form.free) for form in test.series.forms}
    return [
        Score(
            model=model,
            kind=test.kind(model),
            log_error=float(np.mean([_log_error(test.series, cut, model) for cut in test.cuts])),
            rmse=float(np.sqrt(np.mean([_square(test.series, cut, model) for cut in test.cuts]))),
            aicc=_aicc_of(test.series, model, effective),
            weight=weights.get(model),
            parameters=counts.get(model, parameters_of(model, len(test.series.inputs))),
        )
        for model in test.models
    ]


def _log_error(series: Series, cut: CutOff, model: str) -> float:
    predicted = series.log_error(cut.forecasts[model].value, cut.out)
    return float(np.abs(predicted - series.log_error(series.value[cut.out], cut.out)).mean())


def _square(series: Series, cut: CutOff, model: str) -> float:
    return float(((cut.forecasts[model].value - series.value[cut.out]) ** 2).mean())


def _aicc_of(series: Series, model: str, effective: float) -> float | None:
    """AICc of a fit to all points, residuals taken where the series is judged."""
    everything = np.arange(len(series))
    forms = {form.name: form for form in series.forms}
    if model in forms:
        fit = fit_form(series, forms[model], everything)
        fitted = fit.curve(fit.parameters, series.form_inputs)
        score = forms[model].scale == "score"
        values = series.of_score(fitted) if score else series.of_log_error(fitted)
        count = len(forms[model].free)
    elif (own := parameters_of(model, len(series.inputs))) is not None:
        values, count = BASELINES[model](series, everything, everything).value, own
    else:
        return None
    measured = series.judged(series.value, everything)
    squares = float(((series.judged(values, everything) - measured) ** 2).sum())
    return aicc(squares, len(series), effective, count)


def judged(score: Score, judged_by: str) -> float:
    """The score that decides: `rmse` or `log_error`."""
    return score.rmse if judged_by == "rmse" else score.log_error
