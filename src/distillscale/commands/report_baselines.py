"""Whether one would rather use a baseline than the model that a decision names."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from distillscale.laws.cost import TIME_METRIC
from distillscale.report.decision import Decision

_INTERVAL = (0.05, 0.95)


def weighed(decisions: Sequence[Decision], baselines: pd.DataFrame) -> tuple[Decision, ...]:
    """The decisions, each with the sentence on the baseline that is at least as good and cheaper.

    Args:
        baselines: the study's table of baselines; may have no rows.
    """
    return tuple(
        replace(decision, instead=_instead(decision, baselines[baselines["task"] == decision.task]))
        for decision in decisions
    )


def _instead(decision: Decision, baselines: pd.DataFrame) -> str:
    """Of the baselines that beat the answer in macro F1 and time, the one of highest macro F1.

    Where there is no answer, the rule itself is to be kept, at any cost.
    """
    answer = decision.options[0] if decision.options else None
    if answer is not None and answer.batch_milliseconds is None:
        return ""  # nothing is known of its cost
    to_beat = decision.threshold if answer is None else answer.macro_f1
    most = np.inf if answer is None else answer.batch_milliseconds
    values = baselines.groupby(["baseline", "metric"], sort=False)["value"].mean().unstack("metric")
    if not {"macro_f1", TIME_METRIC} <= set(values.columns):
        return ""
    better = values[(values["macro_f1"] >= to_beat) & (values[TIME_METRIC] < most)]
    if better.empty:
        return ""
    best = better.sort_values(["macro_f1", TIME_METRIC], ascending=[False, True]).iloc[0]
    rows = baselines[baselines["baseline"] == best.name]
    f1 = f"macro F1 {best['macro_f1']:.3f}{_interval(rows)}"
    time = f"{best[TIME_METRIC]:.2g} ms a text in batches of 32"
    if answer is not None:
        f1 += f" against {answer.macro_f1:.3f}"
        time += f" against {answer.batch_milliseconds:.2g}"
    general = None if answer is None else answer.general
    what = "keeps the rule" if answer is None else "is at least as good at lower cost"
    return (
        f"{best.name}, which was trained on {rows['dataset_size'].iloc[0]:,} texts, "
        f"{what}: {f1}, {time}{_knowledge(best.get('general', np.nan), general)}."
    )


def _interval(rows: pd.DataFrame) -> str:
    """The middle 90 % of the resamples of all its seeds together."""
    drawn = rows.loc[rows["metric"] == "macro_f1", "replicates"]
    pooled = np.concatenate([np.asarray(one, dtype=float) for one in drawn])
    if pooled.size == 0:
        return ""
    low, high = np.quantile(pooled, _INTERVAL)
    return f" [{low:.3f}, {high:.3f}]"


def _knowledge(own: float, of_answer: float | None) -> str:
    if of_answer is None:
        return ""
    if np.isnan(own):
        return "; it has no general knowledge"
    return f"; its general knowledge is {own:.3f} against {of_answer:.3f}"
