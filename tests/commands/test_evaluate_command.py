"""`evaluate`: numbers that can be checked against its own predictions, files, refusals."""

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from distillscale.commands.evaluate import EvaluateRequest, _settings
from distillscale.evaluation import read_predictions
from distillscale.lab.examples import lab_examples
from distillscale.lab.teacher import shipped_teacher
from distillscale.lab.world import make_world
from distillscale.models.checkpoint import load_model, load_tokenizer, save_checkpoint
from distillscale.serving.deployment import Deployment, write_deployment
from distillscale.tasks import load_task

TASK = "fin-headlines"
NAMES = ("thinking", "max_new_tokens")
REQUEST = EvaluateRequest(
    model="lab", task=TASK, data=Path("test.csv"), text_column="text", label_column="label",
    thinking=None, max_new_tokens=None, compare=None, batch_size=32, hourly_price=None,
)  # fmt: skip
FILES = {
    "metrics.json", "predictions.parquet", "per_class.csv", "confusion.csv",
    "confusion.png", "confusion.svg", "reliability.png", "reliability.svg",
    "coverage.png", "coverage.svg",
}  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    examples = lab_examples(TASK, make_world(), train=0, validation=0, test=48, seed=1)
    return pd.DataFrame({"text": [e.text for e in examples], "label": [e.label for e in examples]})


@pytest.fixture
def data(rows: pd.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "test.csv"
    rows.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def worse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's teacher with noise on its weights."""
    folder = tmp_path_factory.mktemp("models") / "worse"
    model, tokenizer = load_model(shipped_teacher()), load_tokenizer(shipped_teacher())
    generator = np.random.default_rng(0)
    for parameter in model.parameters():
        noise = generator.normal(scale=0.06, size=parameter.shape).astype(np.float32)
        parameter.data += parameter.data.new_tensor(noise)
    save_checkpoint(model, tokenizer, folder)
    return folder


def test_numbers_are_those_of_the_predictions(call, data, rows, tmp_path):
    out = tmp_path / "new" / "out"
    ended = call("evaluate", "lab", "--task", TASK, "--data", data, "--out", out)
    assert ended.code == 0, ended.err
    assert {path.name for path in out.iterdir()} == FILES
    assert list(out.parent.iterdir()) == [out]
    table = read_predictions(out / "predictions.parquet").table
    assert table["text"].tolist() == rows["text"].tolist()
    assert table["gold"].tolist() == rows["label"].tolist()
    content = json.loads((out / "metrics.json").read_text())
    metrics = content["metrics"]
    gold, predicted = table["gold"], table["predicted"]
    assert metrics["accuracy"]["value"] == pytest.approx(accuracy_score(gold, predicted))
    assert metrics["macro_f1"]["value"] == pytest.approx(
        f1_score(gold, predicted, average="macro", labels=gold.unique(), zero_division=0)
    )
    assert metrics["gold_nll"]["value"] == pytest.approx(table["gold_nll"].mean(), abs=1e-6)
    assert metrics["accuracy"]["value"] > 0.8  # the lab's teacher knows the task
    for item in metrics.values():
        assert item["low"] <= item["high"]
    assert "parse_failure_rate" not in metrics
    assert content["cost"]["file_bytes"] == (shipped_teacher() / "model.safetensors").stat().st_size
    assert "ms_per_example_label_only" not in content["cost"]
    assert content["hourly_price"] is None
    assert "cost_per_million" not in content
    assert "money" not in ended.out
    assert content["examples"] == 48
    assert content["coverage"][-1]["accuracy"] == pytest.approx(metrics["accuracy"]["value"])
    assert sum(row["examples"] for row in content["reliability"]) == 48
    assert f"{metrics['macro_f1']['value']:.4f}" in ended.out
    assert "worst classes: " in ended.out


def test_tables_hold_every_class_and_decision(call, data, rows, tmp_path):
    out = tmp_path / "out"
    assert call("evaluate", "lab", "--task", TASK, "--data", data, "--out", out).code == 0
    task = load_task(TASK)
    classes = pd.read_csv(out / "per_class.csv")
    assert tuple(classes["label"]) == task.labels
    assert tuple(classes["category"]) == tuple(task.categories.values())
    assert dict(zip(classes["label"], classes["support"], strict=True)) == {
        label: int((rows["label"] == label).sum()) for label in task.labels
    }
    confusion = pd.read_csv(out / "confusion.csv", index_col="gold")
    table = pd.read_parquet(out / "predictions.parquet")
    expected = pd.crosstab(table["gold"], table["predicted"])
    pd.testing.assert_frame_equal(
        confusion.reindex(index=expected.index, columns=expected.columns),
        expected,
        check_names=False,
    )
    assert confusion.to_numpy().sum() == 48


def test_two_models_are_tested_on_the_same_examples(call, data, worse, tmp_path):
    out = tmp_path / "out"
    asked = ("--task", TASK, "--data", data, "--compare", worse, "--out", out)
    ended = call("evaluate", "lab", *asked)
    assert ended.code == 0, ended.err
    assert {path.name for path in out.iterdir()} == FILES | {"comparison.json", "compare"}
    assert {path.name for path in (out / "compare").iterdir()} == FILES
    one, other = (
        pd.read_parquet(folder / "predictions.parquet") for folder in (out, out / "compare")
    )
    right, also = (table["gold"] == table["predicted"] for table in (one, other))
    found = json.loads((out / "comparison.json").read_text())
    assert found["accuracy"]["only_first"] == (right & ~also).sum()
    assert found["accuracy"]["only_second"] == (~right & also).sum()
    assert found["accuracy"]["p"] < 0.05
    [macro] = [item for item in found["f1"] if item["metric"] == "macro_f1"]
    assert macro["value"] > 0
    assert macro["low"] < macro["value"] < macro["high"]
    assert f"lab against {worse}" in ended.out


def test_reasoning_is_measured_with_parse_failures_apart(call, rows, tmp_path):
    data, out = tmp_path / "few.jsonl", tmp_path / "out"
    rows.head(12).rename(columns={"text": "headline", "label": "event"}).to_json(
        data, orient="records", lines=True
    )
    columns = ("--text-column", "headline", "--label-column", "event")
    asked = ("--task", TASK, "--data", data, *columns, "--thinking", "brief", "--out", out)
    ended = call("evaluate", "lab", *asked, "--hourly-price", "3.6")
    assert ended.code == 0, ended.err
    content = json.loads((out / "metrics.json").read_text())
    metrics, cost = content["metrics"], content["cost"]
    # At 3.6 an hour, a millisecond a text is 1.0 a million texts.
    assert content["cost_per_million"] == pytest.approx(cost["ms_per_example_batch_32"])
    assert content["cost_per_million_alone"] == pytest.approx(cost["ms_per_example"])
    assert f"{content['cost_per_million']:,.2f} at 3.6 an hour" in ended.out
    assert "ms_per_example_label_only_batch_32" in cost
    table = pd.read_parquet(out / "predictions.parquet")
    assert table["completion"].notna().all()
    assert metrics["parse_failure_rate"]["value"] == table["written"].isna().mean()
    assert metrics["reasoned_accuracy"]["value"] == (table["written"] == table["gold"]).mean()
    assert "unparsed answers (share)" in ended.out


def test_a_deployed_folder_brings_its_task_and_its_thinking(call, data, tmp_path):
    folder = tmp_path / "student"
    shutil.copytree(shipped_teacher(), folder)
    write_deployment(Deployment(load_task(TASK), "brief", 40), folder)
    ended = call("evaluate", folder, "--data", data)
    assert ended.code == 0, ended.err
    assert f"{folder} (thinking: brief)" in ended.out
    assert "written" not in ended.out.splitlines()[-1]  # nothing is written without --out
    assert call("evaluate", folder, "--data", data, "--thinking", "none").out.count("none")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("brief", 40)),
        ({"thinking": "full"}, ("full", 40)),
        ({"max_new_tokens": 7}, ("brief", 7)),
        ({"thinking": "none", "max_new_tokens": 7}, ("none", 7)),
    ],
)
def test_thinking_and_budget_each_fall_back_on_the_deployment(tmp_path, options, expected):
    write_deployment(Deployment(load_task(TASK), "brief", 40), tmp_path)
    assert _settings(str(tmp_path), replace(REQUEST, **options)) == expected
    plain = ("none", 256)
    asked = tuple(options.get(name, known) for name, known in zip(NAMES, plain, strict=True))
    assert _settings("lab", replace(REQUEST, **options)) == asked


def test_the_recorded_command_can_be_given_to_a_shell(call, rows, tmp_path):
    data, out = tmp_path / "my test.csv", tmp_path / "out"
    rows.head(4).to_csv(data, index=False)
    asked = ("--task", TASK, "--data", data, "--max-new-tokens", "9", "--batch-size", "3")
    assert call("evaluate", "lab", *asked, "--out", out).code == 0
    words = shlex.split(json.loads((out / "metrics.json").read_text())["command"])
    assert words[:3] == ["distillscale", "evaluate", "lab"]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    assert given == {
        "--task": TASK, "--data": str(data), "--text-column": "text", "--label-column": "label",
        "--max-new-tokens": "9", "--batch-size": "3",
    }  # fmt: skip


def test_a_diverged_model_is_one_sentence(complaint, data, tmp_path):
    folder = tmp_path / "diverged"
    model, tokenizer = load_model(shipped_teacher()), load_tokenizer(shipped_teacher())
    next(model.parameters()).data.fill_(float("nan"))
    save_checkpoint(model, tokenizer, folder)
    said = complaint("evaluate", folder, "--task", TASK, "--data", data, "--out", tmp_path / "out")
    assert "its scores are NaN or infinite for 48 of 48 texts" in " ".join(said.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "missing.csv"), "missing.csv: no such file"),
        (("--text-column", "body"), "body"),
        (("--task", "nonsense"), "task `nonsense`: neither a built-in task"),
        (("--thinking", "deep"), "--thinking deep: it is not one of none, brief, full"),
        (("--task", "support-tickets"), "row 1: `label` of task support-tickets: unknown label"),
        (("--out", "."), "--out .: it exists and is not empty"),
        (("--hourly-price", "0"), "--hourly-price 0: it must be a positive number"),
        (("--compare", "no/such/folder"), "no/such/folder: no model config"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(complaint, data, tmp_path, options, message):
    before = sorted(tmp_path.rglob("*"))
    given = {"--task": TASK, "--data": str(data), "--out": "out"} | dict([options])
    said = complaint("evaluate", "lab", *(word for pair in given.items() for word in pair))
    assert message in said
    assert sorted(tmp_path.rglob("*")) == before


def test_a_task_must_be_named_for_a_plain_model(complaint, data):
    assert "--task is missing and `lab` is not a folder" in complaint(
        "evaluate", "lab", "--data", data
    )
