"""Two processes on CPUs (gloo) train as one does, with replicas (DDP) and with shards (FSDP2)."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_model
from tiny_distillation import make_model, make_settings, make_student, make_traces
from transformers import AutoModelForCausalLM

from distillscale.distillation.settings import DistillationSettings
from distillscale.distillation.trainer import distill
from distillscale.tasks.records import write_records
from distillscale.teachers.online import OnlineTeacher

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("training_process.py")
SETTINGS = {
    "weights": make_settings(
        supervision="blended", batch_size=5, micro_batch_size=2, steps=8, weight_decay=0.1
    ),
    "adapters": make_settings(method="lora", steps=4, learning_rate=1e-2),
}
PLANS = {
    f"{name}-{'shards' if shard else 'replicas'}": {"settings": asdict(settings), "shard": shard}
    for name, settings in SETTINGS.items()
    for shard in (False, True)
}

KILLED = {
    name: {
        "settings": asdict(settings) | {"checkpoint_steps": settings.steps // 4},
        "shard": True,
        "killed_at": 0.75,
    }
    for name, settings in SETTINGS.items()
}
PLANS |= {f"{name}-resumed": plan for name, plan in KILLED.items()}
PLANS["weights-left"] = KILLED["weights"] | {"only_killed": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All plans, run by two processes."""
    folder = tmp_path_factory.mktemp("processes")
    make_student().save_pretrained(folder / "student")
    make_model(0).save_pretrained(folder / "teacher")
    write_records(make_traces(), folder / "traces.parquet")
    (folder / "plans.json").write_text(json.dumps(PLANS))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, str(SCRIPT), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_one_process_goes_on_from_the_shards_of_two(folder: Path):
    traces, settings, told = make_traces(), SETTINGS["weights"], []
    resumed, alone = (
        distill(
            AutoModelForCausalLM.from_pretrained(folder / "student"),
            traces,
            replace(settings, checkpoint_steps=2),
            teacher_logits=OnlineTeacher(make_model(0), traces, 0),
            pad_id=0,
            work_dir=folder / "work" / name,
            progress=told.append,
        )
        for name in ("weights-left", "alone")
    )
    assert told[0] == pytest.approx(7 / 8)  # went on after step 6
    assert resumed.log.losses == pytest.approx(alone.log.losses, rel=1e-5)
    for ours, theirs in zip(resumed.model.parameters(), alone.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("plan", [name for name in PLANS if not PLANS[name].get("only_killed")])
def test_two_processes_train_as_one(folder: Path, tmp_path: Path, plan: str):
    settings: DistillationSettings = SETTINGS[plan.partition("-")[0]]
    traces = make_traces()
    alone = distill(
        make_student(),
        traces,
        settings,
        teacher_logits=OnlineTeacher(make_model(0), traces, 0),
        pad_id=0,
        work_dir=tmp_path,
    )
    first, second = (json.loads((folder / f"{plan}-{n}.json").read_text()) for n in range(2))
    assert first == second
    assert first["sharded"] == PLANS[plan]["shard"]
    # A killed one went on from its latest checkpoint, at three quarters.
    began = 0.75 if PLANS[plan].get("killed_at") else 0
    assert first["began"] == pytest.approx(began + 1 / settings.steps)
    assert first["losses"] == pytest.approx(alone.log.losses, rel=1e-5)
    assert first["gradient_norms"] == pytest.approx(alone.log.gradient_norms, rel=1e-4)
    answers = alone.log.divergence_answer
    assert first["divergence_answer"] == (
        list(answers) if None in answers else pytest.approx(answers, rel=1e-5)
    )
    for process in range(2):
        model = make_student()
        load_model(model, folder / f"{plan}-{process}.safetensors")
        for ours, theirs in zip(model.parameters(), alone.model.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)
