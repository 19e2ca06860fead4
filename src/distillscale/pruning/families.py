"""The layouts of model families, as data: where the weights are and which sizes they have.

A new family is one more entry of FAMILIES; nothing else in `pruning/` knows a weight's name.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedConfig

from distillscale.errors import InputError

WeightAxis = Literal["hidden", "query", "key_value", "head", "mlp"]
"""What a dimension of a weight counts: hidden channels, all query heads' channels, all key/value
heads' channels, the channels of one head, MLP channels."""


@dataclass(frozen=True)
class Weight:
    """One parameter: its name, what its dimensions count, and the config flag it depends on."""

    name: str
    axes: tuple[WeightAxis, ...]
    only_if: str | None = None


@dataclass(frozen=True)
class Family:
    """Layout of a decoder family.

    Attributes:
        layers: path of the list of layers.
        mlp_output: path, within a layer, of the projection whose input are the MLP channels.
        layer_weights: all parameters of a layer, named from the layer.
        other_weights: all parameters outside of layers, embeddings and LM head.
        depth: config field with the number of layers.
        mlp: config field with the MLP channels of a layer.
        per_layer: config fields that, where present, hold one entry a layer.
        axis_sizes: config fields whose product is the size of an axis.
    """

    layers: str
    mlp_output: str
    layer_weights: tuple[Weight, ...]
    other_weights: tuple[Weight, ...]
    depth: str
    mlp: str
    per_layer: tuple[str, ...]
    axis_sizes: Mapping[WeightAxis, tuple[str, ...]]


_NORMS = (
    Weight("input_layernorm.weight", ("hidden",)),
    Weight("post_attention_layernorm.weight", ("hidden",)),
)
_ATTENTION = (
    Weight("self_attn.q_proj.weight", ("query", "hidden")),
    Weight("self_attn.k_proj.weight", ("key_value", "hidden")),
    Weight("self_attn.v_proj.weight", ("key_value", "hidden")),
    Weight("self_attn.o_proj.weight", ("hidden", "query")),
)
_ATTENTION_BIASES = (
    Weight("self_attn.q_proj.bias", ("query",), only_if="attention_bias"),
    Weight("self_attn.k_proj.bias", ("key_value",), only_if="attention_bias"),
    Weight("self_attn.v_proj.bias", ("key_value",), only_if="attention_bias"),
    Weight("self_attn.o_proj.bias", ("hidden",), only_if="attention_bias"),
)
_QWEN2_BIASES = (
    Weight("self_attn.q_proj.bias", ("query",)),
    Weight("self_attn.k_proj.bias", ("key_value",)),
    Weight("self_attn.v_proj.bias", ("key_value",)),
)
_QUERY_KEY_NORMS = (
    Weight("self_attn.q_norm.weight", ("head",)),
    Weight("self_attn.k_norm.weight", ("head",)),
)
_GATED_MLP = (
    Weight("mlp.gate_proj.weight", ("mlp", "hidden")),
    Weight("mlp.up_proj.weight", ("mlp", "hidden")),
    Weight("mlp.down_proj.weight", ("hidden", "mlp")),
)
_MLP_BIASES = (
    Weight("mlp.gate_proj.bias", ("mlp",), only_if="mlp_bias"),
    Weight("mlp.up_proj.bias", ("mlp",), only_if="mlp_bias"),
    Weight("mlp.down_proj.bias", ("hidden",), only_if="mlp_bias"),
)


def _gated_decoder(*extra_weights: Weight) -> Family:
    return Family(
        layers="model.layers",
        mlp_output="mlp.down_proj",
        layer_weights=_NORMS + _ATTENTION + _GATED_MLP + extra_weights,
        other_weights=(Weight("model.norm.weight", ("hidden",)),),
        depth="num_hidden_layers",
        mlp="intermediate_size",
        per_layer=("layer_types",),
        axis_sizes={
            "hidden": ("hidden_size",),
            "query": ("num_attention_heads", "head_dim"),
            "key_value": ("num_key_value_heads", "head_dim"),
            "head": ("head_dim",),
            "mlp": ("intermediate_size",),
        },
    )


FAMILIES: Mapping[str, Family] = {
    "llama": _gated_decoder(*_ATTENTION_BIASES, *_MLP_BIASES),
    "mistral": _gated_decoder(),
    "qwen2": _gated_decoder(*_QWEN2_BIASES),
    "qwen3": _gated_decoder(*_QUERY_KEY_NORMS, *_ATTENTION_BIASES),
}
"""Supported families by the `model_type` of their config."""


def family_of(config: PreTrainedConfig) -> Family:
    """The layout of a model.

    Raises:
        InputError: the family is not supported.
    """
    if config.model_type not in FAMILIES:
        raise InputError(
            f"config.json: models of type {config.model_type!r} cannot be pruned; "
            f"supported are {', '.join(FAMILIES)}."
        )
    return FAMILIES[config.model_type]


def present(weights: tuple[Weight, ...], config: PreTrainedConfig) -> list[Weight]:
    """The weights that a model with this config has."""
    return [w for w in weights if w.only_if is None or getattr(config, w.only_if)]


def axis_sizes(config: PreTrainedConfig) -> dict[WeightAxis, int]:
    """The size of every weight axis."""
    return {
        axis: math.prod(_field(config, name) for name in fields)
        for axis, fields in family_of(config).axis_sizes.items()
    }


def _field(config: PreTrainedConfig, name: str) -> int:
    value: int | None = getattr(config, name, None)
    if value is None and name == "head_dim":  # Qwen2 has no such field
        return config.hidden_size // config.num_attention_heads
    assert value is not None
    return value
