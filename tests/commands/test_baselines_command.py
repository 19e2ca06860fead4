"""`baselines`: trained and tested on the rows of `compress`; its table agrees with itself."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from distillscale.lab.examples import lab_examples
from distillscale.lab.teacher import shipped_teacher
from distillscale.lab.world import make_world

COLUMNS = ("--text-column", "headline", "--label-column", "event")
MODELS = ["tfidf", "encoder", "same-shape-gold", "same-shape-distilled", "student"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    examples = lab_examples("fin-headlines", make_world(), train=160, validation=0, test=0, seed=2)
    rows = [{"headline": one.text, "event": one.label} for one in examples]
    path = tmp_path / "headlines.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_all_are_compared_on_the_rows_that_the_student_was_tested_on(call, data, tmp_path):
    student, out = tmp_path / "student", tmp_path / "new" / "out"
    short = ("--steps", "2", "--batch-size", "4", "--store", tmp_path / "store")
    common = ("--model", "lab", "--data", data, *COLUMNS, *short)
    made = call("compress", *common, "--keep", "0.5", "--stages", "1", "--out", student)
    assert made.code == 0, made.err
    ended = call("baselines", *common, "--like", student, "--out", out)
    assert ended.code == 0, ended.err
    assert list(out.parent.iterdir()) == [out]
    table = pd.read_parquet(out / "baselines.parquet")
    assert table["model"].unique().tolist() == MODELS
    test = [json.loads(line) for line in (student / "test.jsonl").read_text().splitlines()]
    quality = table[table["metric"] == "macro_f1"]
    assert (quality["examples"] == len(test)).all()
    assert all(len(replicates) == 1000 for replicates in quality["replicates"])
    facts = json.loads((student / "facts.json").read_text())
    card = facts["columns"][facts["configuration"]]
    own = table[table["model"] == "student"].set_index("metric")["value"]
    assert own["macro_f1"] == pytest.approx(card["macro_f1"])
    assert own["gold_nll"] == pytest.approx(card["gold_nll"], rel=1e-4)
    sizes = table[table["metric"] == "file_bytes"].set_index("model")["value"]
    assert sizes["student"] == (student / "model.safetensors").stat().st_size
    assert sizes["same-shape-gold"] == sizes["student"] == sizes["same-shape-distilled"]
    written = json.loads((out / "baselines.json").read_text())
    assert written["test"] == len(test)
    assert len(written["rows"]) == len(table)
    for name in MODELS:
        assert name in ended.out
    assert call("classify", out / "same-shape-gold", "some text").code == 0
    said = call("baselines", *common, "--like", student, "--seed", "1", "--out", tmp_path / "o")
    assert (said.code, "it was tested on other rows" in said.err) == (2, True)
    assert not (tmp_path / "o").exists()


def test_without_a_student_there_are_two(call, data, tmp_path):
    options = ("--steps", "1", "--batch-size", "2", "--store", tmp_path / "store")
    ended = call("baselines", "--data", data, *COLUMNS, *options, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    table = pd.read_parquet(tmp_path / "out" / "baselines.parquet")
    assert table["model"].unique().tolist() == MODELS[:2]
    known = table["low"].notna()
    assert (table["low"][known] <= table["high"][known]).all()
    f1 = table[(table["metric"] == "macro_f1") & (table["model"] == "tfidf")].iloc[0]
    low, high = np.quantile(f1["replicates"], [0.05, 0.95])
    assert (f1["low"], f1["high"]) == pytest.approx((low, high))
    assert f"{f1['value']:.3f} [{low:.3f}, {high:.3f}]" in ended.out
    assert "a stand-in for a pretrained one" in ended.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "."), "--out .: it exists and is not empty"),
        (("--model", "lab"), "--model needs --like DIR"),
        (("--like", "no/such/folder"), "no/such/folder: no model config"),
        (("--encoder", "no/such/folder"), "no/such/folder: no model config"),
        (("--text-column", "body"), "body"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(complaint, data, tmp_path, options, message):
    given = {
        "--data": str(data), "--text-column": "headline", "--label-column": "event", "--out": "out",
        "--store": str(tmp_path.parent / "store"),
    } | dict([options])  # fmt: skip
    said = complaint("baselines", *(word for pair in given.items() for word in pair))
    assert message in said
    assert list(tmp_path.iterdir()) == [data]


def test_a_plain_checkpoint_gives_a_shape_only(call, data, tmp_path):
    options = ("--steps", "1", "--batch-size", "2", "--store", tmp_path / "store")
    like = ("--like", shipped_teacher())
    ended = call("baselines", "--data", data, *COLUMNS, *options, *like, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    table = pd.read_parquet(tmp_path / "out" / "baselines.parquet")
    assert table["model"].unique().tolist() == MODELS[:3]
