"""The sizes that pruning changes, and how many parameters a model of these sizes has."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from transformers import PreTrainedConfig

from distillscale.pruning.families import WeightAxis, axis_sizes, family_of, present


@dataclass(frozen=True)
class Shape:
    """The prunable sizes of a model, one field an axis of pruning.

    Attributes:
        layers: number of layers (axis `depth`).
        mlp: MLP channels of a layer, the config's intermediate size (axis `mlp`).
    """

    layers: int
    mlp: int


def shape_of(config: PreTrainedConfig) -> Shape:
    """The shape that a config describes.

    Raises:
        InputError: the family is not supported.
    """
    family = family_of(config)
    return Shape(layers=getattr(config, family.depth), mlp=getattr(config, family.mlp))


def params_of(config: PreTrainedConfig, shape: Shape) -> int:
    """Non-embedding parameters of a model with this config, resized to `shape`.

    Counted from the family's layout without building the model; equals
    `models.size.model_size(...).params` of a real one.

    Raises:
        InputError: the family is not supported.
    """
    return params_counter(config)(shape)


def params_counter(config: PreTrainedConfig) -> Callable[[Shape], int]:
    """`params_of` for many shapes of one config: reads the config once."""
    family = family_of(config)
    sizes = axis_sizes(config)
    layer = [weight.axes for weight in present(family.layer_weights, config)]
    others = [weight.axes for weight in present(family.other_weights, config)]

    def count(shape: Shape) -> int:
        sizes["mlp"] = shape.mlp
        return shape.layers * _elements(layer, sizes) + _elements(others, sizes)

    return count


def _elements(weights: list[tuple[WeightAxis, ...]], sizes: dict[WeightAxis, int]) -> int:
    return sum(math.prod([sizes[axis] for axis in axes]) for axes in weights)
