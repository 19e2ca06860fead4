"""The layouts of model families, as data: where the weights are and which sizes they have.

A new family is one more entry of FAMILIES; nothing else in `pruning/` knows a weight's name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from transformers import PreTrainedConfig

from distillscale.errors import InputError

WeightAxis = Literal["vocab", "hidden", "query", "key_value", "head", "mlp", "expert"]
"""What a dimension of a weight counts: tokens of the vocabulary, hidden channels, all query heads'
channels, all key/value heads' channels, the channels of one head, MLP channels, experts."""

Dimension = tuple[WeightAxis, ...]
"""One dimension of a weight; several axes lie one after the other, as in a fused projection."""


@dataclass(frozen=True)
class Weight:
    """One parameter: its name, what its dimensions count, and the config flag it depends on.

    The order of channels is the same in every family: those of a head are consecutive, and so
    are the query heads of a group, groups in the order of their K/V heads.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    only_if: str | None = None


@dataclass(frozen=True)
class Experts:
    """Where the experts of a mixture are; paths start at the layer, names at the experts' module.

    Attributes:
        module: the module of all experts; it is called with (hidden states [tokens, hidden],
            numbers of each token's experts [tokens, active], their weights [tokens, active]).
        input_weight: parameter [experts, 2 x MLP channels, hidden], gates first.
        output_weight: parameter [experts, hidden, MLP channels].
        activation: attribute, the function that is applied to the gates.
        count: config field with the number of experts.
        active: config field with the number of experts that a token goes through.
        multiple: what hidden width and MLP channels must be multiples of.
    """

    module: str
    input_weight: str
    output_weight: str
    activation: str
    count: str
    active: str
    multiple: int


@dataclass(frozen=True)
class Family:
    """Layout of a decoder family.

    Attributes:
        layer_weights: all parameters of a layer, named from the layer.
        norms: paths, within a layer, of the norms over the hidden width.
        norm_readers: for each of them whose output projections read, the module of these
            projections, as a path within a layer. (The last norm is read by the LM head.)
        mlp_output: path, within a layer, of the projection whose input are the MLP channels;
            None where there are experts instead.
        experts: the experts of a mixture, or None.
        mlp: config field with the MLP channels of a layer, or of one expert.
        layers: path of the list of layers.
        final_norm: path of the norm before the LM head.
        embedding: the input embeddings, named from the model.
        head: the LM head, named from the model; the same parameter where it is tied.
        attention_output: path, within a layer, of the projection whose input are the query
            heads' channels.
        norm_offset: what a norm over the hidden width adds to its weight before it multiplies.
        scaled_embedding: whether embeddings are multiplied by the root of the hidden width.
        hidden_in_heads: whether the config demands that the number of query heads divides the
            hidden width, although heads have a width of their own.
        rotary_by_hidden: whether the config demands lists of rotary factors as long as the
            hidden width and the number of query heads say, although heads have their own width.
        depth, groups, query_heads, hidden: config fields with the number of layers, of K/V heads
            and of query heads in a layer, and with the hidden width.
        per_layer: config fields that, where present, hold one entry a layer.
        first_layers: config fields that, where present, hold a number of first layers.
        needs: config fields that must be absent or have this value.
    """

    layer_weights: tuple[Weight, ...]
    norms: tuple[str, ...]
    norm_readers: Mapping[str, str]
    mlp_output: str | None = "mlp.down_proj"
    experts: Experts | None = None
    mlp: str = "intermediate_size"
    layers: str = "model.layers"
    final_norm: str = "model.norm"
    embedding: Weight = Weight("model.embed_tokens.weight", (("vocab",), ("hidden",)))
    head: Weight = Weight("lm_head.weight", (("vocab",), ("hidden",)))
    attention_output: str = "self_attn.o_proj"
    norm_offset: float = 0.0
    scaled_embedding: bool = False
    hidden_in_heads: bool = False
    rotary_by_hidden: bool = False
    depth: str = "num_hidden_layers"
    groups: str = "num_key_value_heads"
    query_heads: str = "num_attention_heads"
    hidden: str = "hidden_size"
    per_layer: tuple[str, ...] = ("layer_types",)
    first_layers: tuple[str, ...] = ("max_window_layers",)
    needs: Mapping[str, object] = field(default_factory=lambda: {"quantization_config": None})

    @property
    def final_norm_weight(self) -> Weight:
        """The weight of the norm before the LM head, named from the model."""
        return Weight(f"{self.final_norm}.weight", (_HIDDEN,))

    def norm_paths(self, layers: Iterable[int]) -> tuple[str, ...]:
        """Paths, from the model, of all norms over the hidden width in these layers and the last.

        Args:
            layers: numbers of layers.
        """
        inner = (f"{self.layers}.{layer}.{norm}" for layer in layers for norm in self.norms)
        return (*inner, self.final_norm)


_HIDDEN: Dimension = ("hidden",)
_QUERY: Dimension = ("query",)
_KEY_VALUE: Dimension = ("key_value",)
_HEAD: Dimension = ("head",)
_MLP: Dimension = ("mlp",)
_EXPERT: Dimension = ("expert",)
_QUERY_KEY_VALUE: Dimension = ("query", "key_value", "key_value")
_GATE_UP: Dimension = ("mlp", "mlp")

_TWO_NORMS = ("input_layernorm", "post_attention_layernorm")
_FOUR_NORMS = (*_TWO_NORMS, "pre_feedforward_layernorm", "post_feedforward_layernorm")

_TWO_NORM_READERS = {"input_layernorm": "self_attn", "post_attention_layernorm": "mlp"}
_FOUR_NORM_READERS = {"input_layernorm": "self_attn", "pre_feedforward_layernorm": "mlp"}

_ATTENTION = (
    Weight("self_attn.q_proj.weight", (_QUERY, _HIDDEN)),
    Weight("self_attn.k_proj.weight", (_KEY_VALUE, _HIDDEN)),
    Weight("self_attn.v_proj.weight", (_KEY_VALUE, _HIDDEN)),
    Weight("self_attn.o_proj.weight", (_HIDDEN, _QUERY)),
)
_FUSED_ATTENTION = (
    Weight("self_attn.qkv_proj.weight", (_QUERY_KEY_VALUE, _HIDDEN)),
    Weight("self_attn.o_proj.weight", (_HIDDEN, _QUERY)),
)
_ATTENTION_BIASES = (
    Weight("self_attn.q_proj.bias", (_QUERY,), only_if="attention_bias"),
    Weight("self_attn.k_proj.bias", (_KEY_VALUE,), only_if="attention_bias"),
    Weight("self_attn.v_proj.bias", (_KEY_VALUE,), only_if="attention_bias"),
    Weight("self_attn.o_proj.bias", (_HIDDEN,), only_if="attention_bias"),
)
_QWEN2_BIASES = (
    Weight("self_attn.q_proj.bias", (_QUERY,)),
    Weight("self_attn.k_proj.bias", (_KEY_VALUE,)),
    Weight("self_attn.v_proj.bias", (_KEY_VALUE,)),
)
_QUERY_KEY_NORMS = (
    Weight("self_attn.q_norm.weight", (_HEAD,)),
    Weight("self_attn.k_norm.weight", (_HEAD,)),
)
_GATED_MLP = (
    Weight("mlp.gate_proj.weight", (_MLP, _HIDDEN)),
    Weight("mlp.up_proj.weight", (_MLP, _HIDDEN)),
    Weight("mlp.down_proj.weight", (_HIDDEN, _MLP)),
)
_FUSED_MLP = (
    Weight("mlp.gate_up_proj.weight", (_GATE_UP, _HIDDEN)),
    Weight("mlp.down_proj.weight", (_HIDDEN, _MLP)),
)
_MLP_BIASES = (
    Weight("mlp.gate_proj.bias", (_MLP,), only_if="mlp_bias"),
    Weight("mlp.up_proj.bias", (_MLP,), only_if="mlp_bias"),
    Weight("mlp.down_proj.bias", (_HIDDEN,), only_if="mlp_bias"),
)
_EXPERT_MLPS = (
    Weight("mlp.gate.weight", (_EXPERT, _HIDDEN)),
    Weight("mlp.experts.gate_up_proj", (_EXPERT, _GATE_UP, _HIDDEN)),
    Weight("mlp.experts.down_proj", (_EXPERT, _HIDDEN, _MLP)),
)


def _norm_weights(norms: tuple[str, ...]) -> tuple[Weight, ...]:
    return tuple(Weight(f"{norm}.weight", (_HIDDEN,)) for norm in norms)


def _llama_like(*extra_weights: Weight, hidden_in_heads: bool = False) -> Family:
    return Family(
        layer_weights=_norm_weights(_TWO_NORMS) + _ATTENTION + _GATED_MLP + extra_weights,
        norms=_TWO_NORMS,
        norm_readers=_TWO_NORM_READERS,
        hidden_in_heads=hidden_in_heads,
    )


def _gemma_like(*extra_weights: Weight) -> Family:
    weights = _norm_weights(_FOUR_NORMS) + _ATTENTION + _GATED_MLP + _ATTENTION_BIASES
    return Family(
        layer_weights=weights + extra_weights,
        norms=_FOUR_NORMS,
        norm_readers=_FOUR_NORM_READERS,
        norm_offset=1.0,
        scaled_embedding=True,
        hidden_in_heads=True,
    )


FAMILIES: Mapping[str, Family] = {
    "llama": _llama_like(*_ATTENTION_BIASES, *_MLP_BIASES, hidden_in_heads=True),
    "mistral": _llama_like(),
    "qwen2": _llama_like(*_QWEN2_BIASES),
    "qwen3": _llama_like(*_QUERY_KEY_NORMS, *_ATTENTION_BIASES),
    "gemma2": _gemma_like(),
    "gemma3_text": _gemma_like(*_QUERY_KEY_NORMS),
    "phi3": Family(
        layer_weights=_norm_weights(_TWO_NORMS) + _FUSED_ATTENTION + _FUSED_MLP,
        norms=_TWO_NORMS,
        norm_readers=_TWO_NORM_READERS,
        rotary_by_hidden=True,
    ),
    "qwen3_moe": Family(
        layer_weights=_norm_weights(_TWO_NORMS)
        + _ATTENTION
        + _ATTENTION_BIASES
        + _QUERY_KEY_NORMS
        + _EXPERT_MLPS,
        norms=_TWO_NORMS,
        norm_readers=_TWO_NORM_READERS,
        mlp_output=None,
        experts=Experts(
            module="mlp.experts",
            input_weight="gate_up_proj",
            output_weight="down_proj",
            activation="act_fn",
            count="num_experts",
            active="num_experts_per_tok",
            # PyTorch's grouped product, the default in transformers, wants rows of 16 bytes.
            multiple=8,
        ),
        mlp="moe_intermediate_size",
        # Layers with and without experts have no common shape.
        needs={"quantization_config": None, "mlp_only_layers": [], "decoder_sparse_step": 1},
    ),
}
"""Supported families by the `model_type` of their config."""


def family_of(config: PreTrainedConfig) -> Family:
    """The layout of a model.

    Raises:
        InputError: the family is not supported, or not with these settings.
    """
    if config.model_type not in FAMILIES:
        raise InputError(
            f"config.json: models of type {config.model_type!r} cannot be pruned; "
            f"supported are {', '.join(FAMILIES)}."
        )
    family = FAMILIES[config.model_type]
    for name, needed in family.needs.items():
        value = getattr(config, name, needed)
        if value != needed:
            raise InputError(
                f"config.json: a {config.model_type} model with {name} {value!r} cannot be "
                f"pruned; supported is {needed!r}."
            )
    return family


def present(weights: tuple[Weight, ...], config: PreTrainedConfig) -> list[Weight]:
    """The weights that a model with this config has."""
    return [w for w in weights if w.only_if is None or getattr(config, w.only_if)]


def head_width(config: PreTrainedConfig) -> int:
    """Channels of one attention head."""
    family = family_of(config)
    written: int | None = getattr(config, "head_dim", None)  # Qwen2, Qwen3-MoE, Phi-3: no field
    return written or getattr(config, family.hidden) // getattr(config, family.query_heads)
