import csv
import json
import sys

import pandas as pd
import pyarrow.parquet as pq
import pytest
import typer

from distillscale import cli
from distillscale.cli.data import data

ROWS = [
    {"id": "a", "text": 'Central bank, "again", lifts rates', "label": "rates", "n": 1},
    {"id": "b", "text": "firm recalls kettles after fire at the plant", "label": "recall", "n": 2},
    {"id": "c", "text": "central bank again lifts rates !", "label": "rates", "n": 3},
    {"id": "d", "text": "workers walk out\nat the plant", "label": "strike", "n": 4},
    {"id": "e", "text": "CENTRAL BANK AGAIN LIFTS RATES", "label": "other", "n": 5},
]


@pytest.fixture(autouse=True)
def mounted(monkeypatch):
    app = typer.Typer(pretty_exceptions_enable=False)
    app.add_typer(data, name="data")
    monkeypatch.setattr(cli, "app", app)


def written(path, rows=ROWS):
    if path.suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pd.DataFrame(rows).to_parquet(path)
    return path


def read(path):
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return [{**row, "n": int(row["n"])} for row in csv.DictReader(file)]
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return pd.read_parquet(path).to_dict("records")


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet"])
def test_kept_and_dropped_rows_are_the_file_and_name_each_other(call, tmp_path, kind):
    file = written(tmp_path / f"news{kind}")
    ended = call("data", "dedup", file, "--text-column", "text", "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert "5 rows, 3 kept, 2 dropped (40.0%)" in ended.out
    kept = read(tmp_path / "out" / f"kept{kind}")
    assert [row["id"] for row in kept if row["label"] in ("recall", "strike")] == ["b", "d"]
    dropped = pq.read_table(tmp_path / "out" / "dropped.parquet").to_pylist()
    assert [row for row in ROWS if row not in kept] == [ROWS[row["row"] - 1] for row in dropped]
    for row in dropped:
        assert row["text"] == ROWS[row["row"] - 1]["text"]
        keeper = ROWS[row["keeper_row"] - 1]
        assert keeper in kept
        assert row["keeper_text"] == keeper["text"]
        assert row["similarity"] == pytest.approx(1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"news{kind}", "out"]


def test_the_threshold_decides(call, tmp_path):
    file = written(tmp_path / "news.jsonl", [{"text": "rates rise"}, {"text": "rates rise now"}])
    for threshold, kept in (("1", 2), ("0.5", 1)):
        out = tmp_path / threshold
        call("data", "dedup", file, "--text-column", "text", "--threshold", threshold, "--out", out)
        assert len(read(out / "kept.jsonl")) == kept


def test_other_delimiters_encodings_and_columns_survive(call, tmp_path):
    (tmp_path / "a.csv").write_bytes(
        b'text;note\n"rates; rise";caf\xe9\nrates rise;x\nfire;"p,q"\n'
    )
    call("data", "dedup", tmp_path / "a.csv", "--text-column", "text", "--out", tmp_path / "csv")
    kept = (tmp_path / "csv" / "kept.csv").read_bytes().splitlines()
    assert kept[0] == b"text,note"
    assert kept[2] == b'fire,"p,q"'
    assert kept[1] in (b"rates; rise,caf\xe9", b"rates rise,x")
    lines = [b'\xef\xbb\xbf{"text": "rates rise", "more": [1, null]}', b'{"text":  "fire"}']
    (tmp_path / "a.jsonl").write_bytes(b"\r\n\r\n".join(lines))
    call("data", "dedup", tmp_path / "a.jsonl", "--text-column", "text", "--out", tmp_path / "json")
    kept = (tmp_path / "json" / "kept.jsonl").read_bytes()
    assert kept == b'{"text": "rates rise", "more": [1, null]}\n{"text":  "fire"}\n'


def test_an_empty_folder_is_used_and_a_filled_one_refused(call, complaint, tmp_path):
    file, out = written(tmp_path / "news.csv"), tmp_path / "out"
    out.mkdir()
    assert call("data", "dedup", file, "--text-column", "text", "--out", out).code == 0
    said = complaint("data", "dedup", file, "--text-column", "text", "--out", out)
    assert "it exists and is not empty" in said


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"id,text\n1,x\n2,\n", "a.csv: row 2: `text` is empty"),
        ("a.csv", b"id,text\n1,x,y\n", "a.csv: row 1 has 3 fields, the header 2"),
        ("a.csv", b"id,txet\n1,x\n", "no column `text`; did you mean `txet`?"),
        ("a.csv", b"id,text\n", "a.csv: no rows"),
        ("a.csv", b"", "a.csv: it is empty; the first line must name the columns"),
        ("a.csv", b"id,text\n1,caf\xe9\n", "a.csv: row 1: `text` is not valid UTF-8"),
        ("a.csv", b'id,text\n1,"x\n', "a.csv: row 1: not readable as csv"),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', "a.jsonl: row 2 is not JSON"),
        ("a.jsonl", b'{"text": "x"}\n["x"]\n', "a.jsonl: row 2 is not a JSON object"),
        ("a.jsonl", b'{"text": 5}\n', "a.jsonl: row 1: `text` is 5; it must be a text"),
        ("a.jsonl", b'{"text": null}\n', "a.jsonl: row 1: `text` is empty"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', "a.jsonl: row 1: `text` is not valid UTF-8"),
        ("a.jsonl", b'{"text": "x"}\n{"label": "y"}\n', "a.jsonl: row 2: `text` is empty"),
        ("a.parquet", b"PAR1", "a.parquet: not readable as parquet"),
        ("a.txt", b"x", "`.txt` is not one of .csv, .tsv, .jsonl, .parquet"),
    ],
)
def test_a_wrong_file_is_one_sentence_and_leaves_nothing(complaint, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    out = tmp_path / "out"
    error = complaint("data", "dedup", tmp_path / name, "--text-column", "text", "--out", out)
    assert said in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_wrong_options_are_refused_before_anything_is_read(complaint, tmp_path):
    ask = ("data", "dedup", tmp_path / "gone.csv", "--text-column", "text", "--out", tmp_path / "o")
    assert "gone.csv: no such file" in complaint(*ask)
    assert "over 0 and at most 1" in complaint(*ask, "--threshold", "0")
    written(tmp_path / "gone.csv")
    assert "neither `hashed` nor a model" in complaint(*ask, "--embedder", str(tmp_path))


def test_a_failure_while_writing_leaves_nothing(call, tmp_path, monkeypatch):
    file = written(tmp_path / "news.csv")
    monkeypatch.setattr(pq, "write_table", lambda *_: sys.exit(3))
    assert call("data", "dedup", file, "--text-column", "text", "--out", tmp_path / "o").code == 3
    assert [path.name for path in tmp_path.iterdir()] == ["news.csv"]
