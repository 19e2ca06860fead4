"""Carry out a pruning plan: a new, ordinary Hugging Face model with fewer weights."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from distillscale.errors import InputError
from distillscale.pruning.families import Weight, WeightAxis, family_of, head_width, present
from distillscale.pruning.plan import KeptLayer, PruningPlan
from distillscale.pruning.shape import axis_sizes, check_loadable, params_of, shape_of

Kept = Mapping[WeightAxis, Tensor]
"""Positions on an axis that stay; [experts, channels] for `mlp`, one dimension for all others."""


@torch.no_grad()
def apply_plan(model: PreTrainedModel, plan: PruningPlan) -> PreTrainedModel:
    """Build the pruned model; `model` is not changed and shares no weights with the result.

    The result is built anew from the changed config, so that whatever a model derives from its
    config (each attention's `layer_idx`, the cache's layout) is right by construction. Data type,
    device, attention implementation, training mode and generation config are those of `model`.

    Where hidden channels go, the plan's factors are worked into the norms, and the embeddings of
    a family that scales them by the root of the hidden width are corrected for its change. The
    config's epsilon of the norms stays as it is: compared with an exact correction it then counts
    as if multiplied by before.hidden / after.hidden, which matters only to a norm whose mean
    square is near epsilon.

    Raises:
        InputError: the plan was made for another family or shape, or its result could not be
            loaded again.
    """
    _check_fits(model.config, plan)
    config = pruned_config(model.config, plan)
    # Building in the final dtype, not converting afterwards, leaves the rotary buffers in fp32.
    with no_init_weights(), torch.device(model.device):
        pruned = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    pruned.tie_weights()  # `no_init_weights` skips it
    pruned.load_state_dict(_kept_weights(model, plan))
    pruned.generation_config = copy.deepcopy(model.generation_config)
    return pruned.train(model.training)


def pruned_config(config: PreTrainedConfig, plan: PruningPlan) -> PreTrainedConfig:
    """The config of the pruned model; `config` is not changed."""
    family, after = family_of(config), plan.after
    pruned = copy.deepcopy(config)
    # Families without this field divide the hidden width by the number of heads instead.
    pruned.head_dim = head_width(config)
    setattr(pruned, family.depth, after.layers)
    setattr(pruned, family.mlp, after.mlp)
    setattr(pruned, family.groups, after.groups)
    setattr(pruned, family.query_heads, after.groups * after.heads)
    setattr(pruned, family.hidden, after.hidden)
    if family.experts:
        setattr(pruned, family.experts.count, after.experts)
    for field in family.per_layer:
        entries = getattr(config, field, None)
        if entries is not None:
            setattr(pruned, field, [entries[layer] for layer in plan.kept_layers])
    for field in family.first_layers:
        first = getattr(config, field, None)
        if first is not None:
            setattr(pruned, field, sum(layer < first for layer in plan.kept_layers))
    return pruned


def _kept_weights(model: PreTrainedModel, plan: PruningPlan) -> dict[str, Tensor]:
    """The state dict of the pruned model, under its new layer numbers."""
    family, config = family_of(model.config), model.config
    state, sizes = model.state_dict(), axis_sizes(config)
    hidden: Kept = {"hidden": torch.tensor(plan.hidden)}
    kept = {
        weight.name: _cut(state[weight.name], weight, hidden, sizes)
        for weight in (family.embedding, family.head, family.final_norm_weight)
    }
    for new, layer in enumerate(plan.layers):
        positions = {**hidden, **_positions(layer, plan.before.heads, sizes)}
        old_path, new_path = (f"{family.layers}.{number}" for number in (layer.layer, new))
        for weight in present(family.layer_weights, config):
            tensor = state[f"{old_path}.{weight.name}"]
            kept[f"{new_path}.{weight.name}"] = _cut(tensor, weight, positions, sizes)
    _rescale(kept, config, plan)
    return kept


def _positions(layer: KeptLayer, heads: int, sizes: Mapping[WeightAxis, int]) -> Kept:
    """Positions that stay on the axes of one layer; `heads` is the number in a group before."""
    width = torch.arange(sizes["head"])
    query_heads = [
        group * heads + head
        for group, kept_heads in zip(layer.groups, layer.heads, strict=True)
        for head in kept_heads
    ]
    return {
        "query": (torch.tensor(query_heads)[:, None] * len(width) + width).flatten(),
        "key_value": (torch.tensor(layer.groups)[:, None] * len(width) + width).flatten(),
        "mlp": torch.tensor(layer.channels),
        "expert": torch.tensor(layer.experts),
    }


def _cut(tensor: Tensor, weight: Weight, kept: Kept, sizes: Mapping[WeightAxis, int]) -> Tensor:
    """The part of a weight that stays."""
    if weight.dimensions[0] == ("expert",):
        inner = Weight(weight.name, weight.dimensions[1:])
        own = [{**kept, "mlp": channels[None]} for channels in kept["mlp"]]
        experts = zip(kept["expert"].tolist(), own, strict=True)
        return torch.stack([_cut(tensor[e], inner, positions, sizes) for e, positions in experts])
    for dimension, axes in enumerate(weight.dimensions):
        stays, start = [], 0
        for axis in axes:
            stays.append(start + kept.get(axis, torch.arange(sizes[axis])).flatten())
            start += sizes[axis]
        positions = torch.cat(stays)
        if len(positions) < tensor.shape[dimension]:  # else it would only copy the weight
            tensor = tensor.index_select(dimension, positions.to(tensor.device))
    return tensor


def _rescale(kept: dict[str, Tensor], config: PreTrainedConfig, plan: PruningPlan) -> None:
    """Make good for the change of the hidden width in norms and scaled embeddings."""
    if plan.before.hidden == plan.after.hidden:
        return
    family = family_of(config)
    before, after = family.norm_paths(plan.kept_layers), family.norm_paths(range(len(plan.layers)))
    scales = {new: plan.norm_scales[old] for old, new in zip(before, after, strict=True)}
    if family.scaled_embedding:
        table = kept[family.embedding.name]
        # The models round the root to the weights' type before they multiply with it.
        roots = torch.tensor([plan.before.hidden, plan.after.hidden]).sqrt().to(table.dtype)
        correction = (roots[0].double() / roots[1].double()).item()
        kept[family.embedding.name] = table * correction
        if config.tie_word_embeddings:
            kept[family.head.name] = kept[family.embedding.name]
            scales[family.final_norm] /= correction
    for norm, scale in scales.items():
        weight = kept[f"{norm}.weight"]
        scaled = (weight.double() + family.norm_offset) * scale - family.norm_offset
        kept[f"{norm}.weight"] = scaled.to(weight.dtype)


def _check_fits(config: PreTrainedConfig, plan: PruningPlan) -> None:
    shape = shape_of(config)
    found = (config.model_type, shape, params_of(config, shape))
    if found != (plan.model_type, plan.before, plan.params_before):
        raise InputError(
            f"pruning plan: made for a {plan.model_type} model of {plan.before} and "
            f"{plan.params_before:,} parameters, not for this {config.model_type} model of "
            f"{shape} and {found[2]:,} parameters."
        )
    check_loadable(config, plan.after)
