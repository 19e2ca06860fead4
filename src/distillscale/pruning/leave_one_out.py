"""How well a model predicts calibration texts without one of its layers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from distillscale.errors import InputError
from distillscale.models.batches import position_chunks
from distillscale.models.forward import Head, head_of, hidden_states
from distillscale.pruning.families import family_of
from distillscale.pruning.statistics import evaluating, padded_batches


@torch.no_grad()
def losses_without(
    model: PreTrainedModel, sequences: Sequence[Sequence[int]], pad_id: int, batch_size: int
) -> Tensor:
    """Mean next-token loss of the model without each layer, one layer at a time; [layers], nats.

    A layer is left out by handing its input on. The layers before it see what they see in the
    whole model, so they run once a batch and their outputs are held until its end: all hidden
    states of one batch, and about half of the layers' work of as many passes as there are layers.

    Raises:
        InputError: no sequence has two tokens, so that there is nothing to predict.
    """
    predicted = sum(len(sequence) - 1 for sequence in sequences)
    if predicted == 0:
        raise InputError(
            "calibration sequences: every one is a single token, so there is no next token to "
            "predict; the criterion perplexity needs sequences of two tokens or more."
        )
    layers = list(model.get_submodule(family_of(model.config).layers).children())
    head = head_of(model)
    sums = torch.zeros(len(layers), dtype=torch.float64, device=model.device)
    with evaluating(model):
        for ids, mask in padded_batches(model, sequences, pad_id, batch_size):
            entering: list[Tensor] = []
            with _hooked(layers, lambda _, inputs, states=entering: states.append(inputs[0])):
                hidden_states(model, ids, mask)
            for number, state in enumerate(entering):
                with _skipping(layers[: number + 1], state):
                    sums[number] += _loss(head, hidden_states(model, ids, mask), ids, mask)
    return sums / predicted


def _loss(head: Head, hidden: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Sum of the next-token loss over the tokens that have a predecessor."""
    real = mask[:, 1:].bool()
    states, targets = hidden[:, :-1][real], ids[:, 1:][real]
    total = torch.zeros((), dtype=torch.float64, device=hidden.device)
    for chunk in position_chunks(len(targets), head.vocabulary):
        logits = head.logits(states[chunk]).float()
        total += functional.cross_entropy(logits, targets[chunk], reduction="sum")
    return total


@contextmanager
def _hooked(layers: Sequence[nn.Module], hook: Callable[..., None]) -> Iterator[None]:
    handles = [layer.register_forward_pre_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _skipping(layers: Sequence[nn.Module], state: Tensor) -> Iterator[None]:
    """Let the first layers do nothing but hand on `state`; undone on leaving."""
    before = [vars(layer).get("forward") for layer in layers]
    try:
        for layer in layers:
            vars(layer)["forward"] = partial(_hand_on, state)
        yield
    finally:
        for layer, forward in zip(layers, before, strict=True):
            if forward is None:
                del vars(layer)["forward"]
            else:
                vars(layer)["forward"] = forward


def _hand_on(state: Tensor, *_inputs: Any, **_options: Any) -> Tensor:
    return state
