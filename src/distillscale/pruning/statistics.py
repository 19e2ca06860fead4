"""What one pass over calibration data adds up, in memory that the amount of data does not change.

A batch is summed in fp32 whatever the model's precision; running totals over batches are fp64,
because an fp32 total of millions of tokens would round away what a batch adds.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig, PreTrainedModel

from distillscale.models.batches import length_sorted_batches, pad
from distillscale.models.forward import hidden_states
from distillscale.pruning.families import Experts, family_of
from distillscale.pruning.shape import axis_sizes, shape_of

Statistic = Literal["turns", "angles", "mlp", "attention", "routing", "norms", "norm_energy"]
"""What can be collected, see Statistics."""

Places = Literal["mlp", "attention", "routing", "norms"]
"""Where activation sizes are collected."""

_ANGLE_NUMBERS = 2**22
"""Numbers that a chunk of tokens has in all its hidden states while angles are measured: 32 MiB."""


@dataclass(frozen=True)
class Batch:
    """Where the tokens of a padded batch are.

    Attributes:
        mask: [texts, length] in fp32, 1 at tokens and 0 at padding.
        lengths: tokens of each text, [texts] in fp32.
        full: whether there is no padding.
    """

    mask: Tensor
    lengths: Tensor
    full: bool

    @staticmethod
    def of(mask: Tensor) -> "Batch":
        """Read an attention mask, [texts, length]."""
        return Batch(mask.float(), mask.sum(dim=1).float(), bool(mask.all()))

    def text_sums(self, values: Tensor) -> Tensor:
        """Sum of |value| over the tokens of each text: [texts, length, ...] to [texts, ...]."""
        sizes = values.abs().float()
        if not self.full:
            sizes = sizes.mul_(self.mask[..., None])
        return sizes.sum(dim=1)


class ChannelSums:
    """Running sums of activation sizes |a|, for the channels of many places at once.

    Attributes:
        absolute: sum over tokens of |a|, [*places, channels].
        text_squares: sum over texts of the square of the text's mean |a|, [*places, channels].
    """

    def __init__(self, places: tuple[int, ...], channels: int, device: torch.device) -> None:
        self.absolute = torch.zeros(*places, channels, dtype=torch.float64, device=device)
        self.text_squares = torch.zeros_like(self.absolute)

    def add(self, place: int | tuple[int, int], sums: Tensor, batch: Batch) -> None:
        """Add the sums of |a| over the tokens of each text of a batch, [texts, channels]."""
        self.absolute[place] += sums.sum(dim=0)
        self.text_squares[place] += (sums / batch.lengths[:, None]).square().sum(dim=0)

    def text_norm(self) -> Tensor:
        """L2 norm over texts of the mean over a text's tokens of |a|, [*places, channels]."""
        return self.text_squares.sqrt()


class Statistics:
    """Running sums over the tokens of all batches so far.

    Attributes:
        wanted: what is collected; the rest stays zero or absent.
        tokens: number of tokens.
        turns: for each layer the sum of 1 - cos(h_in, h_out).
        angles: sum of the angle between the hidden states before layers i and j in half turns,
            [layers + 1, layers + 1]; the last is the output of the last layer.
        channels: sizes of activations where they are collected:
            mlp: input of the MLP output projection, [layers, experts, channels]; in a mixture an
                expert's channels are 0 at tokens that are not routed to it;
            attention: input of the attention output projection, [layers, query channels];
            routing: weight of each expert, 0 where a token is not routed to it, [layers, experts];
            norms: output of the norms over the hidden width that projections read, [norms, hidden],
                in the order of `reading_norms`.
        norm_energy: sum of x_c^2 / sum_c x_c^2 of the input x of every norm over the hidden width,
            [norms, hidden], in the order of `Family.norm_paths`.
    """

    def __init__(
        self, config: PreTrainedConfig, wanted: Collection[Statistic], device: torch.device
    ) -> None:
        shape, sizes = shape_of(config), axis_sizes(config)
        layers, norms = range(shape.layers), family_of(config).norm_paths(range(shape.layers))
        places: dict[Places, tuple[tuple[int, ...], int]] = {
            "mlp": ((shape.layers, shape.experts), shape.mlp),
            "attention": ((shape.layers,), sizes["query"]),
            "routing": ((shape.layers,), shape.experts),
            "norms": ((len(reading_norms(config)),), shape.hidden),
        }
        self.wanted = frozenset(wanted)
        self.tokens = 0
        self.turns = torch.zeros(len(layers), dtype=torch.float64, device=device)
        self.angles = torch.zeros((len(layers) + 1,) * 2, dtype=torch.float64, device=device)
        self.channels = {
            name: ChannelSums(*size, device) for name, size in places.items() if name in wanted
        }
        self.norm_energy = torch.zeros(len(norms), shape.hidden, dtype=torch.float64, device=device)
        self.batch = Batch.of(torch.ones(1, 1, device=device))

    def start_batch(self, mask: Tensor) -> None:
        """Note which positions of the coming batch are tokens; mask is [texts, length]."""
        self.batch = Batch.of(mask)
        self.tokens += int(mask.sum())

    def add_turn(self, layer: int, entering: Tensor, leaving: Tensor) -> None:
        """Add the hidden states around a layer, both [texts, length, hidden]."""
        cosine = functional.cosine_similarity(entering.float(), leaving.float(), dim=-1)
        self.turns[layer] += ((1 - cosine) * self.batch.mask).sum()

    def add_angles(self, states: Sequence[Tensor]) -> None:
        """Add the hidden states before and between all layers and after the last."""
        tokens = self.batch.mask.flatten().nonzero().squeeze(1)
        size = max(1, _ANGLE_NUMBERS // (len(states) * states[0].shape[-1]))
        for part in tokens.split(size):
            # In fp64, since the angle of nearly parallel vectors is lost in a cosine near 1.
            stack = torch.stack([s.flatten(0, 1)[part].double() for s in states], dim=1)
            unit = functional.normalize(stack, dim=-1)
            cosine = (unit @ unit.mT).clamp_(-1, 1)
            self.angles += cosine.arccos_().sum(dim=0) / math.pi

    def add_channels(self, name: Places, place: int | tuple[int, int], values: Tensor) -> None:
        """Add activations, [texts, length, channels]."""
        self.channels[name].add(place, self.batch.text_sums(values), self.batch)

    def add_routing(self, layer: int, experts: Tensor, weights: Tensor) -> None:
        """Add numbers and weights of the experts of each position, [positions, active]."""
        per_expert = weights.new_zeros(len(weights), self.channels["routing"].absolute.shape[-1])
        per_expert.scatter_(1, experts, weights)
        self.add_channels("routing", layer, per_expert.unflatten(0, self.batch.mask.shape))

    def add_expert(self, layer: int, expert: int, positions: Tensor, values: Tensor) -> None:
        """Add an expert's activations, [positions, channels], at these positions of the batch."""
        texts, length = self.batch.mask.shape
        sums = torch.zeros(texts, values.shape[-1], device=values.device)
        sums.index_add_(0, positions // length, values.abs().float())
        self.channels["mlp"].add((layer, expert), sums, self.batch)

    def add_norm_energy(self, norm: int, entering: Tensor) -> None:
        """Add the input of a norm, [texts, length, hidden]."""
        squares = entering.float().square()
        energy = squares.sum(dim=-1)
        silent = energy == 0  # such a token favours no channel: an equal share for each
        shares = (self.batch.mask / energy).masked_fill_(silent, 0)
        self.norm_energy[norm] += squares.mul_(shares[..., None]).sum(dim=(0, 1))
        self.norm_energy[norm] += (self.batch.mask * silent).sum() / squares.shape[-1]


def reading_norms(config: PreTrainedConfig) -> tuple[str, ...]:
    """Paths of the norms over the hidden width whose output projections read, the last included."""
    family = family_of(config)
    layers = range(shape_of(config).layers)
    inner = (f"{family.layers}.{layer}.{norm}" for layer in layers for norm in family.norm_readers)
    return (*inner, family.final_norm)


@torch.no_grad()
def collect(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    pad_id: int,
    batch_size: int,
    wanted: Collection[Statistic],
) -> Statistics:
    """Collect statistics in one pass over token sequences; the model is left as it was.

    Where nothing is wanted there is no pass.
    """
    statistics = Statistics(model.config, wanted, model.device)
    if not wanted:
        return statistics
    with _listening(model, statistics):
        for ids, mask in padded_batches(model, sequences, pad_id, batch_size):
            statistics.start_batch(mask)
            hidden_states(model, ids, mask)
    return statistics


def padded_batches(
    model: PreTrainedModel, sequences: Sequence[Sequence[int]], pad_id: int, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Token ids and attention mask of each batch, both [texts, length], on the model's device."""
    for rows in length_sorted_batches([len(sequence) for sequence in sequences], batch_size):
        ids, mask = pad([sequences[row] for row in rows], pad_id)
        yield ids.to(model.device), mask.to(model.device)


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Dropout off; undone on leaving."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@contextmanager
def _listening(model: PreTrainedModel, statistics: Statistics) -> Iterator[None]:
    """Feed `statistics` from every forward pass, with dropout off; undone on leaving."""
    handles: list[torch.utils.hooks.RemovableHandle] = []
    with evaluating(model):
        try:
            handles.extend(_hook_layers(model, statistics))
            handles.extend(_hook_norms(model, statistics))
            yield
        finally:
            for handle in handles:
                handle.remove()


def _hook_layers(
    model: PreTrainedModel, statistics: Statistics
) -> Iterator[torch.utils.hooks.RemovableHandle]:
    family, wanted = family_of(model.config), statistics.wanted
    states: list[Tensor] = []  # of the current batch, only for angles
    for index, layer in enumerate(model.get_submodule(family.layers).children()):
        if "turns" in wanted:
            yield layer.register_forward_hook(partial(_turn, statistics, index))
        if "angles" in wanted:
            yield layer.register_forward_hook(partial(_angle, statistics, states))
        if "attention" in wanted:
            projection = layer.get_submodule(family.attention_output)
            hook = partial(_projection_input, statistics, "attention", index)
            yield projection.register_forward_pre_hook(hook)
        if "mlp" in wanted and family.mlp_output is not None:
            projection = layer.get_submodule(family.mlp_output)
            hook = partial(_projection_input, statistics, "mlp", (index, 0))
            yield projection.register_forward_pre_hook(hook)
        if family.experts is not None and wanted & {"mlp", "routing"}:
            experts = layer.get_submodule(family.experts.module)
            hook = partial(_experts_input, statistics, family.experts, index)
            yield experts.register_forward_pre_hook(hook)


def _hook_norms(
    model: PreTrainedModel, statistics: Statistics
) -> Iterator[torch.utils.hooks.RemovableHandle]:
    family, wanted = family_of(model.config), statistics.wanted
    if "norms" in wanted:
        for index, path in enumerate(reading_norms(model.config)):
            hook = partial(_norm_output, statistics, index)
            yield model.get_submodule(path).register_forward_hook(hook)
    if "norm_energy" in wanted:
        layers = range(shape_of(model.config).layers)
        for index, path in enumerate(family.norm_paths(layers)):
            hook = partial(_norm_input, statistics, index)
            yield model.get_submodule(path).register_forward_pre_hook(hook)


_Inputs = tuple[Tensor, ...]


def _turn(
    statistics: Statistics, layer: int, _module: nn.Module, inputs: _Inputs, output: Tensor
) -> None:
    statistics.add_turn(layer, inputs[0], output)


def _angle(
    statistics: Statistics,
    states: list[Tensor],
    _module: nn.Module,
    inputs: _Inputs,
    output: Tensor,
) -> None:
    if not states:
        states.append(inputs[0])
    states.append(output)
    if len(states) == len(statistics.angles):
        statistics.add_angles(states)
        states.clear()


def _projection_input(
    statistics: Statistics,
    name: Places,
    place: int | tuple[int, int],
    _module: nn.Module,
    inputs: _Inputs,
) -> None:
    statistics.add_channels(name, place, inputs[0])


def _norm_output(
    statistics: Statistics, norm: int, _module: nn.Module, _inputs: _Inputs, output: Tensor
) -> None:
    statistics.add_channels("norms", norm, output)


def _norm_input(statistics: Statistics, norm: int, _module: nn.Module, inputs: _Inputs) -> None:
    statistics.add_norm_energy(norm, inputs[0])


def _experts_input(
    statistics: Statistics, layout: Experts, layer: int, module: nn.Module, inputs: _Inputs
) -> None:
    hidden, chosen, weights = inputs
    if "routing" in statistics.wanted:
        statistics.add_routing(layer, chosen, weights.float())
    if "mlp" in statistics.wanted:
        _add_experts(statistics, layout, layer, module, hidden, chosen)


def _add_experts(
    statistics: Statistics,
    layout: Experts,
    layer: int,
    module: nn.Module,
    hidden: Tensor,
    chosen: Tensor,
) -> None:
    """Compute each expert's activations anew: the module does not show them to any hook."""
    input_weight: Tensor = getattr(module, layout.input_weight)
    activation: Callable[[Tensor], Tensor] = getattr(module, layout.activation)
    real = statistics.batch.mask.flatten().bool()
    for expert in chosen[real].unique().tolist():
        positions = ((chosen == expert).any(dim=1) & real).nonzero().squeeze(1)
        gate, up = functional.linear(hidden[positions], input_weight[expert]).chunk(2, dim=-1)
        statistics.add_expert(layer, expert, positions, activation(gate) * up)
