"""From a user's labelled file to the dataset artifact."""

import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from distillscale.errors import InputError
from distillscale.studies.dataset import MapPoint, write_dataset
from distillscale.studies.sources import Sources, digest
from distillscale.tasks import Example, Question, load_task, task_from_labels
from distillscale.tasks.records import read_records

TASK = task_from_labels("pets", ["cat", "dog"])
TEXTS = [(f"{animal} number {number}", animal) for animal in ("cat", "dog") for number in range(20)]


@pytest.fixture
def make(tmp_path: Path):
    """Write a dataset of labelled texts; returns its folder."""
    output = tmp_path / "output"
    output.mkdir()

    def make(
        texts: list[tuple[str, str]] = TEXTS,
        test_texts: list[tuple[str, str]] | None = None,
        **changes: Any,
    ) -> Path:
        params = {
            "task": asdict(TASK), "source": None, "test_source": None, "text_column": "text",
            "label_column": "label", "train": 20, "validation": 4, "test": 6, "seed": 0,
            "near_duplicates": {"embedder": "hashed", "threshold": 0.9},
        } | changes  # fmt: skip
        paths = {}
        for role, rows in (("source", texts), ("test_source", test_texts)):
            if rows is not None:
                file = tmp_path / f"{role}.csv"
                pd.DataFrame(rows, columns=["text", "label"]).to_csv(file, index=False)
                params[role] = {"digest": digest(file)}
                paths[digest(file)] = str(file)
        write_dataset(params, Sources(paths), output)
        return output

    return make


def read(folder: Path) -> dict[str, list[Example]]:
    splits = ("train", "validation", "test")
    return {split: read_records(folder / f"{split}.parquet", Example) for split in splits}


def test_a_file_is_split_into_what_was_asked_for(make):
    folder = make()
    found = read(folder)
    assert {split: len(examples) for split, examples in found.items()} == {
        "train": 20, "validation": 4, "test": 6,
    }  # fmt: skip
    texts = [example.text for examples in found.values() for example in examples]
    assert len(set(texts)) == 30
    assert read_records(folder / "questions.parquet", Question) == []
    points = read_records(folder / "map.parquet", MapPoint)
    assert [point.text for point in points] == [example.text for example in found["train"]]


def test_no_path_gets_into_the_artifact(make, tmp_path: Path):
    folder = make(test_texts=[("a stray dog", "dog")])
    assert {e.source for examples in read(folder).values() for e in examples} == {
        "source", "test_source",
    }  # fmt: skip
    assert not any(str(tmp_path).encode() in file.read_bytes() for file in folder.iterdir())


def test_a_test_file_loses_the_texts_that_are_trained_on(make):
    test_texts = [("CAT number 3!", "cat"), ("a stray dog", "dog"), ("a stray cat", "cat")]
    found = read(make(test_texts=test_texts, train=36))
    assert [example.text for example in found["test"]] == ["a stray dog", "a stray cat"]
    assert len(found["train"]) == 36


LONG = "shares of the old company {} fall sharply after weak results for the {} quarter"


def test_near_duplicates_stay_on_one_side(make):
    words = [f"{a}{b}" for a in ("bal", "cor", "dun", "fes", "gim") for b in ("ter", "pol", "zan")]
    rng = random.Random(0)
    firsts = [" ".join(rng.choices(words, k=14)) for _ in range(20)]
    pairs = [(text, text + " today") for text in firsts]
    texts = [(text, "cat" if n % 2 else "dog") for n, pair in enumerate(pairs) for text in pair]
    side = {e.text: split for split, examples in read(make(texts)).items() for e in examples}
    both = [pair for pair in pairs if set(pair) <= set(side)]
    assert len(both) > 10
    assert [pair for pair in both if side[pair[0]] != side[pair[1]]] == []


def test_a_test_file_loses_near_duplicates_of_what_is_trained_on(make, tmp_path: Path):
    known = [(LONG.format("Acme", "first"), "dog"), *TEXTS]
    test_texts = [
        (LONG.format("Acme", "first") + " today", "dog"),
        ("Cat number 3!", "cat"),
        ("a stray cat", "cat"),
    ]
    found = read(make(known, test_texts))
    assert [example.text for example in found["test"]] == ["a stray cat"]


def test_the_step_tells_what_the_guard_did(tmp_path: Path):
    paths = {}
    rows = {"source": TEXTS, "test_source": [("Cat number 3!", "cat"), ("a stray cat", "cat")]}
    params: dict[str, Any] = {
        "task": asdict(TASK), "text_column": "text", "label_column": "label", "train": 20,
        "validation": 4, "test": 6, "seed": 0,
        "near_duplicates": {"embedder": "hashed", "threshold": 0.9},
    }  # fmt: skip
    for role, texts in rows.items():
        file = tmp_path / f"{role}.csv"
        pd.DataFrame(texts, columns=["text", "label"]).to_csv(file, index=False)
        params[role] = {"digest": digest(file)}
        paths[digest(file)] = str(file)
    (tmp_path / "out").mkdir()
    assert write_dataset(params, Sources(paths), tmp_path / "out") == {
        "examples": 25, "questions": 0, "dropped_same": 1, "dropped_near": 0, "grouped": 0,
    }  # fmt: skip


def test_a_test_file_without_texts_of_its_own_is_refused(make):
    with pytest.raises(InputError, match=r"dataset\.test_source: dataset\.source holds all of"):
        make(test_texts=TEXTS[:5])


def test_too_few_texts_to_train_on_are_refused(make):
    with pytest.raises(InputError, match=r"30 different texts are left .* asks for 31"):
        make(train=31)


def test_more_held_out_texts_than_there_are_are_refused(make):
    with pytest.raises(InputError, match="40 different texts are too few for 40 test"):
        make(test=40)


def test_an_unknown_label_is_named_with_its_file_and_row(make, tmp_path: Path):
    with pytest.raises(InputError) as error:
        make(test_texts=[("a stray dog", "dog"), ("a horse", "hors")])
    assert f"{tmp_path / 'test_source.csv'}: row 2: " in str(error.value)
    assert "unknown label `hors`" in str(error.value)


def test_a_missing_column_is_named_with_its_file(make):
    with pytest.raises(InputError, match=r"source\.csv: no column `txt`; did you mean `text`"):
        make(text_column="txt")


def test_the_lab_brings_its_own_questions(tmp_path: Path):
    params = {
        "task": asdict(load_task("support-tickets")), "source": "lab", "test_source": None,
        "train": 6, "validation": 3, "test": 5, "questions": 8, "seed": 0,
    }  # fmt: skip
    counts = write_dataset(params, Sources({}), tmp_path)
    questions = read_records(tmp_path / "questions.parquet", Question)
    assert counts == {"examples": 14, "questions": len(questions)}
    assert {question.benchmark for question in questions} == {"lab_facts", "lab_joins"}
    assert len(read(tmp_path)["test"]) == 5
