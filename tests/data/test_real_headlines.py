"""Measured facts about real headlines that nobody here wrote; see ../shared/data/README.md."""

from pathlib import Path

import pandas as pd
import pytest

from distillscale.data.labelled_file import read_labelled_file
from distillscale.data.split import labelled_examples, normalised, stratified_split
from distillscale.tasks import task_from_labels

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "finance_tweets_topic20"
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="../shared/data/finance_tweets_topic20 is not on this machine"
)


@pytest.fixture(scope="module")
def pairs():
    return {
        split: read_labelled_file(FOLDER / f"{split}.parquet", "text", "label")
        for split in ("train", "validation")
    }


@pytest.fixture(scope="module")
def task(pairs):
    return task_from_labels("topics", [label for _, label in pairs["train"]])


def test_the_normal_form_finds_the_known_duplicates(pairs):
    forms = {split: [normalised(text) for text, _ in rows] for split, rows in pairs.items()}
    every = forms["train"] + forms["validation"]
    assert (len(every), len(every) - len(set(every))) == (21_107, 2_423)
    assert sum(form in set(forms["train"]) for form in forms["validation"]) == 692


def test_the_normal_form_finds_the_known_contradictions(pairs):
    rows = [(normalised(text), label) for rows in pairs.values() for text, label in rows]
    labels = pd.DataFrame(rows, columns=["form", "label"]).groupby("form").label.nunique()
    assert (labels > 1).sum() == 30


def test_all_twenty_topics_are_in_every_part_of_a_split(pairs, task):
    examples = labelled_examples(pairs["train"], task, source="tweets", split="train")
    parts = stratified_split(examples, validation=1000, test=2000, seed=0)
    assert len(task.labels) == 20
    for split in ("train", "validation", "test"):
        assert {e.label for e in parts if e.split == split} == set(task.labels)
