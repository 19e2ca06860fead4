"""Per-class measures and confusion against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from distillscale.evaluation.class_tables import confused_pairs, confusion_counts, per_class

LABELS = ["up", "down", "flat", "never gold", "never at all"]


@pytest.fixture(scope="module")
def decisions() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 3, size=80)
    return gold, np.where(rng.random(80) < 0.6, gold, rng.integers(0, 4, size=80))


def test_counts_are_scikit_learns(decisions):
    expected = confusion_matrix(*decisions, labels=range(5))
    np.testing.assert_array_equal(confusion_counts(*decisions, 5), expected)


def test_per_class_is_scikit_learns_where_that_is_defined(decisions):
    table = per_class(confusion_counts(*decisions, 5), LABELS)
    precision, recall, f1, support = precision_recall_fscore_support(
        *decisions, labels=range(5), zero_division=np.nan
    )
    assert table["label"].tolist() == LABELS
    np.testing.assert_array_equal(table["support"], support)
    np.testing.assert_allclose(table["precision"], precision)
    np.testing.assert_allclose(table["recall"], recall)
    np.testing.assert_allclose(table["f1"], f1)
    assert table.iloc[3][["support", "f1"]].tolist() == [0, 0]  # taken for it, never gold
    assert table.iloc[4][["precision", "recall", "f1"]].isna().all()


def test_confused_pairs_are_ranked_and_leave_out_what_is_right():
    counts = np.array([[7, 3, 0], [1, 9, 0], [0, 5, 0]])
    pairs = confused_pairs(counts, ["up", "down", "flat"])
    expected = pd.DataFrame(
        {
            "gold": ["flat", "up", "down"],
            "predicted": ["down", "down", "up"],
            "count": [5, 3, 1],
            "share": [1.0, 0.3, 0.1],
        }
    )
    pd.testing.assert_frame_equal(pairs, expected, check_dtype=False)


def test_without_errors_no_pair_is_confused():
    assert confused_pairs(np.diag([4, 2]), ["a", "b"]).empty
