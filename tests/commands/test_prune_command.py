"""`prune`: a plan that is printed, a checkpoint that plain transformers loads, and refusals."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from distillscale.lab.teacher import shipped_teacher
from distillscale.models.checkpoint import load_config, load_model
from distillscale.models.size import model_size
from distillscale.pruning import Origin, PruningPlan, params_of, shape_of

TEXTS = [f"Acme Corp wins approval for product {number}" for number in range(20)]
LAB = load_config(shipped_teacher())
FULL = params_of(LAB, shape_of(LAB))


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n\n")
    return path


def plan_of(folder: Path) -> PruningPlan:
    return PruningPlan.from_json((folder / "plan.json").read_text())


def origin_of(folder: Path) -> Origin:
    return Origin.from_json((folder / "origin.json").read_text())


def test_a_pruned_checkpoint_loads_and_generates_without_us(call, calibration, tmp_path):
    out = tmp_path / "new" / "small"
    axes = "depth, mlp, heads,hidden"
    ended = call("prune", "lab", "--keep", "0.4", "--calibration", calibration, "--axes", axes,
                 "--out", out)  # fmt: skip
    assert ended.code == 0, ended.err
    plan = plan_of(out)
    for row in plan.rows():
        assert all(cell in ended.out for cell in row)
    model = AutoModelForCausalLM.from_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert model_size(model).params == plan.params_after
    assert plan.params_after == pytest.approx(0.4 * FULL, rel=0.01)
    ids = tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert model.generate(ids, max_new_tokens=3, do_sample=False).shape[1] > ids.shape[1]
    assert origin_of(out) == Origin.of(plan)
    assert list(out.parent.iterdir()) == [out]


def test_a_pruned_model_can_be_pruned_again(call, calibration, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    second.mkdir()  # an empty folder is taken
    asked = ("--keep", "0.6", "--calibration", calibration, "--axes", "depth,hidden,mlp")
    assert call("prune", "lab", *asked, "--out", first).code == 0
    assert call("prune", first, *asked, "--out", second).code == 0
    assert plan_of(second).before == plan_of(first).after
    assert origin_of(second) == Origin.of(plan_of(first)).after(plan_of(second))
    assert plan_of(second).params_after == pytest.approx(0.36 * FULL, rel=0.02)


def test_the_plan_alone_writes_nothing(call, calibration, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    ended = call("prune", "lab", "--keep", "0.5", "--calibration", calibration, "--plan-only")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0].split() == ["quantity", "before", "after", "kept"]
    assert any(line.startswith("FLOPs per token ") for line in lines)
    assert any(line.startswith("layers removed: ") for line in lines)
    assert len({len(line) for line in lines[:-1]}) == 1  # columns stand under one another
    assert sorted(tmp_path.rglob("*")) == before


def test_tables_are_read_by_column_and_criteria_decide(call, tmp_path):
    """The same texts from a table; other criteria keep other structures."""
    table = tmp_path / "texts.csv"
    pd.DataFrame({"id": range(20), "text": TEXTS}).to_csv(table, index=False)
    kept = {}
    for criterion in ("mean_absolute", "random"):
        out = tmp_path / criterion
        ended = call(
            "prune", "lab", "--keep", "0.5", "--calibration", table, "--text-column", "text",
            "--axes", "mlp", "--channel-criterion", criterion, "--out", out,
        )  # fmt: skip
        assert ended.code == 0, ended.err
        kept[criterion] = plan_of(out).layers
    assert kept["mean_absolute"] != kept["random"]


def test_candidates_are_told_and_the_least_divergent_one_is_written(call, calibration, tmp_path):
    out = tmp_path / "out"
    ended = call("prune", "lab", "--keep", "0.5", "--calibration", calibration, "--candidates",
                 "3", "--out", out)  # fmt: skip
    assert ended.code == 0, ended.err
    (line,) = [line for line in ended.out.splitlines() if line.startswith("candidates: ")]
    assert line.count(", ") == 2


def test_the_checkpoints_number_format_stays(call, calibration, tmp_path):
    model = load_model(shipped_teacher(), dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "half")
    AutoTokenizer.from_pretrained(shipped_teacher()).save_pretrained(tmp_path / "half")
    out = tmp_path / "out"
    ended = call("prune", tmp_path / "half", "--keep", "0.5", "--calibration", calibration, "--out",
                 out)  # fmt: skip
    assert ended.code == 0, ended.err
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"
    assert AutoModelForCausalLM.from_pretrained(out, dtype="auto").dtype == torch.bfloat16


@pytest.fixture
def refused(complaint, calibration: Path, tmp_path: Path):
    """Ask for a pruning that must be refused, with nothing written; returns the sentence."""

    def refused(*options: str | Path, model: str | Path = "lab", **changes: str | Path) -> str:
        asked = {"keep": "0.5", "calibration": calibration, "out": tmp_path / "out"} | changes
        pairs = [part for name, value in asked.items() for part in (f"--{name}", value)]
        before = sorted(tmp_path.rglob("*"))
        said = complaint("prune", model, *pairs, *options)
        assert sorted(tmp_path.rglob("*")) == before
        return said

    return refused


def test_an_origin_that_is_not_the_models_own(refused, call, calibration, tmp_path):
    first = tmp_path / "first"
    asked = ("--keep", "0.6", "--calibration", calibration)
    assert call("prune", "lab", *asked, "--out", first).code == 0
    (first / "origin.json").write_text('{"layers": [0], "hidden": [0]}')
    assert "says 1 layers of hidden width 1" in refused(model=first)
    (first / "origin.json").write_bytes(b"\xff\xfe\xff")
    assert "origin.json: not the origin of a pruned model" in refused(model=first)


@pytest.mark.parametrize("keep", ["0", "1", "-0.5", "nan"])
def test_keep_out_of_range(refused, keep):
    assert f"--keep {float(keep):g}: it must lie between 0 and 1" in refused(keep=keep)


def test_a_size_out_of_reach(refused):
    said = refused(keep="0.001")
    assert "cannot be reached within 1% by cutting depth, mlp with widths in multiples of 8" in said


def test_what_is_cut_and_how(refused):
    assert "must name at least one of depth, mlp" in refused("--axes", "width")
    assert "must name at least one of depth, mlp" in refused("--axes", ",")
    assert "no experts to cut" in refused("--axes", "experts")
    assert "--layer-criterion loss: it must be one of" in refused("--layer-criterion", "loss")
    assert "--channel-criterion l1: it must be one of" in refused("--channel-criterion", "l1")
    assert "multiple" in refused("--multiple", "0")


def test_a_place_that_is_taken(refused, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "not empty; name a new folder" in refused(out=tmp_path / "full")
    assert "not a folder that you may write to" in refused(out=tmp_path / "full" / "file" / "x")


def test_one_of_out_and_plan_only(refused, complaint, calibration):
    assert "either --out" in refused("--plan-only")
    assert "either --out" in complaint(
        "prune", "lab", "--keep", "0.5", "--calibration", calibration
    )


def test_calibration_files(refused, calibration, tmp_path):
    table = tmp_path / "texts.csv"
    table.write_text("id,text\n1,one\n2,\n")
    blank = tmp_path / "blank.txt"
    blank.write_text(" \n")
    assert "gone.txt: no such file" in refused(calibration="gone.txt")
    assert "name the column with the texts; it has id, text" in refused(calibration=table)
    assert "row 2: `text` is empty" in refused("--text-column", "text", calibration=table)
    assert "did you mean `text`?" in refused("--text-column", "txt", calibration=table)
    assert "a .txt file has no column `text`" in refused("--text-column", "text")
    assert "no texts" in refused(calibration=blank)
    other = refused(calibration=calibration.rename(calibration.with_suffix(".md")))
    assert "`.md` is not one of .csv, .tsv, .jsonl, .parquet, .txt" in other


def test_models_that_are_not_there_or_of_another_family(refused, tmp_path):
    assert "no model config can be loaded from it" in refused(model=tmp_path / "gone")
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2" / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    assert "'gpt2' cannot be pruned" in refused(model=tmp_path / "gpt2")
