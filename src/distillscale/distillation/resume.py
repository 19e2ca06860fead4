"""Which checkpoints in a folder a killed run can go on from."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from distillscale.distillation.segments import TrainingRow
from distillscale.distillation.settings import Recipe, TrainingSettings

_WEIGHTS = ("model.safetensors", "adapter_model.safetensors", "model.safetensors.index.json")


def run_identity(
    student: PreTrainedModel,
    rows: Sequence[TrainingRow],
    settings: TrainingSettings,
    recipe: Recipe,
) -> str:
    """A digest of what a run starts from: settings, recipe, rows, and the student's weights.

    Weights enter by name, shape and sum. What a teacher says about the rows does not enter.
    """
    objective = recipe.objective.__qualname__
    chosen = (recipe.weights, recipe.divergence, recipe.hidden_weight, recipe.adapters)
    weights = ((name, p.shape, p.sum().item()) for name, p in student.named_parameters())
    tokens = ((row.input_ids, row.segments.tolist()) for row in rows)
    digest = hashlib.sha256()
    # Part by part: all rows of a large data set written out at once would fill the memory.
    for part in chain((settings, objective, chosen), tokens, weights):
        digest.update(f"{part!r}\n".encode())
    return digest.hexdigest()


def claim(work_dir: Path, identity: str) -> None:
    """Make the folder this run's: checkpoints that another run left there are deleted."""
    stamp = work_dir / "run.txt"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == identity:
        return
    for checkpoint in work_dir.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    work_dir.mkdir(parents=True, exist_ok=True)
    stamp.write_text(identity, encoding="utf-8")


def latest_complete_checkpoint(work_dir: Path, processes: int = 1) -> Path | None:
    """The complete checkpoint of most steps in a trainer's folder; None where there is none.

    Only one that as many processes wrote counts.

    `transformers.Trainer` itself takes the folder of most steps even if a kill left it half
    written, and then starts its optimizer afresh without a word.
    """
    found = work_dir.glob("checkpoint-*")
    complete = {_step(path): path for path in found if is_complete(path, processes)}
    return complete[max(complete)] if complete else None


def is_complete(checkpoint: Path, processes: int = 1) -> bool:
    """Whether trainer state, model weights, optimizer, schedule and random states are all whole.

    A file cut short counts as missing. (A flipped bit is not noticed: these files live for hours
    and are not artifacts.)
    """
    return (
        _is_json(checkpoint / "trainer_state.json")
        and any(_has_weights(checkpoint / name) for name in _WEIGHTS)
        and all(zipfile.is_zipfile(checkpoint / name) for name in _states(processes))
    )


def _states(processes: int) -> list[str]:
    """The files of optimizer, schedule and random states; every process has its own of the last."""
    numbers = [""] if processes == 1 else [f"_{process}" for process in range(processes)]
    return ["optimizer.pt", "scheduler.pt", *(f"rng_state{number}.pth" for number in numbers)]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _has_weights(path: Path) -> bool:
    if path.suffix == ".json":
        return _is_json(path) and all(
            _has_weights(path.with_name(shard))
            for shard in set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
        )
    try:
        with safe_open(path, framework="pt"):
            return True
    except (OSError, SafetensorError):
        return False
