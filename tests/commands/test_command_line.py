"""Bad input is one sentence and exit code 2; cheap commands work without a study."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from distillscale.errors import TrainingDiverged


def test_the_module_runs_as_a_program():
    command = [sys.executable, "-m", "distillscale", "schema"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    schema = json.loads(done.stdout)
    assert schema["title"] == "Study"
    assert "grids" in schema["required"]


def test_a_deliberate_error_has_its_exit_code_and_no_traceback():
    command = [sys.executable, "-m", "distillscale", "study", "run", "gone.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "gone.yaml: there is no such file.\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["study", "run"],
        ["study", "walk"],
        ["study", "run", "x.yaml", "--workers", "0"],
        ["study", "run", "x.yaml", "--workers", "two"],
        ["recommend"],
        ["classify", "folder"],
        ["lab", "train-teacher", "--out", "x", "--seed", "-1"],
        ["lab", "train-teacher", "--out", "x", "--seed", str(2**32)],
    ],
)
def test_wrong_usage_exits_with_2(complaint, arguments: list[str]):
    assert "Usage" in complaint(*arguments)


def test_unknown_key_names_line_and_nearest_word(complaint, study_file: Path):
    study_file.write_text(study_file.read_text().replace("batch_size: 8", "batch_sise: 8"))
    said = complaint("study", "plan", study_file)
    assert "mini.yaml:7" in said
    assert "batch_size" in said


def test_missing_files_are_named(complaint):
    for command in (["study", "run"], ["study", "plan"], ["study", "results"]):
        assert "gone.yaml" in complaint(*command, "gone.yaml")
    assert "gone.parquet" in complaint("laws", "fit", "gone.parquet")
    assert "gone.parquet" in complaint("recommend", "--results", "gone.parquet")
    assert "gone: no distillscale.json" in complaint("classify", "gone", "text")


def test_folders_and_nothing_are_no_files(complaint):
    for name in ("", ".", "/"):
        for command in (["study", "plan"], ["laws", "fit"], ["recommend", "--results"]):
            assert complaint(*command, name)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[support-tickets]", "[gone.yaml]", "task `gone.yaml`"),
        ("grids:", "teacher: {model: ./gone}\ngrids:", "teacher.model `./gone`"),
        (
            "{source: lab,",
            "{source: gone.csv, text_column: a, label_column: b,",
            "dataset.source `gone.csv` is no file",
        ),
    ],
)
def test_what_shows_only_in_the_graph_is_one_sentence_too(
    complaint, study_file: Path, old: str, new: str, said: str
):
    study_file.write_text(study_file.read_text().replace(old, new))
    for command in ("plan", "run", "results"):
        assert said in complaint("study", command, study_file)
    assert sorted(path.name for path in study_file.parent.iterdir()) == ["mini.yaml"]


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_done(
    complaint, study_file: Path
):
    in_the_way = study_file.with_name("file")
    in_the_way.touch()
    for command in (["study", "run"], ["study", "results"]):
        assert "--output" in complaint(*command, study_file, "--output", in_the_way / "below")
        assert "--output" in complaint(*command, study_file, "--output", in_the_way)
        assert "store" in complaint(*command, study_file, "--store", in_the_way)
    assert "--out" in complaint("lab", "train-teacher", "--out", in_the_way)


def test_a_study_whose_data_is_wrong_leaves_no_results(call, study_file: Path):
    """The data is read by the first step; what it finds wrong comes out as one sentence."""
    data = study_file.with_name("data.csv")
    data.write_text("text,label\na headline,layoffs\n")
    study_file.write_text(
        study_file.read_text().replace(
            "{source: lab,", "{source: data.csv, text_column: txt, label_column: label,"
        )
    )
    ended = call("study", "run", study_file)
    assert ended.code == 2
    assert f"{data}: no column `txt`; did you mean `text`?" in ended.err.splitlines()[-1]
    assert ended.out == ""
    assert not (study_file.parent / "outputs" / "mini").exists()


def test_an_error_that_is_not_the_users_exits_with_1(call, study_file: Path, monkeypatch):
    def diverge(*_: object, **__: object) -> None:
        raise TrainingDiverged("the loss is nan at step 3.")

    monkeypatch.setattr("distillscale.commands.study.run_study", diverge)
    ended = call("study", "run", study_file)
    assert (ended.code, ended.err) == (1, "error: the loss is nan at step 3.\n")


def test_ctrl_c_says_that_what_is_finished_is_kept(call, study_file: Path, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("distillscale.commands.study.run_study", interrupt)
    ended = call("study", "run", study_file)
    assert (ended.code, ended.err) == (130, "stopped; what was finished is kept.\n")


def test_plan_counts_steps(call, study_file: Path):
    ended = call("study", "plan", study_file)
    assert ended.code == 0
    assert "0 cached" in ended.out


def test_plan_why_names_the_step(call, study_file: Path):
    ended = call("study", "plan", study_file, "--why", "dataset fin-headlines")
    assert "no artifact of kind `dataset`" in ended.out


def test_plan_why_of_an_unknown_step_names_the_nearest(complaint, study_file: Path):
    said = complaint("study", "plan", study_file, "--why", "dataset fin-headline")
    assert "dataset fin-headlines" in said


def test_results_of_a_study_that_was_never_run_replace_nothing(complaint, study_file: Path):
    table = study_file.parent / "outputs" / "mini" / "results.parquet"
    table.parent.mkdir(parents=True)
    table.write_text("an earlier table")
    assert "holds no results of study mini" in complaint("study", "results", study_file)
    assert table.read_text() == "an earlier table"


@pytest.mark.parametrize("study", ["lab-quick", "lab", "qwen3-32b-finheadlinemix"])
def test_shipped_studies_plan(call, study: str):
    path = Path(__file__).parents[2] / "studies" / f"{study}.yaml"
    ended = call("study", "plan", path)
    assert ended.code == 0, ended.err
    assert study in ended.out
