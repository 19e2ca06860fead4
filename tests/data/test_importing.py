import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from distillscale.data.examples import SCHEMA, read_examples
from distillscale.data.importing import Columns, Origin, import_rows
from distillscale.errors import InputError
from distillscale.tasks import Example, load_task
from distillscale.tasks.task import task_from_labels

COLUMNS = Columns("headline", "event")
ORIGIN = Origin("somewhere/news.csv", "train")
TASK = task_from_labels("news", ["up", "down"])


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "corpus"
    path.mkdir()
    return path


def bring_in(rows, folder, columns=COLUMNS, task=None, **options):
    return import_rows(rows, columns, ORIGIN, folder, task=task, **options)


def test_rows_become_examples_with_their_task(folder):
    imported = bring_in([("Shares \n rise", " up "), ("Shares fall", "down")], folder)
    assert read_examples(folder) == [
        Example("row-00000001", "Shares rise", "up", "up", "train", "news.csv"),
        Example("row-00000002", "Shares fall", "down", "down", "train", "news.csv"),
    ]
    assert pq.read_schema(folder / "examples.parquet").equals(SCHEMA)
    assert load_task(folder / "task.yaml") == imported.task
    assert imported.task.labels == ("down", "up")
    assert imported.classes == {"up": 1, "down": 1}


def test_ids_categories_and_label_names_come_from_the_table(folder):
    columns = Columns("text", "label", id="key", category="topic")
    rows = [("a", 1, "k1", "bad"), ("b", 0, "k2", "good")]
    imported = bring_in(rows, folder, columns, label_names=("rise", "fall"))
    examples = read_examples(folder)
    assert [(e.id, e.label, e.category) for e in examples] == [
        ("k1", "fall", "bad"),
        ("k2", "rise", "good"),
    ]
    assert load_task(folder / "task.yaml").categories == {"fall": "bad", "rise": "good"}
    assert imported.rows == imported.kept == 2


BAD = [
    ((None, "up", "i", "c"), "empty headline", "`headline` is empty; every row needs one."),
    (("  ", "up", "i", "c"), "empty headline", "`headline` is empty; every row needs one."),
    ((["a"], "up", "i", "c"), "malformed headline", "`headline` is a list; it must be one text."),
    (("a\udce9", "up", "i", "c"), "malformed headline", "`headline` is not UTF-8 (byte 0xe9)"),
    (("a", float("nan"), "i", "c"), "empty event", "`event` is empty; every row needs one."),
    (("a", "up", "", "c"), "empty key", "`key` is empty; every row needs one."),
    (("a", "up", "first", "c"), "duplicate id", "`key`: id `first` occurred before"),
    (("a", "up", "i", "other"), "second category", "label `up` has the category `other` here"),
]


@pytest.mark.parametrize(("row", "reason", "says"), BAD)
def test_a_bad_row_is_refused_or_dropped_and_named(folder, row, reason, says):
    columns = Columns("headline", "event", id="key", category="topic")
    rows = [("x", "up", "first", "c"), ("y", "down", "second", "d"), row]
    with pytest.raises(InputError) as caught:
        bring_in(rows, folder, columns)
    assert str(caught.value).startswith("somewhere/news.csv: row 3: ")
    assert says in str(caught.value)
    imported = bring_in(rows, folder, columns, drop_bad_rows=True)
    assert imported.dropped == {reason: 1}
    assert (imported.rows, imported.kept) == (3, 2)
    assert [example.id for example in read_examples(folder)] == ["first", "second"]
    dropped = pq.read_table(folder / "dropped.parquet").to_pylist()
    assert [(one["row"], one["reason"]) for one in dropped] == [(3, reason)]
    assert says in dropped[0]["says"]


def test_a_label_must_be_one_of_the_tasks(folder):
    with pytest.raises(
        InputError, match=r"row 2: `event`: task news: unknown label `dwn`; did you"
    ):
        bring_in([("a", "up"), ("b", "dwn")], folder, task=TASK)
    imported = bring_in([("a", "up"), ("b", "dwn")], folder, task=TASK, drop_bad_rows=True)
    assert imported.dropped == {"unknown label": 1}
    assert imported.task == TASK


@pytest.mark.parametrize("label", ["2", "-1", "up"])
def test_a_label_number_must_have_a_name(folder, label):
    with pytest.raises(InputError, match=f"row 1: `event`: label `{label}` is not a number under"):
        bring_in([("a", label)], folder, label_names=("up", "down"))


def test_labels_that_are_texts_are_told_before_memory_fills(folder):
    rows = ((f"text {number}", f"label {number}") for number in range(10**9))
    with pytest.raises(InputError, match="row 1001: `event`: over 1,000 different labels"):
        bring_in(rows, folder, drop_bad_rows=True)


def test_a_table_without_rows_is_refused(folder):
    with pytest.raises(InputError, match="no rows; at least one a class"):
        bring_in([], folder)
    with pytest.raises(InputError, match="no rows are left; at least one"):
        bring_in([("", "up")], folder, drop_bad_rows=True)


def test_repeats_are_found_across_batches(folder):
    """40,000 rows are three batches; what a set finds is the reference."""
    texts = [f"Text, no. {number * number % 30_011}!" for number in range(40_000)]
    rows = [(text, "up" if place % 2 else "down") for place, text in enumerate(texts)]
    assert bring_in(rows, folder).repeated == 40_000 - len(set(texts))
    columns = Columns("headline", "event", id="key")
    keyed = [(*row, str(place % 39_999)) for place, row in enumerate(rows)]
    with pytest.raises(InputError, match="row 40000: `key`: id `0` occurred before"):
        bring_in(keyed, folder, columns)


IMPORT = """
import resource, sys
from pathlib import Path
from distillscale.data.importing import Columns, Origin, import_rows
from distillscale.data.rows import read_rows
path, out = Path(sys.argv[1]), Path(sys.argv[2])
columns = Columns("text", "label", id="key")
rows = read_rows(path, columns.names)
imported = import_rows(rows, columns, Origin(path.name, "train"), out, task=None)
print(imported.kept, imported.repeated, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path):
    """A million rows, 66 MB of text, take at most 120 MB more than a thousand."""
    peaks = []
    for count in (1000, 1_000_000):
        path, out = tmp_path / f"{count}.jsonl", tmp_path / f"out{count}"
        out.mkdir()
        with path.open("w") as file:
            for number in range(count):
                row = {"key": number, "text": f"headline {number} of many", "label": number % 7}
                file.write(json.dumps(row) + "\n")
        done = subprocess.run(
            [sys.executable, "-c", IMPORT, str(path), str(out)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        kept, repeated, peak = map(int, done.stdout.split())
        assert (kept, repeated) == (count, 0)
        peaks.append(peak / 1024)
    assert peaks[1] - peaks[0] < 120
