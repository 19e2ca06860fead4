import copy
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from distillscale.distillation.resume import (
    is_complete,
    latest_complete_checkpoint,
    run_identity,
)
from distillscale.distillation.segments import training_row
from distillscale.distillation.trainer import Distilled, distill

FILES = ["trainer_state.json", "optimizer.safetensors", "schedule.json", "rng_state.pth"]


class KilledError(Exception):
    pass


class Runs:
    """Runs of one distillation in one folder, which can be killed at a step."""

    def __init__(self, student, traces, online, settings, work_dir, tokenizer):
        self.student, self.traces, self.settings = student, traces, settings
        self.online, self.work_dir, self.tokenizer = online, work_dir, tokenizer
        self.told: list[float] = []

    def go(self, *, kill_after: float = 2.0, work_dir: Path | None = None, **changes) -> Distilled:
        def progress(share: float) -> None:
            self.told.append(share)
            if share > kill_after:
                raise KilledError

        self.told.clear()
        return distill(
            copy.deepcopy(self.student),
            self.traces,
            self.settings(steps=10, **{"checkpoint_steps": 3, **changes}),
            teacher_logits=self.online(self.traces),
            pad_id=0,
            work_dir=work_dir or self.work_dir,
            tokenizer=self.tokenizer,
            progress=progress,
        )

    def kill(self, **changes) -> None:
        with pytest.raises(KilledError):
            self.go(kill_after=0.75, **changes)


@pytest.fixture
def runs(student, traces, online, settings, tmp_path, tokenizer) -> Runs:
    return Runs(student, traces, online, settings, tmp_path / "run", tokenizer)


def assert_same(first: Distilled, second: Distilled) -> None:
    for ours, theirs in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert first.log == second.log


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "logit"},
        {"method": "lora"},
        {"micro_batch_size": 2},
        {"on_policy": 0.5, "micro_batch_size": 3},
        {"gradient_checkpointing": True},
    ],
)
def test_a_killed_run_ends_as_an_undisturbed_one(runs, changes, tmp_path):
    undisturbed = runs.go(work_dir=tmp_path / "other", **changes)
    runs.kill(**changes)
    resumed = runs.go(**changes)
    assert runs.told[0] == pytest.approx(0.7)  # went on after step 6
    assert_same(resumed, undisturbed)


def test_a_finished_run_is_not_trained_again(runs):
    finished = runs.go()
    again = runs.go()
    assert runs.told == []
    assert_same(again, finished)


def test_an_incomplete_checkpoint_is_ignored(runs, tmp_path):
    """Trainer would go on from this one, with a fresh optimizer."""
    undisturbed = runs.go(work_dir=tmp_path / "other")
    runs.kill()
    (runs.work_dir / "checkpoint-6" / "optimizer.safetensors").unlink()
    started_again = runs.go()
    assert runs.told[0] == pytest.approx(0.1)
    assert_same(started_again, undisturbed)


def test_an_older_complete_checkpoint_is_preferred_to_a_newer_incomplete_one(runs):
    runs.kill()
    shutil.copytree(runs.work_dir / "checkpoint-6", runs.work_dir / "checkpoint-9")
    (runs.work_dir / "checkpoint-9" / "trainer_state.json").unlink()
    assert latest_complete_checkpoint(runs.work_dir) == runs.work_dir / "checkpoint-6"
    runs.go()
    assert runs.told[0] == pytest.approx(0.7)


def test_an_incomplete_checkpoint_of_more_steps_does_not_cost_the_new_ones(runs):
    """Trainer keeps the checkpoint of most steps and deletes all others, its newest too."""
    runs.kill()
    stale = (runs.work_dir / "checkpoint-6").rename(runs.work_dir / "checkpoint-1000")
    (stale / "optimizer.safetensors").unlink()
    runs.kill()
    assert runs.told[0] == pytest.approx(0.1)
    assert latest_complete_checkpoint(runs.work_dir) == runs.work_dir / "checkpoint-6"
    assert not stale.exists()


def test_a_file_missing_or_cut_short_makes_a_checkpoint_incomplete(runs):
    runs.kill()
    checkpoint = runs.work_dir / "checkpoint-6"
    for name in [*FILES, "model.safetensors"]:
        whole = (checkpoint / name).read_bytes()
        assert is_complete(checkpoint)
        (checkpoint / name).write_bytes(whole[: len(whole) // 2])
        assert not is_complete(checkpoint), name
        (checkpoint / name).unlink()
        assert not is_complete(checkpoint), name
        (checkpoint / name).write_bytes(whole)


def test_the_checkpoint_of_most_steps_counts_by_number(runs):
    runs.kill()
    shutil.copytree(runs.work_dir / "checkpoint-6", runs.work_dir / "checkpoint-12")
    assert latest_complete_checkpoint(runs.work_dir) == runs.work_dir / "checkpoint-12"


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"temperature": 2.0}, {"method": "lora"}, {"divergence": "reverse_kl"}]
)
def test_checkpoints_of_other_settings_are_not_resumed(runs, change):
    runs.kill()
    runs.go(**change)
    assert runs.told[0] == pytest.approx(0.1)


def test_checkpoints_of_other_starting_weights_or_traces_are_not_resumed(runs):
    runs.kill()
    with torch.no_grad():
        runs.student.model.norm.weight.mul_(1.1)
    runs.go()
    assert runs.told[0] == pytest.approx(0.1)
    runs.traces = runs.traces[:-1]
    runs.go()
    assert runs.told[0] == pytest.approx(0.1)


IDENTITY = """
from tiny_distillation import make_settings, make_student, make_traces
from distillscale.distillation.resume import run_identity
from distillscale.distillation.segments import training_row
chosen = make_settings()
rows = [training_row(trace) for trace in make_traces()]
print(run_identity(make_student(), rows, chosen, chosen.recipe))
"""


@pytest.mark.slow
def test_the_same_inputs_have_one_identity_in_every_process(student, traces, settings):
    there = subprocess.run(
        [sys.executable, "-c", IDENTITY], cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    rows = [training_row(trace) for trace in traces]
    assert run_identity(student, rows, settings(), settings().recipe) == there


def test_every_row_and_its_place_are_part_of_the_identity(student, traces, settings):
    rows = [training_row(trace) for trace in traces]
    moved = training_row(replace(traces[0], answer_start=traces[0].answer_start - 1))
    variants = [rows, rows[:-1], rows[::-1], [moved, *rows[1:]]]
    found = {run_identity(student, chosen, settings(), settings().recipe) for chosen in variants}
    assert len(found) == len(variants)


def test_without_checkpoint_steps_nothing_is_written_or_resumed(runs):
    runs.kill()
    runs.go(checkpoint_steps=0)
    assert runs.told[0] == pytest.approx(0.1)
    fresh = runs.work_dir.with_name("fresh")
    runs.go(checkpoint_steps=0, work_dir=fresh)
    assert list(fresh.iterdir()) == []


def test_a_checkpoint_needs_the_random_states_of_all_processes_that_wrote_it(runs):
    runs.kill()
    checkpoint = runs.work_dir / "checkpoint-6"
    file = checkpoint / "optimizer.safetensors"
    save_file(load_file(file), file, {"processes": "2"})
    states = checkpoint / "rng_state.pth"
    shutil.copy(states, states.with_name("rng_state_0.pth"))
    assert not is_complete(checkpoint)
    shutil.copy(states, states.with_name("rng_state_1.pth"))
    assert is_complete(checkpoint)
    for metadata in ({"format": "pt"}, {"processes": "two"}):
        save_file(load_file(file), file, metadata)
        assert not is_complete(checkpoint)
