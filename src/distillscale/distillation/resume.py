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

from distillscale.distillation.checkpoint import OPTIMIZER, PROCESSES, SCHEDULE, WEIGHTS
from distillscale.distillation.segments import TrainingRow
from distillscale.distillation.settings import Recipe, TrainingSettings


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
    """Make the folder this run's: checkpoints of another run and incomplete ones are deleted.

    An incomplete one of more steps would have `transformers.Trainer`, which keeps the checkpoint
    of most steps, delete every one that it writes.
    """
    stamp = work_dir / "run.txt"
    own = stamp.is_file() and stamp.read_text(encoding="utf-8") == identity
    for checkpoint in work_dir.glob("checkpoint-*"):
        if not (own and is_complete(checkpoint)):
            shutil.rmtree(checkpoint)
    if own:
        return
    work_dir.mkdir(parents=True, exist_ok=True)
    stamp.write_text(identity, encoding="utf-8")


def latest_complete_checkpoint(work_dir: Path) -> Path | None:
    """The complete checkpoint of most steps in a trainer's folder; None where there is none.

    Any number of processes can go on from it. (Random states are of the processes that wrote it:
    with another number of them, what models draw at random, as dropout, starts from the seed.)

    `transformers.Trainer` itself takes the folder of most steps even if a kill left it half
    written, and then starts its optimizer afresh without a word.
    """
    found = work_dir.glob("checkpoint-*")
    complete = {_step(path): path for path in found if is_complete(path)}
    return complete[max(complete)] if complete else None


def is_complete(checkpoint: Path) -> bool:
    """Whether trainer state, model weights, optimizer, schedule and random states are all whole.

    A file cut short counts as missing. (A flipped bit is not noticed: these files live for hours
    and are not artifacts.)
    """
    return (
        _is_json(checkpoint / "trainer_state.json")
        and _is_json(checkpoint / SCHEDULE)
        and _metadata(checkpoint / WEIGHTS) is not None
        and (optimizer := _metadata(checkpoint / OPTIMIZER)) is not None
        and (processes := optimizer.get(PROCESSES, "")).isdecimal()
        and all(zipfile.is_zipfile(checkpoint / name) for name in _states(int(processes)))
    )


def _states(processes: int) -> list[str]:
    """The files of random states; every process has its own."""
    numbers = [""] if processes == 1 else [f"_{process}" for process in range(processes)]
    return [f"rng_state{number}.pth" for number in numbers]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _metadata(path: Path) -> dict[str, str] | None:
    """What a file of tensors says of itself; None where there is none or it is cut short."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError):
        return None
