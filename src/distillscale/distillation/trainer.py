"""The one trainer: any objective, all weights or adapters, one process or several.

Built on `transformers.Trainer` for its optimizer, schedule, clipping, checkpoints, DDP and FSDP2.
An optimizer step is one batch, whatever it is divided into: every part's loss is its share of the
whole step's, so the parts are summed and never averaged.
"""

import copy
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)
from transformers.utils import logging

from distillscale.distillation.adapters import add_adapters, merge_adapters
from distillscale.distillation.checkpoint import (
    read_optimizer,
    read_weights,
    write_optimizer,
    write_weights,
)
from distillscale.distillation.hidden_matching import LayerMap
from distillscale.distillation.log import DistillationLog, log_of_history
from distillscale.distillation.on_policy import Rollouts
from distillscale.distillation.order import Division, batch_order, micro_batches
from distillscale.distillation.resume import claim, latest_complete_checkpoint, run_identity
from distillscale.distillation.segments import (
    Batch,
    SegmentTotals,
    TrainingRow,
    collate,
    training_row,
)
from distillscale.distillation.settings import DistillationSettings, Recipe, TrainingSettings
from distillscale.distillation.sharding import FSDP2, gather_into, shard_on_cpu
from distillscale.distillation.step_loss import StepLoss, computing
from distillscale.distillation.teacher_view import TeacherSide
from distillscale.errors import InputError, TrainingDiverged
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
    layer_map: LayerMap | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    shard: bool = False,
    progress: Callable[[float], None] = lambda _: None,
) -> Distilled:
    """Train the student, in place, on a teacher's traces.

    Started in several processes (`torchrun`), they share every optimizer step: each computes its
    part of the batch, and the result is that of one process up to rounding.

    Args:
        student: trains on the device that it is on; comes back in evaluation mode.
        traces: parsed traces; supervision `label` reads the answers only, so give it traces made
            without thinking.
        settings: see there.
        teacher_logits: what the teacher predicts in these traces; needed where a divergence is
            minimized. For `on_policy` and `hidden_weight` it must be an online teacher.
        pad_id: the token to pad with.
        work_dir: the folder for the checkpoints of this run. With `checkpoint_steps`, a run that
            was killed goes on from its latest complete checkpoint here; those of another run
            (other settings, traces or starting weights) are deleted.
        layer_map: where the student's structure comes from in the teacher; needed for
            `hidden_weight`.
        tokenizer: the student's; needed for `on_policy`.
        shard: shard weights, gradients and optimizer state over the processes (FSDP2), where else
            each holds a copy (DDP). The model that comes back is a new one then. Without rollouts
            of adapters.
        progress: told the share of steps that are done, from 0 to 1.

    Raises:
        InputError: there are no traces, student and teacher differ in vocabulary, or the teacher
            cannot answer what the settings ask.
        TrainingDiverged: the loss or the gradient is not finite; the student is spoilt then.
    """
    return train(
        student,
        traces,
        settings,
        settings.recipe,
        teacher_logits=teacher_logits,
        pad_id=pad_id,
        work_dir=work_dir,
        layer_map=layer_map,
        tokenizer=tokenizer,
        shard=shard,
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
    layer_map: LayerMap | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    shard: bool = False,
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
    teacher = TeacherSide(teacher_logits, traces, recipe, layer_map)
    if layer_map and recipe.hidden_weight:
        layer_map.check(student)
    if shard:
        _check_shardable(recipe)
    rollouts = None
    if recipe.on_policy:
        if tokenizer is None:
            raise ValueError("Rollouts need the student's tokenizer.")
        rollouts = Rollouts(
            student, tokenizer, traces, recipe.on_policy, settings.seed, settings.bf16
        )
    with _quiet():
        arguments = _arguments(settings, student, len(rows), work_dir, shard=shard)
        checkpoint = None
        if settings.checkpoint_steps:
            checkpoint = _checkpoint(run_identity(student, rows, settings, recipe), arguments)
        adapted = add_adapters(student, recipe.adapters, settings.seed) if recipe.adapters else None
        module: nn.Module = adapted or student
        # Sharding changes a module's class and weights in place.
        plain = copy.deepcopy(module) if arguments.fsdp else module
        loss = StepLoss(student, recipe, layer_map, bf16=settings.bf16, compiled=settings.compile)
        with computing(loss, module), _layers_computed_twice(student, settings):
            trainer = SegmentTrainer(
                module,
                rows,
                arguments,
                batch_size=min(settings.batch_size, len(rows)),
                teacher=teacher,
                pad_id=pad_id,
                rollouts=rollouts,
                progress=progress,
            )
            trainer.train(resume_from_checkpoint=checkpoint)
    if plain is not module:
        gather_into(plain, module)
    model = merge_adapters(cast(PeftModel, plain)) if adapted else cast(PreTrainedModel, plain)
    log = log_of_history([record for record in trainer.state.log_history if "loss" in record])
    return Distilled(model.eval(), log)


class SegmentTrainer(Trainer):
    """`transformers.Trainer` with our batches, losses and record.

    `model` computes the loss when it is called (see `step_loss.computing`): the student itself, or
    its adapters.
    """

    loss_is_scaled_for_ga = True  # parts of a step are summed, not averaged

    def __init__(
        self,
        model: nn.Module,
        rows: Sequence[TrainingRow],
        arguments: TrainingArguments,
        *,
        batch_size: int,
        teacher: TeacherSide,
        pad_id: int,
        rollouts: Rollouts | None,
        progress: Callable[[float], None],
    ) -> None:
        super().__init__(model=model, args=arguments, train_dataset=rows)
        self.remove_callback(PrinterCallback)
        self.batch_size = batch_size
        self.teacher = teacher
        self.pad_id = pad_id
        self.rollouts = rollouts
        self.progress = progress
        self.record = torch.zeros(4, dtype=torch.double, device=arguments.device)

    def create_accelerator_and_postprocess(self) -> None:
        """Take sharding over on CPUs too."""
        super().create_accelerator_and_postprocess()
        if self.args.fsdp:
            shard_on_cpu(self.accelerator, self.args.fsdp_plugin_args)
            self.is_fsdp_enabled = True

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write a checkpoint's weights, in `checkpoint`'s way as all else but random states."""
        folder = Path(output_dir or self.args.output_dir)
        write_weights(self.model, folder, writes=self.args.should_save)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        write_optimizer(
            self.model,
            self.optimizer,
            self.lr_scheduler,
            Path(output_dir),
            writes=self.args.should_save,
            processes=self.args.world_size,
        )

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        read_weights(model or self.model, Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint:
            read_optimizer(self.model, self.optimizer, self.lr_scheduler, Path(checkpoint))

    def get_train_dataloader(self) -> DataLoader[Any]:
        """One pass over this process's batches of all steps; resuming skips the first of them."""
        rows, arguments = self.train_dataset, self.args
        order = batch_order(
            [len(row.input_ids) for row in rows],
            steps=arguments.max_steps,
            batch_size=self.batch_size,
            seed=arguments.seed,
        )
        division = Division(
            arguments.gradient_accumulation_steps, arguments.world_size, arguments.process_index
        )
        parts = micro_batches(order, [SegmentTotals.of(row.segments) for row in rows], division)
        return DataLoader(
            parts,  # type: ignore[arg-type]  # any sequence serves as a dataset
            batch_sampler=[[number] for number in range(len(parts))],
            collate_fn=lambda one: {
                "batch": collate(rows, one[0].rows, self.pad_id, one[0].totals)
            },
        )

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Batch]], None]:
        """The batches of an optimizer step, where it is on-policy with the student's own text."""
        samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.rollouts is None or not self.rollouts.wanted(self.state.global_step):
            return samples, None
        step, process = self.state.global_step, self.args.process_index
        batches = self.rollouts.batches([sample["batch"] for sample in samples], step, process)
        own = torch.tensor([batches[0].totals.reasoning, batches[0].totals.answer], device=device)
        totals = SegmentTotals(*self.accelerator.reduce(own).tolist())
        return [{"batch": replace(batch, totals=totals)} for batch in batches], None

    def compute_loss(self, model: nn.Module, inputs: dict[str, Batch], **_: Any) -> Tensor:
        """The batch's share of the optimizer step's loss, times the number of processes.

        Gradients and losses are averaged over processes, where shares must be summed.
        """
        batch = inputs["batch"].to(self.args.device)
        view = self.teacher.view(batch, self.args.device)
        value, record = model(batch=batch, teacher=view)
        self.record += record
        return value * self.args.world_size

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Complete the record of a step; the trainer keeps it in its state and checkpoints."""
        if "loss" in logs:
            self._check_finite("loss", logs["loss"])
            self._check_finite("gradient norm", logs["grad_norm"])
            reasoning, answer, *counts = self.accelerator.reduce(self.record).tolist()
            self.record = torch.zeros_like(self.record)
            logs["divergence_reasoning"] = reasoning / counts[0] if counts[0] else None
            logs["divergence_answer"] = answer / counts[1] if counts[1] else None
            self.progress(self.state.global_step / self.state.max_steps)
        super().log(logs, start_time)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:  # noqa: ARG002
        """Not counted: counting walks through all parameters at every step."""
        return 0

    def _check_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"The {what} became {value} at step {self.state.global_step} of "
                f"{self.args.max_steps}; a lower learning_rate or more warmup_ratio may help."
            )


def _arguments(
    settings: TrainingSettings, student: PreTrainedModel, rows: int, work_dir: Path, *, shard: bool
) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(work_dir),
        max_steps=settings.steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=int(settings.warmup_ratio * settings.steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_gradient_norm,
        optim="adamw_torch_fused",
        seed=settings.seed,
        use_cpu=student.device.type == "cpu",
        ddp_find_unused_parameters=False,
        fsdp=True if shard and int(os.environ.get("WORLD_SIZE", "1")) > 1 else None,
        fsdp_config=FSDP2,
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
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # several GPUs are used by several processes, never by DataParallel
    division = Division.of(
        min(settings.batch_size, rows), settings.micro_batch_size, arguments.world_size
    )
    arguments.gradient_accumulation_steps = division.rounds
    return arguments


def _check_shardable(recipe: Recipe) -> None:
    """Refuse what did not work on sharded weights with transformers 5.23 and accelerate 1.15.

    Generation goes past the adapters' outermost module, the one that gathers the weights.
    """
    if recipe.on_policy and recipe.adapters:
        raise InputError(
            f"on_policy is {recipe.on_policy}: adapters on sharded weights cannot write text; it "
            "must be 0 with `shard` and method `lora`."
        )


def _checkpoint(identity: str, arguments: TrainingArguments) -> str | None:
    """The checkpoint to go on from, if the folder holds one of ours."""
    work_dir = Path(arguments.output_dir)
    with arguments.main_process_first():
        claim(work_dir, identity)
    checkpoint = latest_complete_checkpoint(work_dir)
    return str(checkpoint) if checkpoint else None


@contextmanager
def _layers_computed_twice(student: PreTrainedModel, settings: TrainingSettings) -> Iterator[None]:
    """Gradient checkpointing of the student's layers, if the settings ask for it."""
    if not settings.gradient_checkpointing:
        yield
        return
    student.activation_checkpointing_enable()
    try:
        yield
    finally:
        student.activation_checkpointing_disable()


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
