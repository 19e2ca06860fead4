"""What calibration data says about the importance of layers and MLP channels."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from distillscale.errors import DistillscaleError, InputError
from distillscale.models.batches import length_sorted_batches, pad
from distillscale.models.forward import hidden_states
from distillscale.pruning.families import family_of
from distillscale.pruning.shape import Shape, shape_of


@dataclass(frozen=True)
class Importance:
    """Scores from one pass over calibration data; higher is more important.

    Attributes:
        layers: block influence of each layer, 1 - E[cos(h_in, h_out)], in [0, 2] up to rounding
            (ShortGPT, arXiv 2403.03853). 0 is a layer that does not turn the hidden state.
        channels: for each layer the mean absolute activation of each MLP channel, that is of the
            input of the down projection (Minitron, arXiv 2407.14679).
        tokens: calibration tokens behind the scores, without padding.
    """

    layers: tuple[float, ...]
    channels: tuple[tuple[float, ...], ...]
    tokens: int


@torch.no_grad()
def measure_importance(
    model: PreTrainedModel, sequences: Sequence[Sequence[int]], pad_id: int, batch_size: int
) -> Importance:
    """Score layers and MLP channels in one streaming pass over token sequences.

    Sums are kept in fp32 and padding enters none of them; memory depends on the batch, not on
    the number of sequences. The model is left as it was.

    Args:
        sequences: token ids, one sequence a calibration text.
        pad_id: any id of the vocabulary; it has no influence on the scores.

    Raises:
        InputError: there is no calibration token, or the family is not supported.
        DistillscaleError: the model's activations are not finite.
    """
    lengths = [len(sequence) for sequence in sequences]
    if not lengths or min(lengths) == 0:
        raise InputError(
            f"calibration sequences: {len(lengths)} given, {lengths.count(0)} of them without "
            "tokens; at least one is needed and every one needs a token."
        )
    sums = _Sums(shape_of(model.config), model.device)
    with _listening(model, sums):
        for rows in length_sorted_batches(lengths, batch_size):
            ids, mask = (t.to(model.device) for t in pad([sequences[row] for row in rows], pad_id))
            sums.start_batch(mask)
            hidden_states(model, ids, mask)
    return sums.means()


class _Sums:
    """Running sums over the real tokens of all batches so far."""

    def __init__(self, shape: Shape, device: torch.device) -> None:
        self.turns = torch.zeros(shape.layers, device=device)
        self.activations = torch.zeros(shape.layers, shape.mlp, device=device)
        self.tokens = 0
        self.real = torch.empty(0, dtype=torch.long, device=device)

    def start_batch(self, mask: Tensor) -> None:
        """Note which positions of the coming batch are tokens; mask is [batch, length]."""
        self.real = mask.flatten().nonzero().squeeze(1)
        self.tokens += len(self.real)

    def add_layer(self, layer: int, entering: Tensor, leaving: Tensor) -> None:
        """Add the hidden states around a layer, both [batch, length, hidden]."""
        cosine = functional.cosine_similarity(self._tokens(entering), self._tokens(leaving), dim=-1)
        self.turns[layer] += (1 - cosine).sum()

    def add_channels(self, layer: int, activations: Tensor) -> None:
        """Add the MLP activations of a layer, [batch, length, channels]."""
        self.activations[layer] += self._tokens(activations).abs().sum(dim=0)

    def means(self) -> Importance:
        """The scores of all tokens so far."""
        layers = tuple((self.turns / self.tokens).tolist())
        channels = tuple(tuple(row) for row in (self.activations / self.tokens).tolist())
        for number, scores in enumerate(zip(layers, channels, strict=True)):
            if not math.isfinite(scores[0]) or not all(map(math.isfinite, scores[1])):
                raise DistillscaleError(
                    f"Layer {number} of the model has activations that are not finite on the "
                    "calibration data, so nothing can be said about its importance."
                )
        return Importance(layers, channels, self.tokens)

    def _tokens(self, values: Tensor) -> Tensor:
        return values.flatten(0, 1).index_select(0, self.real).float()


@contextmanager
def _listening(model: PreTrainedModel, sums: _Sums) -> Iterator[None]:
    """Feed `sums` from every forward pass, with dropout off; undone on leaving."""
    family = family_of(model.config)
    training = model.training
    handles = []
    model.eval()
    try:
        for index, layer in enumerate(model.get_submodule(family.layers).children()):
            handles.append(layer.register_forward_hook(_layer_hook(sums, index)))
            mlp_output = layer.get_submodule(family.mlp_output)
            handles.append(mlp_output.register_forward_pre_hook(_channel_hook(sums, index)))
        yield
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)


def _layer_hook(sums: _Sums, layer: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    return lambda _module, inputs, output: sums.add_layer(layer, inputs[0], output)


def _channel_hook(sums: _Sums, layer: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    return lambda _module, inputs: sums.add_channels(layer, inputs[0])
