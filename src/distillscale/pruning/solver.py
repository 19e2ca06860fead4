"""From a target size to a pruning plan: the evenest shape of that size, filled by importance."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedConfig

from distillscale.errors import InputError
from distillscale.pruning.families import family_of
from distillscale.pruning.importance import Importance
from distillscale.pruning.plan import KeptLayer, PruningPlan
from distillscale.pruning.shape import PruningAxis, Shape, flops_per_token, params_of, shape_of
from distillscale.pruning.target import Reach, shapes_of_size


def plan_pruning(
    config: PreTrainedConfig,
    importance: Importance,
    *,
    target_params: int,
    axes: tuple[PruningAxis, ...],
    multiple: int,
    original: Shape | None = None,
) -> PruningPlan:
    """Choose the shape for a target size, and what stays in it.

    The shape is the evenest one within 1 % of the target (`shapes_of_size`). Evenness is judged
    against the teacher, so that different schedules to one size end alike. Assumption: the paper
    (arXiv 2606.24747) does not say, in the material we have, how it balances the axes.

    Layers stay as `Importance.kept_layers` says; of experts, MLP channels, K/V groups, query heads
    within a group and hidden channels those of highest score stay, the earlier one of two equal
    ones. What stays keeps its order.

    Args:
        config: of the model to prune; it is not changed.
        importance: scores of the same model, on the axes asked for.
        target_params: non-embedding parameters wanted.
        axes: what may be cut.
        multiple: MLP and hidden widths are multiples of this (hardware prefers 8 to 256), or
            unchanged.
        original: shape of the teacher; left out where the model at hand is the teacher.

    Raises:
        InputError: the target cannot be reached (the message says what can), the scores are those
            of another model, an argument is out of range, or the family is not supported.
    """
    return plan_candidates(
        config,
        importance,
        target_params=target_params,
        axes=axes,
        multiple=multiple,
        original=original,
        count=1,
    )[0]


def plan_candidates(
    config: PreTrainedConfig,
    importance: Importance,
    *,
    target_params: int,
    axes: tuple[PruningAxis, ...],
    multiple: int,
    original: Shape | None = None,
    count: int,
) -> tuple[PruningPlan, ...]:
    """At most `count` plans of clearly different shapes for a target size.

    The first is that of `plan_pruning`; the others are less and less even.

    Raises:
        InputError: as `plan_pruning`, or `count` is below 1.
    """
    before = shape_of(config)
    reach = Reach(config, before, original or before, axes, multiple)
    shapes = shapes_of_size(reach, target_params, count)
    _check_scores(importance, before, axes)
    return tuple(_filled(config, importance, before, after) for after in shapes)


def _filled(
    config: PreTrainedConfig, importance: Importance, before: Shape, after: Shape
) -> PruningPlan:
    """The plan that fills a shape with what is most important."""
    layers = tuple(range(before.layers))
    if after.layers < before.layers:
        layers = importance.kept_layers(after.layers)
    hidden = _highest(importance.hidden, (), after.hidden, before.hidden)
    norms = family_of(config).norm_paths(layers) if after.hidden < before.hidden else ()
    return PruningPlan(
        model_type=config.model_type,
        before=before,
        after=after,
        params_before=params_of(config, before),
        params_after=params_of(config, after),
        flops_before=flops_per_token(config, before),
        flops_after=flops_per_token(config, after),
        layers=tuple(_kept_layer(importance, layer, before, after) for layer in layers),
        hidden=hidden,
        norm_scales={norm: _norm_scale(importance.norm_energy[norm], hidden) for norm in norms},
    )


def _kept_layer(importance: Importance, layer: int, before: Shape, after: Shape) -> KeptLayer:
    experts = _highest(importance.experts, (layer,), after.experts, before.experts)
    groups = _highest(importance.groups, (layer,), after.groups, before.groups)
    return KeptLayer(
        layer=layer,
        channels=tuple(
            _highest(importance.channels, (layer, expert), after.mlp, before.mlp)
            for expert in experts
        ),
        groups=groups,
        heads=tuple(
            _highest(importance.heads, (layer, group), after.heads, before.heads)
            for group in groups
        ),
        experts=experts,
    )


def _highest(scores: Any, place: tuple[int, ...], count: int, available: int) -> tuple[int, ...]:
    """Positions of the highest scores, ascending; of equal scores the earlier one counts more.

    Where everything stays no score is read: an axis that is not cut need not be measured.

    Args:
        scores: of all layers (and experts, or groups), as in `Importance`.
        place: which layer (and expert, or group).
    """
    if count == available:
        return tuple(range(available))
    for position in place:
        scores = scores[position]
    ranked = np.argsort(-np.asarray(scores), kind="stable")
    return tuple(np.sort(ranked[:count]).tolist())


def _norm_scale(energy: Sequence[float], hidden: tuple[int, ...]) -> float:
    """The factor that makes good for a norm's mean over fewer channels.

    A norm divides by sqrt(mean_c x_c^2). Without some channels the mean is over fewer of them and
    misses their energy, so that outputs grow by sqrt(after / (before x share)), where share is the
    energy that stays. The factor is the inverse, with the share's mean over calibration tokens:
    exact where the channels that go are zero.

    Args:
        energy: share of each channel in sum_c x_c^2 at the norm's input, mean over tokens.
    """
    share = math.fsum(energy[channel] for channel in hidden)
    if share == 0:  # all that stays is zero, whatever the factor
        return 1.0
    return math.sqrt(len(energy) / len(hidden) * share)


def _check_scores(importance: Importance, shape: Shape, axes: tuple[PruningAxis, ...]) -> None:
    wanted: dict[PruningAxis, tuple[Any, tuple[int, ...]]] = {
        "depth": (importance.layers, (shape.layers,)),
        "mlp": (importance.channels, (shape.layers, shape.experts, shape.mlp)),
        "heads": (importance.heads, (shape.layers, shape.groups, shape.heads)),
        "groups": (importance.groups, (shape.layers, shape.groups)),
        "hidden": (importance.hidden, (shape.hidden,)),
        "experts": (importance.experts, (shape.layers, shape.experts)),
    }
    for axis in axes:
        scores, sizes = wanted[axis]
        if not _has_sizes(scores, sizes):
            raise InputError(
                f"importance: the scores for {axis} are not those of a model with {shape}; "
                "measure them on that model, with this axis."
            )


def _has_sizes(scores: Any, sizes: tuple[int, ...]) -> bool:
    """Whether nested tuples have these lengths, from the outermost one to the innermost ones."""
    if len(scores) != sizes[0]:
        return False
    return len(sizes) == 1 or all(_has_sizes(inner, sizes[1:]) for inner in scores)
