"""Pruning plans that keep a random part, and models in which the other part is silent."""

import random
from dataclasses import replace

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from distillscale.pruning.families import family_of
from distillscale.pruning.plan import KeptLayer, PruningPlan
from distillscale.pruning.shape import flops_per_token, params_of, shape_of


def random_plan(config: PreTrainedConfig, seed: int = 0, **sizes: int) -> PruningPlan:
    """A plan to the sizes given; in each layer other channels, groups, heads and experts stay."""
    before = shape_of(config)
    after = replace(before, **sizes)
    draw = random.Random(seed)

    def kept(count: int, available: int) -> tuple[int, ...]:
        return tuple(sorted(draw.sample(range(available), count)))

    layers = tuple(
        KeptLayer(
            layer=layer,
            channels=tuple(kept(after.mlp, before.mlp) for _ in range(after.experts)),
            groups=kept(after.groups, before.groups),
            heads=tuple(kept(after.heads, before.heads) for _ in range(after.groups)),
            experts=kept(after.experts, before.experts),
        )
        for layer in kept(after.layers, before.layers)
    )
    scale = (before.hidden / after.hidden) ** 0.5  # all energy is in the channels that stay
    norms = family_of(config).norm_paths(range(before.layers)) if scale != 1 else ()
    return PruningPlan(
        model_type=config.model_type,
        before=before,
        after=after,
        params_before=params_of(config, before),
        params_after=params_of(config, after),
        flops_before=flops_per_token(config, before),
        flops_after=flops_per_token(config, after),
        layers=layers,
        hidden=kept(after.hidden, before.hidden),
        norm_scales=dict.fromkeys(norms, scale),
    )


def composed(config: PreTrainedConfig, first: PruningPlan, second: PruningPlan) -> PruningPlan:
    """One plan that does what two plans do one after the other."""

    def joined(later: KeptLayer) -> KeptLayer:
        earlier = first.layers[later.layer]
        return KeptLayer(
            layer=earlier.layer,
            channels=tuple(
                tuple(earlier.channels[expert][c] for c in channels)
                for expert, channels in zip(later.experts, later.channels, strict=True)
            ),
            groups=tuple(earlier.groups[g] for g in later.groups),
            heads=tuple(
                tuple(earlier.heads[g][h] for h in heads)
                for g, heads in zip(later.groups, later.heads, strict=True)
            ),
            experts=tuple(earlier.experts[e] for e in later.experts),
        )

    norms = family_of(config).norm_paths(range(first.before.layers))
    scale = (first.before.hidden / second.after.hidden) ** 0.5
    return replace(
        first,
        after=second.after,
        params_after=second.params_after,
        flops_after=second.flops_after,
        layers=tuple(joined(layer) for layer in second.layers),
        hidden=tuple(first.hidden[c] for c in second.hidden),
        norm_scales=dict.fromkeys(norms, scale) if scale != 1 else {},
    )


@torch.no_grad()
def silence(model: PreTrainedModel, plan: PruningPlan) -> None:
    """Make everything that the plan removes do nothing."""
    lost_hidden = _others(plan.hidden, plan.before.hidden)
    model.get_input_embeddings().weight[:, lost_hidden] = 0
    kept = {layer.layer: layer for layer in plan.layers}
    for number, layer in enumerate(model.model.layers):
        outputs = _outputs(layer)
        for output in outputs:
            output[..., lost_hidden, :] = 0
        for bias in (p for name, p in layer.named_parameters() if name.endswith(_OUTPUT_BIASES)):
            bias[lost_hidden] = 0
            if number not in kept:
                bias.zero_()
        if number in kept:
            _silence_within(layer, kept[number], plan)
        else:
            for output in outputs:
                output.zero_()


_OUTPUT_BIASES = ("o_proj.bias", "down_proj.bias")


def _outputs(layer: torch.nn.Module) -> list[torch.Tensor]:
    """Weights [..., hidden, input] whose outputs are added to the residual."""
    mlp = layer.mlp.experts.down_proj if hasattr(layer.mlp, "experts") else layer.mlp.down_proj
    return [layer.self_attn.o_proj.weight, mlp if isinstance(mlp, torch.Tensor) else mlp.weight]


def _silence_within(layer: torch.nn.Module, kept: KeptLayer, plan: PruningPlan) -> None:
    attention, mlp = _outputs(layer)
    before = plan.before
    by_head = attention.view(before.hidden, before.groups, before.heads, -1)
    for group in range(before.groups):
        heads = dict(zip(kept.groups, kept.heads, strict=True)).get(group, ())
        by_head[:, group, _others(heads, before.heads)] = 0
    mlp = mlp.view(before.experts, before.hidden, before.mlp)
    for expert, channels in zip(kept.experts, kept.channels, strict=True):
        mlp[expert][:, _others(channels, before.mlp)] = 0
    lost_experts = _others(kept.experts, before.experts)
    if lost_experts:
        _never_route(layer, lost_experts)


def _never_route(layer: torch.nn.Module, experts: list[int]) -> None:
    """Needs a hidden channel 0 that is positive for all tokens (`positive_channel`)."""
    layer.mlp.gate.weight[experts] = 0
    layer.mlp.gate.weight[experts, 0] = -1e4


@torch.no_grad()
def positive_channel(model: PreTrainedModel) -> None:
    """Hold hidden channel 0 at a positive constant, throughout the model."""
    model.get_input_embeddings().weight[:, 0] = 1
    for layer in model.model.layers:
        layer.post_attention_layernorm.weight[0] = 1
        for output in _outputs(layer):
            output[..., 0, :] = 0


def _others(kept: tuple[int, ...], available: int) -> list[int]:
    return [number for number in range(available) if number not in kept]
