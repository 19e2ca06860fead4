"""The sizes that pruning changes, and the cost of a model of these sizes."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from transformers import PreTrainedConfig

from distillscale.errors import InputError
from distillscale.pruning.families import Weight, WeightAxis, family_of, head_width, present

PruningAxis = Literal["depth", "mlp", "heads", "groups", "hidden", "experts"]
"""What can be cut: whole layers; MLP channels within every layer (and every expert); query heads
within every K/V group; whole K/V groups with their query heads; hidden channels; experts."""

AXIS_FIELD: Mapping[PruningAxis, str] = {
    "depth": "layers",
    "mlp": "mlp",
    "heads": "heads",
    "groups": "groups",
    "hidden": "hidden",
    "experts": "experts",
}
"""The field of Shape that an axis changes."""


@dataclass(frozen=True)
class Shape:
    """The prunable sizes of a model, one field an axis of pruning.

    Attributes:
        layers: number of layers (axis `depth`).
        mlp: MLP channels of a layer, of each expert in a mixture (axis `mlp`).
        groups: K/V heads of a layer, each with its query heads (axis `groups`).
        heads: query heads of a group (axis `heads`).
        hidden: hidden width (axis `hidden`).
        experts: experts of a layer, 1 in a dense model (axis `experts`).
    """

    layers: int
    mlp: int
    groups: int
    heads: int
    hidden: int
    experts: int = 1


def shape_of(config: PreTrainedConfig) -> Shape:
    """The shape that a config describes.

    Raises:
        InputError: the family is not supported.
    """
    family = family_of(config)
    groups = getattr(config, family.groups)
    return Shape(
        layers=getattr(config, family.depth),
        mlp=getattr(config, family.mlp),
        groups=groups,
        heads=getattr(config, family.query_heads) // groups,
        hidden=getattr(config, family.hidden),
        experts=getattr(config, family.experts.count) if family.experts else 1,
    )


def params_of(config: PreTrainedConfig, shape: Shape) -> int:
    """Non-embedding parameters of a model with this config, resized to `shape`.

    Counted from the family's layout without building the model; equals
    `models.size.model_size(...).params` of a real one.

    Raises:
        InputError: the family is not supported.
    """
    return params_counter(config)(shape)


def params_counter(config: PreTrainedConfig) -> Callable[[Shape], int]:
    """`params_of` for many shapes of one config: reads the config once.

    The counter also takes a Shape whose fields are NumPy int64 arrays (equally long, or numbers)
    and gives an array then.
    """
    family = family_of(config)
    sizes_of = _sizer(config)
    layer = present(family.layer_weights, config)

    def count(shape: Shape) -> int:
        sizes = sizes_of(shape)
        return shape.layers * _elements(layer, sizes) + _elements([family.final_norm_weight], sizes)

    return count


def flops_per_token(config: PreTrainedConfig, shape: Shape) -> int:
    """Floating-point operations of the matrix products of one token's forward pass.

    Two for each multiply-accumulate (Kaplan et al., arXiv 2001.08361): all projections and the
    LM head, of a mixture only the router and the experts that a token goes through. Left out are
    norms, biases and what grows with the context, the products of queries, keys and values.
    Shapes of arrays are taken as by `params_counter`.

    Raises:
        InputError: the family is not supported.
    """
    family = family_of(config)
    sizes = _sizer(config)(shape)
    matrices = [w for w in present(family.layer_weights, config) if len(w.dimensions) > 1]
    single = [w for w in matrices if not _of_experts(w)]
    products = _elements(single, sizes)
    if family.experts:
        active = sizes | {"expert": getattr(config, family.experts.active)}
        products = products + _elements([w for w in matrices if _of_experts(w)], active)
    return 2 * (shape.layers * products + _elements([family.head], sizes))


def loadable(config: PreTrainedConfig, shape: Shape) -> bool:
    """Whether a model of this shape can be written and loaded by plain `transformers`.

    Shapes of arrays are taken as by `params_counter`, and give an array then.
    """
    result: Any = True
    for _, holds in _limits(config):
        result = result & holds(shape)
    return result


def check_loadable(config: PreTrainedConfig, shape: Shape) -> None:
    """Refuse a shape that is not `loadable`.

    Raises:
        InputError: the shape is not loadable, with the reason.
    """
    for reason, holds in _limits(config):
        if not holds(shape):
            raise InputError(f"pruning plan: {shape} is not possible: {reason}.")


_Limit = tuple[str, Callable[[Shape], Any]]
"""A sentence, and the condition on a shape that it names."""


def _limits(config: PreTrainedConfig) -> list[_Limit]:
    """What `transformers` demands of the shape of a family, each with its sentence."""
    family = family_of(config)
    limits: list[_Limit] = [("every size must be at least 1", _positive)]
    if family.experts:
        active = getattr(config, family.experts.active)
        reason = f"a token goes through {active} experts, so that many must stay"
        limits.append((reason, lambda shape: shape.experts >= active))
        limits.append(_aligned(shape_of(config), family.experts.multiple))
    if family.hidden_in_heads:
        reason = (
            f"config.json of a {config.model_type} model needs a hidden width that is a multiple "
            "of its number of query heads (groups x heads)"
        )
        limits.append((reason, lambda s: s.hidden % (s.groups * s.heads) == 0))
    if family.rotary_by_hidden and (config.rope_parameters or {}).get("long_factor"):
        limits.append(_as_many_as_rotary_factors(config.rope_parameters))
    return limits


def _aligned(before: Shape, multiple: int) -> _Limit:
    reason = f"experts need a hidden width and MLP channels in multiples of {multiple}"

    def holds(shape: Shape) -> Any:
        mlp = (shape.mlp % multiple == 0) | (shape.mlp == before.mlp)
        return mlp & ((shape.hidden % multiple == 0) | (shape.hidden == before.hidden))

    return reason, holds


def _as_many_as_rotary_factors(rotary: Mapping[str, Any]) -> _Limit:
    length, share = len(rotary["long_factor"]), rotary["partial_rotary_factor"]
    reason = (
        f"a config.json with {length} long rotary factors needs a hidden width that falls with "
        "the number of query heads (groups x heads)"
    )
    return reason, lambda s: s.hidden // (s.groups * s.heads) * share // 1 // 2 == length


def _positive(shape: Shape) -> Any:
    result: Any = True
    for field in fields(shape):
        result = result & (getattr(shape, field.name) > 0)
    return result


def _sizer(config: PreTrainedConfig) -> Callable[[Shape], dict[WeightAxis, int]]:
    """The size of every weight axis, for many shapes of one config."""
    width, vocabulary = head_width(config), config.vocab_size

    def sizes(shape: Shape) -> dict[WeightAxis, int]:
        return {
            "vocab": vocabulary,
            "hidden": shape.hidden,
            "query": shape.groups * shape.heads * width,
            "key_value": shape.groups * width,
            "head": width,
            "mlp": shape.mlp,
            "expert": shape.experts,
        }

    return sizes


def axis_sizes(config: PreTrainedConfig) -> dict[WeightAxis, int]:
    """The size of every weight axis of a model.

    Raises:
        InputError: the family is not supported.
    """
    return _sizer(config)(shape_of(config))


def _elements(weights: Iterable[Weight], sizes: Mapping[WeightAxis, int]) -> int:
    return sum(
        math.prod(sum(sizes[axis] for axis in dimension) for dimension in weight.dimensions)
        for weight in weights
    )


def _of_experts(weight: Weight) -> bool:
    """Whether a weight holds a matrix for each expert; the router has a row for each instead."""
    return ("expert",) in weight.dimensions and len(weight.dimensions) > 2
