"""Carry out a pruning plan: a new, ordinary Hugging Face model with fewer weights."""

import copy

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from distillscale.errors import InputError
from distillscale.pruning.families import WeightAxis, family_of, present
from distillscale.pruning.plan import PruningPlan
from distillscale.pruning.shape import Shape, params_of, shape_of


@torch.no_grad()
def apply_plan(model: PreTrainedModel, plan: PruningPlan) -> PreTrainedModel:
    """Build the pruned model; `model` is not changed and shares no weights with the result.

    The result is built anew from the changed config, so that whatever a model derives from its
    config (each attention's `layer_idx`, the cache's layout) is right by construction. Data type,
    device, attention implementation, training mode and generation config are those of `model`.

    Raises:
        InputError: the plan was made for another family or shape.
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
    family = family_of(config)
    pruned = copy.deepcopy(config)
    setattr(pruned, family.depth, plan.after.layers)
    setattr(pruned, family.mlp, plan.after.mlp)
    for field in family.per_layer:
        entries = getattr(config, field, None)
        if entries is not None:
            setattr(pruned, field, [entries[layer] for layer in plan.kept_layers])
    return pruned


def _kept_weights(model: PreTrainedModel, plan: PruningPlan) -> dict[str, Tensor]:
    """The state dict of the pruned model, under its new layer numbers."""
    family = family_of(model.config)
    state = model.state_dict()
    kept = {name: t for name, t in state.items() if not name.startswith(f"{family.layers}.")}
    for new, old in enumerate(plan.kept_layers):
        channels = torch.tensor(plan.kept_channels[new], device=model.device)
        for weight in present(family.layer_weights, model.config):
            tensor = state[f"{family.layers}.{old}.{weight.name}"]
            kept[f"{family.layers}.{new}.{weight.name}"] = _cut(
                tensor, weight.axes, {"mlp": channels}
            )
    return kept


def _cut(tensor: Tensor, axes: tuple[WeightAxis, ...], kept: dict[WeightAxis, Tensor]) -> Tensor:
    for dimension, axis in enumerate(axes):
        if axis in kept:
            tensor = tensor.index_select(dimension, kept[axis])
    return tensor


def _check_fits(config: PreTrainedConfig, plan: PruningPlan) -> None:
    shape = shape_of(config)
    found = (config.model_type, shape, params_of(config, shape))
    if found != (plan.model_type, plan.before, plan.params_before):
        raise InputError(
            f"pruning plan: made for a {plan.model_type} model of {_sizes(plan.before)} and "
            f"{plan.params_before:,} parameters, not for this {config.model_type} model of "
            f"{_sizes(shape)} and {found[2]:,} parameters."
        )


def _sizes(shape: Shape) -> str:
    return f"{shape.layers} layers, {shape.mlp} MLP channels"
