"""Structured pruning: measure importance, plan, then operate.

schedule    how a prune ratio is reached in stages
importance  scores of layers, heads, groups, channels and experts on calibration data
criteria    what makes each of them important, by name
evidence, statistics, weight_norms, leave_one_out   what the criteria look at
target      the shapes that have a wanted size
solver      the plan that reaches it: its shape, filled by importance
search      the choice between plans of one size by what they do to the model
plan        which layers, heads, groups, channels and experts stay
surgery     the pruned model
shape       the sizes that pruning changes, and their parameter count
families    layouts of model families, as data
"""

from distillscale.pruning.criteria import (
    CHANNEL_CRITERIA,
    LAYER_CRITERIA,
    ChannelCriterionName,
    LayerCriterionName,
)
from distillscale.pruning.families import FAMILIES
from distillscale.pruning.importance import Importance, measure_importance
from distillscale.pruning.plan import PLAN_COLUMNS, KeptLayer, Origin, PruningPlan
from distillscale.pruning.schedule import Schedule, ScheduleKind, prune_ratios
from distillscale.pruning.search import Choice, choose_plan
from distillscale.pruning.shape import (
    AXIS_FIELD,
    PruningAxis,
    Shape,
    flops_per_token,
    loadable,
    params_counter,
    params_of,
    shape_of,
)
from distillscale.pruning.solver import plan_candidates, plan_pruning
from distillscale.pruning.surgery import apply_plan
from distillscale.pruning.target import Reach, shapes_of_size

__all__ = [
    "AXIS_FIELD",
    "CHANNEL_CRITERIA",
    "FAMILIES",
    "LAYER_CRITERIA",
    "PLAN_COLUMNS",
    "ChannelCriterionName",
    "Choice",
    "Importance",
    "KeptLayer",
    "LayerCriterionName",
    "Origin",
    "PruningAxis",
    "PruningPlan",
    "Reach",
    "Schedule",
    "ScheduleKind",
    "Shape",
    "apply_plan",
    "choose_plan",
    "flops_per_token",
    "loadable",
    "measure_importance",
    "params_counter",
    "params_of",
    "plan_candidates",
    "plan_pruning",
    "prune_ratios",
    "shape_of",
    "shapes_of_size",
]
