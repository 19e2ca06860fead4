"""Structured pruning: measure importance, plan, then operate.

schedule    how a prune ratio is reached in stages
importance  scores of layers and MLP channels on calibration data
plan        which layers and channels stay, to reach a size
surgery     the pruned model
shape       the sizes that pruning changes, and their parameter count
families    layouts of model families, as data
"""

from distillscale.pruning.families import FAMILIES
from distillscale.pruning.importance import Importance, measure_importance
from distillscale.pruning.plan import PLAN_COLUMNS, PruningAxis, PruningPlan, plan_pruning
from distillscale.pruning.schedule import Schedule, ScheduleKind, prune_ratios
from distillscale.pruning.shape import Shape, params_of, shape_of
from distillscale.pruning.surgery import apply_plan

__all__ = [
    "FAMILIES",
    "PLAN_COLUMNS",
    "Importance",
    "PruningAxis",
    "PruningPlan",
    "Schedule",
    "ScheduleKind",
    "Shape",
    "apply_plan",
    "measure_importance",
    "params_of",
    "plan_pruning",
    "prune_ratios",
    "shape_of",
]
