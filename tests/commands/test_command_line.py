"""Bad input is one sentence and exit code 2; cheap commands work without a study."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def call(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "distillscale", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def complaint(*arguments: str, cwd: Path) -> str:
    done = call(*arguments, cwd=cwd)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_schema_is_json_schema():
    schema = json.loads(call("schema").stdout)
    assert schema["title"] == "Study"
    assert "grids" in schema["required"]


def test_unknown_key_names_line_and_nearest_word(study_file: Path, tmp_path: Path):
    study_file.write_text(study_file.read_text().replace("batch_size: 8", "batch_sise: 8"))
    said = complaint("study", "plan", str(study_file), cwd=tmp_path)
    assert "mini.yaml:7" in said
    assert "batch_size" in said


def test_missing_files_are_named(tmp_path: Path):
    assert "gone.yaml" in complaint("study", "run", "gone.yaml", cwd=tmp_path)
    assert "gone.parquet" in complaint("laws", "fit", "gone.parquet", cwd=tmp_path)
    assert "gone.parquet" in complaint("recommend", "--results", "gone.parquet", cwd=tmp_path)


def test_plan_counts_steps(study_file: Path, tmp_path: Path):
    done = call("study", "plan", str(study_file), cwd=tmp_path)
    assert done.returncode == 0
    assert "0 cached" in done.stdout


def test_plan_why_names_the_step(study_file: Path, tmp_path: Path):
    done = call("study", "plan", str(study_file), "--why", "dataset fin-headlines", cwd=tmp_path)
    assert "no artifact of kind `dataset`" in done.stdout


@pytest.mark.parametrize("study", ["lab-quick", "lab", "qwen3-32b-finheadlinemix"])
def test_shipped_studies_plan(study: str, tmp_path: Path):
    path = Path(__file__).parents[2] / "studies" / f"{study}.yaml"
    done = call("study", "plan", str(path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert study in done.stdout
