"""`lab train-teacher`: make the teacher that the package brings, or another one."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.progress import Progress

from distillscale.commands.output import check_writable
from distillscale.lab.teacher import train_teacher
from distillscale.models.checkpoint import save_checkpoint
from distillscale.models.size import model_size


def train_lab_teacher(out: Path, seed: int) -> None:
    """Train, save, and say what came out.

    Raises:
        InputError: `out` cannot be written.
    """
    check_writable(out, "--out")
    with Progress() as bars:
        bar = bars.add_task("training the lab teacher", total=1.0)
        model, tokenizer, report = train_teacher(
            seed, progress=lambda share: bars.update(bar, completed=share)
        )
    save_checkpoint(model, tokenizer, out)
    (out / "training.json").write_text(
        json.dumps({"command": f"distillscale lab train-teacher --seed {seed}", **asdict(report)})
    )
    size = model_size(model)
    print(f"{out}: {size.params:,} parameters and {size.params_with_embeddings:,} with embeddings;")
    print(f"loss {report.losses[0]:.3f} -> {report.losses[-1]:.4f} nats per supervised token")
