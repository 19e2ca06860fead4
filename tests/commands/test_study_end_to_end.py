"""The whole pipeline on a small study: complete, cached, repeatable, and safe against kills."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from mini_study import STUDY
from transformers import AutoModelForCausalLM, AutoTokenizer

from distillscale.results import read_results
from distillscale.studies.grid import cells
from distillscale.studies.store import Store
from distillscale.studies.study_file import read_study

pytestmark = pytest.mark.slow

LABEL_ONLY = {"ms_per_example_label_only", "ms_per_example_label_only_batch_32"}
TIMINGS = {
    "ms_per_example", "ms_per_example_batch_32", "examples_per_second",
    "prefill_tokens_per_second", "decode_tokens_per_second", "peak_memory_bytes",
}  # fmt: skip
SIZES = {"flops_per_example", "file_bytes"}
IN_DOMAIN = {"macro_f1", "weighted_f1", "accuracy", "gold_nll", "gold_probability", "ece", "aurc"}
KNOWLEDGE = {
    name + part
    for name in ("lab_facts", "lab_joins")
    for part in ("", "_rehearsed", "_unrehearsed")
} | {"general"}
REASONING = {"reasoned_accuracy", "parse_failure_rate"}


def start(study: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "distillscale", "study", "run", str(study)]
    options = ["--store", str(folder / "store"), "--output", str(folder / "out"), "--workers", "2"]
    return subprocess.Popen(
        command + options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(study: Path, folder: Path) -> tuple[pd.DataFrame, str]:
    process = start(study, folder)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return read_results(folder / "out" / "results.parquet"), output


def comparable(table: pd.DataFrame) -> pd.DataFrame:
    """What must be the same in every run: all but timings; values to 4 digits."""
    kept = table[~table["metric"].isin(TIMINGS | LABEL_ONLY)].drop(columns="replicates")
    return kept.round({"value": 4}).reset_index(drop=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("study")
    study = folder / "mini.yaml"
    study.write_text(STUDY + "baselines: {models: [tfidf]}\n")
    table, output = finish(study, folder)
    assert str(folder / "out" / "report.html") in output
    return study, folder, table


def test_every_cell_stage_and_metric_is_there(undisturbed: tuple[Path, Path, pd.DataFrame]):
    study, _, table = undisturbed
    for cell in cells(read_study(study)):
        rows = table[table["cell"] == cell.cell]
        assert set(rows["stage"]) == set(range(cell.stages + 1))
        for stage, own in rows.groupby("stage"):
            expected = IN_DOMAIN | KNOWLEDGE | TIMINGS | SIZES
            expected |= {"kl_answer", "kl_reasoning"}
            expected |= REASONING | LABEL_ONLY if cell.thinking != "none" else set()
            if stage and cell.method != "none":
                expected |= {"train_loss", "gradient_norm_spread"}
            assert set(own["metric"]) == expected
            assert own["metric"].is_unique
    assert not table.duplicated(["cell", "stage", "metric"]).any()


def test_the_teacher_has_no_divergence_from_itself(undisturbed: tuple[Path, Path, pd.DataFrame]):
    _, _, table = undisturbed
    own = table[(table["stage"] == 0) & (table["metric"] == "kl_answer")]
    assert own["value"].abs().max() < 1e-4


def test_measured_ratios_follow_the_schedule(undisturbed: tuple[Path, Path, pd.DataFrame]):
    study, _, table = undisturbed
    for cell in cells(read_study(study)):
        ratios = table[table["cell"] == cell.cell].groupby("stage")["prune_ratio"].first()
        assert list(ratios) == pytest.approx([1.0, *cell.prune_ratios], rel=0.03)


def test_a_second_run_computes_nothing(undisturbed: tuple[Path, Path, pd.DataFrame]):
    study, folder, table = undisturbed
    before = {path: path.stat().st_mtime_ns for path in (folder / "store").rglob("*")}
    again, _ = finish(study, folder)
    after = {path: path.stat().st_mtime_ns for path in (folder / "store").rglob("*")}
    pd.testing.assert_frame_equal(again, table)
    assert {p for p in after if p.is_file()} == {p for p in before if p.is_file()}
    assert all(after[path] == before[path] for path in before if path.is_file())


def test_three_kills_change_nothing(undisturbed: tuple[Path, Path, pd.DataFrame], tmp_path: Path):
    study, _, table = undisturbed
    rng = random.Random(0)
    for _ in range(3):
        process = start(study, tmp_path)
        time.sleep(rng.uniform(6, 14))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    again, _ = finish(study, tmp_path)
    pd.testing.assert_frame_equal(comparable(again), comparable(table))
    compared = [
        comparable(pd.read_parquet(folder / "out" / "baselines.parquet"))
        for folder in (study.parent, tmp_path)
    ]
    pd.testing.assert_frame_equal(*compared)
    assert set(compared[0]["task"]) == {"fin-headlines", "support-tickets"}


def test_students_load_and_generate_without_our_package(
    undisturbed: tuple[Path, Path, pd.DataFrame],
):
    _, folder, _ = undisturbed
    for kind in ("prune", "distill"):
        for student in (folder / "store" / kind).iterdir():
            model = AutoModelForCausalLM.from_pretrained(student)
            tokenizer = AutoTokenizer.from_pretrained(student)
            prompt = tokenizer("Headline: a firm cuts jobs\nAnswer:", return_tensors="pt")
            ids, mask = prompt["input_ids"], prompt["attention_mask"]
            written = model.generate(
                ids, attention_mask=mask, max_new_tokens=4, do_sample=False, eos_token_id=None
            )
            assert written.shape[1] == ids.shape[1] + 4
            config = json.loads((student / "config.json").read_text())
            assert config["num_hidden_layers"] == len(model.model.layers)
            assert config["intermediate_size"] == model.model.layers[0].mlp.up_proj.out_features


def test_rehearsal_tells_apart_the_same_number_of_questions(
    undisturbed: tuple[Path, Path, pd.DataFrame],
):
    _, _, table = undisturbed
    counts = table[table["stage"] == 0].groupby("metric")["examples"].first()
    for benchmark in ("lab_facts", "lab_joins"):
        assert counts[f"{benchmark}_rehearsed"] == counts[f"{benchmark}_unrehearsed"]


def test_the_report_states_agreement_with_gold_and_unparsed_traces(
    undisturbed: tuple[Path, Path, pd.DataFrame],
):
    _, folder, _ = undisturbed
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    store = Store(folder / "store")
    reports = {
        known.step.name: json.loads((store.folder(known.step) / "report.json").read_text())
        for known in store.manifests("traces")
    }
    for thinking in ("none", "brief"):
        report = reports[f"traces fin-headlines {thinking} train"]
        assert f"{report['agreed']} of {report['parsed']} parsed traces agree with gold" in page
        assert f"{report['unparsed']} unparsed" in page
