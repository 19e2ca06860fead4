"""Importance by the definitions: one text at a time, without padding, in fp64, everything held."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel


def seen(
    model: PreTrainedModel, sequences: Sequence[Sequence[int]], modules: Sequence[nn.Module]
) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """First input and output of each module for each text, both [module][text], [tokens, ...]."""
    inputs: list[list[Tensor]] = [[] for _ in modules]
    outputs: list[list[Tensor]] = [[] for _ in modules]

    def hook(number: int):
        def keep(_module, received, returned):
            inputs[number].append(received[0].squeeze(0).double())
            outputs[number].append(returned.squeeze(0).double())

        return keep

    handles = [module.register_forward_hook(hook(n)) for n, module in enumerate(modules)]
    with torch.no_grad():
        for sequence in sequences:
            model.model(torch.tensor([sequence]))
    for handle in handles:
        handle.remove()
    return inputs, outputs


def hidden_stream(model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> list[Tensor]:
    """Hidden states before each layer and after the last, of all tokens: each [tokens, hidden]."""
    inputs, outputs = seen(model, sequences, list(model.model.layers))
    return [torch.cat(texts) for texts in (*inputs, outputs[-1])]


def angle(a: Tensor, b: Tensor) -> float:
    """Mean angle between rows in half turns, by Kahan's formula, which has no cancellation."""
    a, b = functional.normalize(a, dim=-1), functional.normalize(b, dim=-1)
    halves = torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))
    return (2 * halves / torch.pi).mean().item()


def mean_absolute(texts: Sequence[Tensor]) -> Tensor:
    """E|a_c| over all tokens, [channels]."""
    return torch.cat(list(texts)).abs().mean(dim=0)


def text_norm(texts: Sequence[Tensor]) -> Tensor:
    """The L2 norm over texts of a text's mean |a_c|, [channels]."""
    return torch.stack([text.abs().mean(dim=0) for text in texts]).norm(dim=0)


def mlp_activations(model: PreTrainedModel, sequences) -> list[list[list[Tensor]]]:
    """Activations of the MLP channels, [layer][expert][text], each [tokens, channels]."""
    mlps = [layer.mlp for layer in model.model.layers]
    if not hasattr(mlps[0], "experts"):
        inputs, _ = seen(model, sequences, [mlp.down_proj for mlp in mlps])
        return [[texts] for texts in inputs]
    inputs, _ = seen(model, sequences, mlps)
    return [
        [[_expert(mlp, e, text) for text in texts] for e in range(mlp.experts.num_experts)]
        for mlp, texts in zip(mlps, inputs, strict=True)
    ]


def routing(model: PreTrainedModel, sequences) -> list[list[Tensor]]:
    """Weights of the experts, 0 where not routed, [layer][text], each [tokens, experts]."""
    mlps = [layer.mlp for layer in model.model.layers]
    inputs, _ = seen(model, sequences, mlps)
    return [[_routed(mlp, text) for text in texts] for mlp, texts in zip(mlps, inputs, strict=True)]


def _expert(mlp: nn.Module, expert: int, text: Tensor) -> Tensor:
    gate, up = mlp.experts.gate_up_proj[expert].double().chunk(2)
    activations = functional.silu(text @ gate.T) * (text @ up.T)
    return activations.detach() * (_routed(mlp, text)[:, expert, None] > 0)


def _routed(mlp: nn.Module, text: Tensor) -> Tensor:
    chances = (text @ mlp.gate.weight.double().T).softmax(dim=-1).detach()
    weights, chosen = chances.topk(mlp.gate.top_k, dim=-1)
    if mlp.gate.norm_topk_prob:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return torch.zeros_like(chances).scatter(1, chosen, weights)
