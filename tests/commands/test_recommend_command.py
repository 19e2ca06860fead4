"""`recommend` with its study cell and its JSON, and `laws check`."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from mini_study import STUDY
from ruamel.yaml import YAML
from small_table import results

from distillscale.results import write_results
from distillscale.studies.grid import cells
from distillscale.studies.study_file import read_study

DEMANDS = ("--min", "macro_f1=0.8", "--min", "lab_facts=0.5")


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "results.parquet"
    write_results(results(), path)
    return path


def study_from(printed: str, tmp_path: Path) -> Path:
    """The YAML at the end of the command's text, in the place of a study's grids if it is that."""
    text = printed.split("To run it (")[1].split(":\n\n", 1)[1]
    path = tmp_path / "next.yaml"
    path.write_text(text if "name:" in text else STUDY.split("grids:")[0] + text)
    return path


@pytest.mark.parametrize("demands", [DEMANDS, ("--min", "macro_f1=0.85"), ("--max", "params=2e5")])
def test_the_grids_are_a_study_of_the_recommended_cell(call, stored, tmp_path, demands):
    ended = call("recommend", "--results", stored, *demands)
    assert ended.code == 0, ended.err
    (cell,) = cells(read_study(study_from(ended.out, tmp_path)))
    choice = json.loads(call("recommend", "--results", stored, *demands, "--json").out)["choice"]
    assert cell.task == choice["task"]
    assert (cell.supervision, cell.method) == (choice["supervision"], choice["method"])
    assert cell.prune_ratios[-1] == pytest.approx(choice["prune_ratio"], abs=1e-4)
    assert len(cell.prune_ratios) == len(choice["ratios"])
    assert cell.dataset_size == choice["dataset_size"]
    assert cell.seed == 1  # the table has seed 0


def mini_results(tmp_path: Path) -> tuple[Path, Path]:
    """A study file, and a table that its cells could have given."""
    study_file = tmp_path / "mini.yaml"
    study_file.write_text(STUDY)
    rows = []
    for cell in cells(read_study(study_file)):
        for stage, kept in enumerate((1.0, *cell.prune_ratios)):
            described = {k: getattr(cell, k) for k in results().columns[:10]}
            sizes = {"params": round(1e6 * kept), "params_with_embeddings": round(1.1e6 * kept)}
            place = {"stage": stage, "prune_ratio": kept * 1.004, "largest_cut": 0.0}
            value = {"metric": "macro_f1", "value": 0.5 + 0.4 * kept, "examples": 24}
            rows.append(described | sizes | place | value | {"chance": None, "replicates": []})
    table = pd.DataFrame(rows).astype({"chance": float})
    path = tmp_path / "mini.parquet"
    write_results(table, path)
    return study_file, path


@pytest.mark.parametrize(
    ("minimum", "kept"),
    [("macro_f1=0.55", (0.5477, 0.3)), ("macro_f1=0.7", (0.5477,))],
    ids=["the end of a chain", "a stage before it"],
)
def test_a_whole_study_file_keeps_the_recipe(call, tmp_path, minimum: str, kept):
    study_file, path = mini_results(tmp_path)
    with study_file.open("a") as file:
        file.write("baselines: {models: [tfidf]}\n")
    ended = call("recommend", "--results", path, "--task", "fin-headlines", "--study", study_file,
                 "--min", minimum)  # fmt: skip
    assert ended.code == 0, ended.err
    found, before = read_study(study_from(ended.out, tmp_path)), read_study(study_file)
    assert found.distillation == before.distillation
    assert found.pruning == before.pruning
    assert found.evaluation == before.evaluation
    assert (len(before.baselines.models), len(found.baselines.models)) == (1, 0)
    assert found.name == "mini-next"
    assert found.train_examples == before.train_examples == found.dataset.train
    (cell,) = cells(found)
    assert cell.prune_ratios == pytest.approx(kept, abs=1e-4)
    if len(kept) == 2:  # the same schedule as before, so that the run repeats the measured setting
        assert (cell.schedule, cell.stages) == ("uniform", 2)


def test_a_study_file_of_other_results_is_refused(complaint, stored: Path, study_file: Path):
    said = complaint("recommend", "--results", stored, *DEMANDS, "--study", study_file)
    assert "study mini has no cell `fin-headlines-" in said
    missing = complaint("recommend", "--results", stored, *DEMANDS, "--study", "gone.yaml")
    assert "gone.yaml: there is no such file" in missing


def test_the_teacher_needs_no_run(call, stored: Path):
    ended = call("recommend", "--results", stored, "--min", "params=1000000")
    assert ended.code == 0
    assert "stage 0" in ended.out.splitlines()[0]
    assert "To run it" not in ended.out


def test_json_is_the_whole_output(call, stored: Path):
    ended = call("recommend", "--results", stored, *DEMANDS, "--json")
    data = json.loads(ended.out)
    assert data["choice"]["metrics"]["lab_facts"] >= 0.5
    assert data["new_run"]["macro_f1"]["low"] <= data["new_run"]["macro_f1"]["high"]
    assert data["study"]["grids"][0]["tasks"] == ["fin-headlines"]
    assert 0 <= data["probability_of_all"] <= 1
    nothing = json.loads(
        call("recommend", "--results", stored, "--min", "macro_f1=1", "--json").out
    )
    assert (nothing["choice"], nothing["study"]) == (None, None)


def test_options_reach_the_advice(call, complaint, stored: Path):
    best = json.loads(
        call("recommend", "--results", stored, "--objective", "macro_f1", "--json").out
    )
    assert best["choice"]["stage"] == 0
    tiny = ("recommend", "--results", stored, "--max", "params=110000", "--min", "macro_f1=0.5")
    assert json.loads(call(*tiny, "--json").out)["choice"] is None
    beyond = json.loads(call(*tiny, "--extrapolate", "--json").out)["choice"]
    assert beyond["factor_beyond_range"] == pytest.approx(1.6, abs=0.1)
    said = complaint("recommend", "--results", stored, "--confidence", "2")
    assert said == "--confidence 2: give a probability between 0 and 1.\n"


def test_check_prints_coverage_with_its_error(call, complaint, stored: Path, tmp_path: Path):
    ended = call("laws", "check", stored)
    assert ended.code == 0, ended.err
    assert "90% intervals for a new run" in ended.out.splitlines()[0]
    assert any(line.split()[:2] == ["stage", "all"] for line in ended.out.splitlines())
    assert "+-" in ended.out
    assert "--level 1: give a probability" in complaint("laws", "check", stored, "--level", "1")
    one = results()[lambda table: table["stage"] == 0]
    write_results(one, tmp_path / "teacher.parquet")
    said = complaint("laws", "check", tmp_path / "teacher.parquet")
    assert "no run can be predicted from the others" in said


def test_advice_needs_no_torch():
    code = "import sys, distillscale.commands.recommend; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_yaml_is_plain(call, stored: Path, tmp_path: Path):
    printed = call("recommend", "--results", stored, *DEMANDS).out
    path = study_from(printed, tmp_path)
    content = YAML(typ="safe").load(path.read_text())
    assert len(content["grids"]) == 1


def test_money_may_be_demanded_at_a_stated_price(call, complaint, tmp_path):
    table = results()
    timed = table[table["metric"] == "macro_f1"].copy()
    timed["metric"], timed["value"] = "ms_per_example_batch_32", timed["params"] / 1e5
    path = tmp_path / "timed.parquet"
    write_results(pd.concat([table, timed], ignore_index=True), path)
    # At 3.6 an hour a millisecond a text is 1.0 a million texts: at most 400,000 parameters.
    asked = ("--max", "cost_per_million=4", "--objective", "macro_f1", "--json")
    ended = call("recommend", "--results", path, *asked, "--hourly-price", "3.6")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["choice"]["params"] <= 4e5 * 1.01
    assert "no such metric or size" in complaint("recommend", "--results", path, *asked)
