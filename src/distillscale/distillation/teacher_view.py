"""What a recipe asks of a teacher about each batch, however the teacher answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from distillscale.distillation.hidden_matching import LayerMap
from distillscale.distillation.segments import Batch
from distillscale.distillation.settings import Recipe
from distillscale.errors import InputError
from distillscale.models.teacher_logits import FullLogits, TeacherLogits, TopLogProbs
from distillscale.tasks.trace import Trace


@dataclass(frozen=True)
class TeacherView:
    """What a teacher says at a batch's P supervised positions, in the batch's order.

    `predictions` are None where nothing is compared with them. `layers` are its hidden states
    [P, H_T] after the layers that the student's come from; empty where these are not matched.
    """

    predictions: FullLogits | TopLogProbs | None
    layers: tuple[Tensor, ...] = ()


class TeacherStates(Protocol):
    """An online teacher's answer: predictions, and hidden states after the layers asked for."""

    @property
    def logits(self) -> FullLogits: ...  # noqa: D102
    @property
    def layers(self) -> tuple[Tensor, ...]: ...  # noqa: D102


@runtime_checkable
class OnlineTeacher(Protocol):
    """A teacher in memory: it can score any traces, and show its hidden states."""

    def score(self, traces: Sequence[Trace], layers: Sequence[int]) -> TeacherStates: ...  # noqa: D102


class TeacherSide:
    """A teacher asked as a recipe needs it."""

    def __init__(
        self,
        teacher: TeacherLogits | None,
        traces: Sequence[Trace],
        recipe: Recipe,
        layer_map: LayerMap | None,
    ) -> None:
        """Take a teacher that numbers its rows as the traces.

        Raises:
            ValueError: the recipe compares distributions but there is no teacher, or matches hidden
                states and there is no layer map.
            InputError: rollouts or hidden states are wanted of a teacher that is not online.
        """
        if recipe.divergence and teacher is None:
            raise ValueError("This recipe needs the teacher's logits.")
        if recipe.hidden_weight and layer_map is None:
            raise ValueError("Hidden-state matching needs to know where the layers come from.")
        for name, value in (
            ("on_policy", recipe.on_policy),
            ("hidden_weight", recipe.hidden_weight),
        ):
            if value and not isinstance(teacher, OnlineTeacher):
                raise InputError(
                    f"{name} is {value}: it needs a teacher that runs while the student trains, "
                    "not one whose predictions were stored; write `teacher: online`."
                )
        self._teacher = teacher
        self._traces = traces
        self._compares = recipe.divergence is not None
        self._layers = layer_map.layers if layer_map and recipe.hidden_weight else ()

    def view(self, batch: Batch, device: torch.device) -> TeacherView:
        """What the teacher says about a batch, on the device that the student trains on."""
        if isinstance(self._teacher, OnlineTeacher) and (self._layers or batch.rollouts):
            traces = batch.rollouts or [self._traces[row] for row in batch.trace_rows]
            states = self._teacher.score(traces, self._layers)
            layers = tuple(layer.to(device) for layer in states.layers)
            return TeacherView(states.logits.to(device) if self._compares else None, layers)
        if self._teacher is None or not self._compares:
            return TeacherView(None)
        return TeacherView(self._teacher.at(batch.trace_rows).to(device))
