"""What `compress` refuses, all of it before anything is computed."""

import json
from pathlib import Path

import pytest

from distillscale.commands.compress import CompressRequest, compress
from distillscale.studies.study_file import Study

ROWS = [f"text number {number},{'cat' if number % 2 else 'dog'}" for number in range(40)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "pets.csv"
    path.write_text("\n".join(["text,label", *ROWS]))
    return path


@pytest.fixture
def refused(complaint, data: Path, tmp_path: Path):
    """Ask for a compression that must be refused; returns the sentence."""

    def refused(*options: str | Path, **changes: str | Path) -> str:
        asked = {"model": "lab", "data": data, "text-column": "text", "label-column": "label"}
        asked |= {"out": tmp_path / "out"} | {k.replace("_", "-"): v for k, v in changes.items()}
        pairs = [part for name, value in asked.items() for part in (f"--{name}", value)]
        before = sorted(tmp_path.rglob("*"))
        said = complaint("compress", *pairs, *options)
        assert sorted(tmp_path.rglob("*")) == before
        return said

    return refused


@pytest.mark.parametrize("keep", ["0", "1", "1.5", "-0.5", "nan", "inf"])
def test_keep_out_of_range(refused, keep: str):
    assert f"--keep {float(keep):g}: it must lie between 0 and 1" in refused("--keep", keep)


def test_keep_that_pruning_cannot_reach(refused):
    said = refused("--keep", "0.001")
    assert "--keep 0.001, stage 1: pruning target" in said
    assert "the smallest size that can is" in said


def test_keep_that_is_no_number(refused):
    assert "keep" in refused("--keep", "half")


def test_an_unknown_method_or_supervision(refused):
    assert "`logit-lable` is not one of logit-label" in refused("--supervision", "lable")
    assert "`full-label` is not one of" in refused("--method", "full")
    assert "`lora-blended` is not one of" in refused("--method", "lora", "--supervision", "blended")


def test_an_output_that_holds_something(refused, tmp_path: Path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "not empty" in refused(out=tmp_path / "full")
    assert "not empty" in refused(out=tmp_path / "full" / "file")
    assert "not a folder that you may write to" in refused(out=tmp_path / "full" / "file" / "x")


def test_files_and_columns_that_are_not_there(refused, data: Path):
    assert "gone.csv: no such file" in refused(data="gone.csv")
    assert "no column `txt`; did you mean `text`?" in refused(text_column="txt")
    assert "no column `class`" in refused(label_column="class")
    assert "dataset.test_source `gone.csv` is no file" in refused("--test-data", "gone.csv")
    assert "`.txt` is not one of" in refused(data=data.rename(data.with_suffix(".txt")))


def test_a_model_that_is_not_there(refused):
    assert "teacher.model `./gone` is no folder" in refused(model="./gone")
    assert "teacher.model `gpt2`" in refused(model="gpt2")


def test_too_few_texts(refused, data: Path):
    data.write_text("\n".join(["text,label", *ROWS[:9]]))
    assert "9 different texts are too few" in refused()
    data.write_text("\n".join(["text,label", *ROWS[:1] * 30]))
    assert "needs two" in refused()


@pytest.mark.parametrize("rate", ["0", "nan", "inf"])
def test_a_learning_rate_that_is_no_rate(refused, rate: str):
    assert "learning" in refused("--learning-rate", rate)


def test_empty_names(refused):
    assert "no column ``" in refused(text_column="")
    assert "model" in refused(model="")


def test_the_study_behind_a_request(data: Path, tmp_path: Path, monkeypatch):
    """A test file leaves more texts to train on; the request's labels make the task."""
    studies: list[Study] = []

    class Seen(Exception):
        pass

    def look(study: Study, tasks: object) -> None:
        studies.append(study)
        raise Seen

    monkeypatch.setattr("distillscale.commands.compress.study_graph", look)
    for test_data in (None, data):
        request = CompressRequest(
            model="lab", data=data, text_column="text", label_column="label", keep=0.5, stages=2,
            supervision="cot", method="logit", steps=3, batch_size=4, learning_rate=0.001,
            correction_steps=0, test_data=test_data, seed=7,
        )  # fmt: skip
        with pytest.raises(Seen):
            compress(request, tmp_path / "out", tmp_path / "store", workers=1)
    split, own = studies
    sizes = [(s.dataset.test, s.dataset.validation, s.train_examples) for s in studies]
    assert sizes[0] == (8, 4, 28)
    assert sizes[1][1:] == (4, 36)
    assert split.grids[0].seeds == (7,)
    assert split.grids[0].configurations == ("logit-cot", "pruned-only")
    assert json.loads(own.model_dump_json())["dataset"]["test_source"] == str(data)
