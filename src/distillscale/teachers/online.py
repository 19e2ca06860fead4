"""A teacher that is asked while the student trains: nothing is stored, any text can be scored."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from distillscale.models.forward import Head, head_of
from distillscale.models.supervised import supervised_states
from distillscale.models.teacher_logits import FullLogits
from distillscale.tasks import Trace


@dataclass(frozen=True)
class TeacherStates:
    """What a teacher predicts at P supervised positions, and its states after chosen layers.

    `layers` holds one tensor [P, H_T] for each layer asked for, in the order asked: the residual
    stream after that layer, before the last norm. Positions are those of `logits`, in its order.
    """

    logits: FullLogits
    layers: tuple[Tensor, ...]


class OnlineTeacher:
    """A teacher model that runs over traces when it is asked; exact, at any temperature.

    `at` is the protocol `TeacherLogits`. `score` takes traces that were not known before, such as
    rollouts of a student, and serves hidden-state matching: predictions and states come from one
    forward pass. Nothing of it carries a gradient. The model is put into evaluation mode.

        online = OnlineTeacher(model, traces, pad_id)
        online.at([4, 0])                               # FullLogits of traces 4 and 0
        online.score(rollouts).logits                   # FullLogits of other traces
        online.score(rollouts, [3, 7]).layers           # their states after layers 3 and 7
    """

    def __init__(self, model: PreTrainedModel, traces: Sequence[Trace], pad_id: int) -> None:
        """Take the traces that `rows` number in `at`.

        Raises:
            InputError: the model's head is of a kind that is not supported.
        """
        self._model = model.eval()
        self._traces = list(traces)
        self._pad_id = pad_id
        self._head = frozen_head(model)

    def at(self, rows: Sequence[int]) -> FullLogits:
        """What the teacher predicts in the traces numbered `rows`, in their order, end to end."""
        return self.score([self._traces[row] for row in rows]).logits

    @torch.no_grad()
    def score(self, traces: Sequence[Trace], layers: Sequence[int] = ()) -> TeacherStates:
        """What it predicts in any traces, and its hidden states after `layers` (from 0)."""
        states = supervised_states(self._model, traces, self._pad_id, layers)
        return TeacherStates(FullLogits(states.final, self._head), states.layers)


def frozen_head(model: PreTrainedModel) -> Head:
    """The model's head without gradient, whatever its parameters ask for."""
    head = head_of(model)
    bias = None if head.bias is None else head.bias.detach()
    return Head(head.weight.detach(), bias, head.softcap)
