"""How often the filters object to texts that people wrote; see ../shared/data/README.md."""

from collections import Counter
from pathlib import Path

import pytest

from distillscale.data.generation.filters import FilterRules, reason_to_drop
from distillscale.data.generation.records import Draft
from distillscale.data.labelled_file import read_labelled_file
from distillscale.tasks import load_task, task_from_labels

SHARED = Path(__file__).parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not on this machine")


def share_dropped(pairs, task):
    """The share of texts that each filter but those of length objects to."""
    rules = FilterRules(shortest=1, longest=10_000)
    drafts = [Draft(" ".join(text.split()), label) for text, label in pairs]
    reasons = Counter(reason_to_drop(draft, task, rules) for draft in drafts)
    return {reason: count / len(drafts) for reason, count in reasons.items() if reason}


def test_questions_to_a_bank_pass():
    pairs = read_labelled_file(SHARED / "banking77" / "test.csv", "text", "category")
    dropped = share_dropped(pairs, task_from_labels("bank", [label for _, label in pairs]))
    assert sum(dropped.values()) < 0.002  # one has an open slot: "my transfer from [country]?"
    assert dropped["malformed"] > 0


def test_financial_news_passes():
    path = SHARED / "finance_tweets_topic20" / "validation.parquet"
    dropped = share_dropped(read_labelled_file(path, "text", "label"), load_task("fin-headlines"))
    assert dropped["label_leaked"] < 0.002  # "#earnings", "EARNINGS: Netflix"
    assert dropped["wrong_language"] < 0.001
    assert dropped["malformed"] < 0.003  # lists: "- China GDP", "2) Employment"
    assert set(dropped) <= {"label_leaked", "wrong_language", "malformed"}
