"""Teacher correction: a light fine-tuning of a teacher on a task's gold labels."""

from collections.abc import Callable, Sequence
from pathlib import Path

from transformers import PreTrainedModel

from distillscale.distillation.objectives import OBJECTIVES
from distillscale.distillation.settings import Recipe, TrainingSettings
from distillscale.distillation.trainer import Distilled, train
from distillscale.tasks.trace import Trace

CORRECTION = Recipe(OBJECTIVES["cross_entropy"], divergence=None)
"""All weights train by cross-entropy."""


def correct(
    teacher: PreTrainedModel,
    gold_traces: Sequence[Trace],
    settings: TrainingSettings,
    *,
    pad_id: int,
    work_dir: Path,
    progress: Callable[[float], None] = lambda _: None,
) -> Distilled:
    """Fine-tune the teacher, in place, on traces whose completions are gold text.

    Arguments and errors are those of `distill`; the one trainer does the work.
    """
    return train(
        teacher,
        gold_traces,
        settings,
        CORRECTION,
        teacher_logits=None,
        pad_id=pad_id,
        work_dir=work_dir,
        progress=progress,
    )
