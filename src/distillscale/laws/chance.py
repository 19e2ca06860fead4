"""What guessing reaches, for metrics whose rows do not say.

A results table states the chance level of accuracy (1 / classes) and of every benchmark, but not of
macro F1, for which it depends on how one guesses. Guessing evenly among K classes, class k of
prevalence p_k has an F1 of about 2 p_k / (K p_k + 1); that is concave in p_k, so the mean over the
classes is at most 1 / K, reached when all are equally frequent. Always naming the most frequent
class gives 2 p / ((1 + p) K), below 1 / K too. So 1 / K, the chance level of accuracy, is used: an
upper bound, and too high by less than 1 / K (0.03 for 35 classes).
"""

import pandas as pd

from distillscale.laws.metrics import metric

BOUNDED_BY_ACCURACY = ("macro_f1",)


def with_chance(table: pd.DataFrame) -> pd.DataFrame:
    """The results table with the chance level of macro F1: that of accuracy on the same task."""
    classes = table[table["metric"] == "accuracy"].groupby("task")["chance"].median()
    missing = table["metric"].isin(BOUNDED_BY_ACCURACY) & table["chance"].isna()
    filled = table["chance"].where(~missing, table["task"].map(classes))
    return table.assign(chance=filled.astype(float))


def chance_of(name: str, rows: pd.DataFrame) -> float | None:
    """The chance level of a metric's rows; None for losses, and where it is not stated."""
    kind = metric(name)
    stated = rows["chance"].dropna()
    if stated.empty or not kind.bounded or kind.better == "lower":
        return None
    return float(stated.median())
