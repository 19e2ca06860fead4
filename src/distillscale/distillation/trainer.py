"""The one trainer: any objective, all weights or adapters.

Built on `transformers.Trainer` for its optimizer, schedule, clipping and checkpoints. Logits are
computed at supervised positions only; one optimizer step reads one batch.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments
from transformers.utils import logging

from distillscale.distillation.adapters import add_adapters, merge_adapters
from distillscale.distillation.log import DistillationLog, log_of_history
from distillscale.distillation.losses import Loss, Predictions
from distillscale.distillation.order import batch_order
from distillscale.distillation.resume import claim, latest_complete_checkpoint, run_identity
from distillscale.distillation.segments import Batch, TrainingRow, collate, training_row
from distillscale.distillation.settings import DistillationSettings, Recipe, TrainingSettings
from distillscale.errors import InputError, TrainingDiverged
from distillscale.models.forward import hidden_states, project
from distillscale.models.teacher_logits import TeacherLogits
from distillscale.tasks.trace import Trace


@dataclass(frozen=True)
class Distilled:
    """A trained model, an ordinary one whatever the method, and the record of its training."""

    model: PreTrainedModel
    log: DistillationLog


def distill(
    student: PreTrainedModel,
    traces: Sequence[Trace],
    settings: DistillationSettings,
    *,
    teacher_logits: TeacherLogits | None,
    pad_id: int,
    work_dir: Path,
    progress: Callable[[float], None] = lambda _: None,
) -> Distilled:
    """Train the student, in place, on a teacher's traces.

    Args:
        student: trains on the device that it is on; comes back in evaluation mode.
        traces: parsed traces; supervision `label` reads the answers only, so give it traces made
            without thinking.
        settings: see there.
        teacher_logits: the teacher's logits for these traces; needed by method `logit`.
        pad_id: the token to pad with.
        work_dir: the folder for the checkpoints of this run. With `checkpoint_steps`, a run that
            was killed goes on from its latest complete checkpoint here; those of another run
            (other settings, traces or starting weights) are deleted.
        progress: told the share of steps that are done, from 0 to 1.

    Raises:
        InputError: there are no traces, or student and teacher differ in vocabulary.
        TrainingDiverged: the loss or the gradient is not finite; the student is spoilt then.
    """
    if settings.method == "logit" and teacher_logits is None:
        raise ValueError("Method `logit` needs the teacher's logits.")
    return train(
        student,
        traces,
        settings,
        settings.recipe,
        teacher_logits=teacher_logits if settings.method == "logit" else None,
        pad_id=pad_id,
        work_dir=work_dir,
        progress=progress,
    )


def train(
    student: PreTrainedModel,
    traces: Sequence[Trace],
    settings: TrainingSettings,
    recipe: Recipe,
    *,
    teacher_logits: TeacherLogits | None,
    pad_id: int,
    work_dir: Path,
    progress: Callable[[float], None] = lambda _: None,
) -> Distilled:
    """Train by any recipe; arguments and errors as in `distill`.

    The global random generators are seeded from the settings.
    """
    if not traces:
        raise InputError(
            "There are no traces to train on: none was parsed, or the filter left none."
        )
    rows = [training_row(trace) for trace in traces]
    checkpoint = _checkpoint(student, rows, settings, recipe, work_dir)
    adapted = add_adapters(student, recipe.adapters, settings.seed) if recipe.adapters else None
    with _quiet():
        trainer = SegmentTrainer(
            adapted or student,
            rows,
            _arguments(settings, student, work_dir),
            student=student,
            recipe=recipe,
            bf16=settings.bf16,
            teacher_logits=teacher_logits,
            pad_id=pad_id,
            progress=progress,
        )
        trainer.train(resume_from_checkpoint=checkpoint)
    log = log_of_history([record for record in trainer.state.log_history if "loss" in record])
    model = merge_adapters(adapted) if adapted else student
    return Distilled(model.eval(), log)


def supervised_logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Logits at the batch's supervised positions, shape [P, V], and nowhere else."""
    hidden = hidden_states(model, batch.input_ids, batch.attention_mask)
    return project(model, hidden[batch.rows, batch.positions])


class SegmentTrainer(Trainer):
    """`transformers.Trainer` with our batches, objectives and record.

    `model` is what the optimizer and checkpoints see: the student itself, or its adapters.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        rows: Sequence[TrainingRow],
        arguments: TrainingArguments,
        *,
        student: PreTrainedModel,
        recipe: Recipe,
        bf16: bool,
        teacher_logits: TeacherLogits | None,
        pad_id: int,
        progress: Callable[[float], None],
    ) -> None:
        super().__init__(model=model, args=arguments, train_dataset=rows)
        self.remove_callback(PrinterCallback)
        self.student = student
        self.recipe = recipe
        self.bf16 = bf16
        self.teacher_logits = teacher_logits
        self.pad_id = pad_id
        self.progress = progress
        self.latest: Loss | None = None

    def get_train_dataloader(self) -> DataLoader[Any]:
        """One pass over the batches of all steps, so that resuming only skips the first of them."""
        rows, arguments = self.train_dataset, self.args
        order = batch_order(
            [len(row.input_ids) for row in rows],
            steps=arguments.max_steps,
            batch_size=arguments.per_device_train_batch_size,
            seed=arguments.seed,
        )
        return DataLoader(
            list(range(len(rows))),  # type: ignore[arg-type]  # any sequence serves as a dataset
            batch_sampler=order,
            collate_fn=lambda chosen: {"batch": collate(rows, chosen, self.pad_id)},
        )

    def compute_loss(self, _: Any, inputs: dict[str, Batch], **__: Any) -> Tensor:
        """The recipe's objective on a batch."""
        batch = inputs["batch"].to(self.student.device)
        # Trainer's own bf16 wraps `model.forward`, which is not called here.
        with torch.autocast(batch.input_ids.device.type, torch.bfloat16, enabled=self.bf16):
            student = supervised_logits(self.student, batch)
        teacher = None
        if self.teacher_logits is not None:
            teacher = self.teacher_logits.logits(batch.trace_rows).to(student.device)
        predictions = Predictions(student, teacher, batch.targets, batch.segments)
        self.latest = self.recipe.objective(predictions, self.recipe.weights)
        self._check_finite("loss", self.latest.value.item(), self.state.global_step + 1)
        return self.latest.value

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Complete the record of a step; the trainer keeps it in its state and checkpoints."""
        if "loss" in logs and self.latest is not None:
            self._check_finite("gradient norm", logs["grad_norm"], self.state.global_step)
            logs["kl_reasoning"] = _number(self.latest.kl_reasoning)
            logs["kl_answer"] = _number(self.latest.kl_answer)
            self.progress(self.state.global_step / self.state.max_steps)
        super().log(logs, start_time)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:  # noqa: ARG002
        """Not counted: counting walks through all parameters at every step."""
        return 0

    def _check_finite(self, what: str, value: float, step: int) -> None:
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"The {what} became {value} at step {step} of {self.args.max_steps}; "
                "a lower learning_rate or more warmup_ratio may help."
            )


def _arguments(
    settings: TrainingSettings, student: PreTrainedModel, work_dir: Path
) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(work_dir),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=int(settings.warmup_ratio * settings.steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_gradient_norm,
        optim="adamw_torch_fused",
        seed=settings.seed,
        use_cpu=student.device.type == "cpu",
        # Trainer writes this into the model's config, where False would slow generation later.
        use_cache=student.config.use_cache,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps" if settings.checkpoint_steps else "no",
        save_steps=settings.checkpoint_steps or settings.steps,
        save_total_limit=1,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to="none",
    )


def _checkpoint(
    student: PreTrainedModel,
    rows: Sequence[TrainingRow],
    settings: TrainingSettings,
    recipe: Recipe,
    work_dir: Path,
) -> str | None:
    """The checkpoint to go on from, if checkpoints are wanted and the folder holds one of ours."""
    if not settings.checkpoint_steps:
        return None
    claim(work_dir, run_identity(student, rows, settings, recipe))
    checkpoint = latest_complete_checkpoint(work_dir)
    return str(checkpoint) if checkpoint else None


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and warnings of transformers: progress is told to the caller, in our own words."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _number(kl: Tensor | None) -> float | None:
    value = math.nan if kl is None else kl.item()
    return None if math.isnan(value) else value
