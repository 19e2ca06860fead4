"""Distillation: traces made into supervised positions, losses on them, and the one trainer."""

from distillscale.distillation.correction import correct
from distillscale.distillation.log import DistillationLog
from distillscale.distillation.losses import OBJECTIVES, Loss, LossWeights, Objective, Predictions
from distillscale.distillation.segments import ANSWER, REASONING, Batch, collate, training_row
from distillscale.distillation.settings import (
    DistillationSettings,
    Method,
    Recipe,
    Supervision,
    TrainingSettings,
)
from distillscale.distillation.trainer import Distilled, distill, train

__all__ = [
    "ANSWER",
    "OBJECTIVES",
    "REASONING",
    "Batch",
    "DistillationLog",
    "DistillationSettings",
    "Distilled",
    "Loss",
    "LossWeights",
    "Method",
    "Objective",
    "Predictions",
    "Recipe",
    "Supervision",
    "TrainingSettings",
    "collate",
    "correct",
    "distill",
    "train",
    "training_row",
]
