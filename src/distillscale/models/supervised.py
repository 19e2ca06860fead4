"""Hidden states at the supervised positions of traces: those that predict completion tokens."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from distillscale.models.batches import pad
from distillscale.models.forward import hidden_states
from distillscale.tasks.trace import Trace


@dataclass(frozen=True)
class SupervisedStates:
    """Hidden states at the P supervised positions of traces, trace by trace, end to end.

    `final` [P, H] is what the head projects (after the last norm). `layers` holds one tensor
    [P, H] for each layer asked for, in the order asked: the residual stream after that layer
    (before the last norm, also for the last layer).
    """

    final: Tensor
    layers: tuple[Tensor, ...]


def supervised_states(
    model: PreTrainedModel, traces: Sequence[Trace], pad_id: int, layers: Sequence[int] = ()
) -> SupervisedStates:
    """One forward pass over traces, gathered at their supervised positions.

    Args:
        layers: numbers of the layers (from 0) after which the hidden states are wanted too.
    """
    ids, mask = pad([trace.token_ids for trace in traces], pad_id)
    with layer_outputs(model, layers) as after:
        final = hidden_states(model, ids.to(model.device), mask.to(model.device))
    return SupervisedStates(
        _gather(final, traces), tuple(_gather(after[layer], traces) for layer in layers)
    )


@contextmanager
def layer_outputs(model: PreTrainedModel, layers: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """While open, a forward pass leaves the hidden states after the chosen layers, by number.

    Each has shape [batch, length, hidden] and keeps its gradient. Other layers' states are not
    held, as `output_hidden_states=True` would.
    """
    after: dict[int, Tensor] = {}

    def keep(layer: int) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            after[layer] = output[0] if isinstance(output, tuple) else output

        return hook

    blocks = model.get_decoder().layers
    handles = [blocks[layer].register_forward_hook(keep(layer)) for layer in set(layers)]
    try:
        yield after
    finally:
        for handle in handles:
            handle.remove()


def _gather(hidden: Tensor, traces: Sequence[Trace]) -> Tensor:
    """The supervised positions of a padded batch [batch, length, hidden], shape [P, hidden]."""
    return torch.cat([own[trace.predicting] for own, trace in zip(hidden, traces, strict=True)])
