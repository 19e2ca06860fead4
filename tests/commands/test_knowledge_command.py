"""`knowledge`, `import-questions`, and a study that asks MMLU from files."""

import json
import shlex
from pathlib import Path

import pandas as pd
import pytest

from question_folders import write_mmlu, write_mmlu_pro

STUDY = """
name: asked
dataset: {source: lab, validation: 8, test: 16}
pruning: {calibration_examples: 8, multiple: 4}
distillation: {steps: 2, batch_size: 8, learning_rate: {logit: 0.001, lora: 0.003}}
evaluation:
  held_out_traces: 8
  latency_examples: 2
  benchmarks: [mmlu]
  harness: {questions: {mmlu: QUESTIONS}, shots: {mmlu: 0}, limit: 1}
grids:
  - tasks: [fin-headlines]
    configurations: [logit-label]
    schedules: [{kind: oneshot, prune_ratio: 0.4}]
    dataset_sizes: [16]
"""


@pytest.fixture(scope="module")
def questions(tmp_path_factory) -> Path:
    return write_mmlu(tmp_path_factory.mktemp("mmlu"))


def test_it_prints_the_score_with_its_errors_and_writes_everything(call, questions):
    ended = call(
        "knowledge", "lab", "--questions", questions, "--limit", 1, "--shots", 1,
        "--out", "found/knowledge.json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "mmlu (acc, 1 shots)" in ended.out
    assert "asked 57 of 114 questions" in ended.out
    assert "largest deviation" in ended.out
    found = json.loads(Path("found/knowledge.json").read_text())
    assert found["model"] == "lab"
    assert f"{found['accuracy']:.3f}, standard error {found['standard_error']:.3f}" in ended.out
    # Four standard errors: the lab's teacher knows nothing of the world, or of these questions.
    assert abs(found["accuracy"] - found["chance"]) < 4 * found["standard_error"]


def test_imported_questions_are_asked_alike(call, questions):
    assert call("import-questions", questions, "--out", "task").code == 0
    found = []
    for folder in (questions, "task"):
        options = ("--limit", 1, "--shots", 0, "--out", "found.json")
        assert call("knowledge", "lab", "--questions", folder, *options).code == 0
        found.append(json.loads(Path("found.json").read_text()))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--backend", "tpu"], "--backend `tpu` is unknown; it is one of hf, vllm"),
        (["--questions", "nowhere"], "nowhere: no such folder"),
        (["--out", "."], "it is a folder"),
        (
            ["--benchmark", "mmlu_pro", "--questions", "PRO"],
            "ask with at most 0 (`--shots 0`, in a study `harness.shots`), or add data/validation",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(complaint, tmp_path, options, reason):
    pro = write_mmlu_pro(tmp_path / "pro", solved=False)
    said = complaint(
        "knowledge", "lab", *[pro if option == "PRO" else option for option in options]
    )
    assert reason in said
    assert said.count("\n") == 1


def test_mmlu_pro_is_not_imported_without_its_solved_questions(call, complaint, tmp_path):
    pro = write_mmlu_pro(tmp_path / "pro", solved=False)
    said = complaint("import-questions", pro, "--benchmark", "mmlu_pro", "--out", "task")
    assert "no validation*.parquet" in said
    assert "with --validation FILE" in said
    assert not Path("task").exists()
    advised = shlex.split(said.split("`")[1].replace("MODEL", "lab"))
    assert advised[:2] == ["distillscale", "knowledge"]
    ended = call(*advised[1:], "--limit", 1, "--max-new-tokens", 4)
    assert ended.code == 0, ended.err
    assert "mmlu_pro (exact_match, 0 shots)" in ended.out


def test_solved_questions_of_mmlu_pro_may_lie_elsewhere(call, complaint, tmp_path):
    pro = write_mmlu_pro(tmp_path / "pro")
    solved = (pro / "validation.parquet").rename(tmp_path / "solved.parquet")
    options = ("--benchmark", "mmlu_pro", "--validation", solved, "--out", "task")
    assert call("import-questions", pro, *options).code == 0
    asked = ("--benchmark", "mmlu_pro", "--limit", 1, "--max-new-tokens", 4)
    ended = call("knowledge", "lab", "--questions", "task", *asked)
    assert ended.code == 0, ended.err
    assert "mmlu_pro (exact_match, 5 shots)" in ended.out
    said = complaint("import-questions", pro, "--validation", solved, "--out", "other")
    assert "only mmlu_pro takes such a file" in said
    said = complaint("import-questions", pro, *options[:3], pro / "test.parquet", "--out", "other")
    assert "test.parquet: column `cot_content` is missing" in said
    assert not Path("other").exists()


@pytest.mark.slow
def test_a_study_asks_mmlu_from_files_offline(call, questions, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "study.yaml").write_text(STUDY.replace("QUESTIONS", str(questions)))
    ended = call("study", "run", "study.yaml", "--store", "store", "--output", "out")
    assert ended.code == 0, ended.err
    table = pd.read_parquet("out/results.parquet")
    rows = table[table["metric"] == "mmlu"]
    assert sorted(rows["stage"]) == [0, 1]
    assert set(rows["examples"]) == {57}
    assert rows["chance"].to_list() == pytest.approx([0.25, 0.25])
    assert {len(own) for own in rows["replicates"]} == {200}
    for path in Path("store").glob("**/knowledge.json"):
        [found] = json.loads(path.read_text())
        assert found["positions"]["positions"][0]["letter"] == "A"
    assert "loglikelihood requests" not in ended.err  # no bars of the harness among the study's
