"""Distillation: traces made into supervised positions, losses on them, and the one trainer."""

from distillscale.distillation.correction import correct
from distillscale.distillation.divergences import DIVERGENCES, Divergence
from distillscale.distillation.hidden_matching import LayerMap
from distillscale.distillation.log import DistillationLog
from distillscale.distillation.objectives import (
    OBJECTIVES,
    LossWeights,
    Objective,
    PositionWeights,
)
from distillscale.distillation.projection import Loss, supervised_loss
from distillscale.distillation.segments import (
    ANSWER,
    REASONING,
    Batch,
    SegmentTotals,
    collate,
    training_row,
)
from distillscale.distillation.settings import (
    DistillationSettings,
    DivergenceSettings,
    Method,
    Recipe,
    Supervision,
    TrainingSettings,
)
from distillscale.distillation.trainer import Distilled, distill, train

__all__ = [
    "ANSWER",
    "DIVERGENCES",
    "OBJECTIVES",
    "REASONING",
    "Batch",
    "DistillationLog",
    "DistillationSettings",
    "Distilled",
    "Divergence",
    "DivergenceSettings",
    "LayerMap",
    "Loss",
    "LossWeights",
    "Method",
    "Objective",
    "PositionWeights",
    "Recipe",
    "SegmentTotals",
    "Supervision",
    "TrainingSettings",
    "collate",
    "correct",
    "distill",
    "supervised_loss",
    "train",
    "training_row",
]
