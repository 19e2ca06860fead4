"""The loss of a batch, computed inside the forward pass of the student."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distillscale.distillation.divergences import DIVERGENCES
from distillscale.distillation.hidden_matching import LayerMap, matching_loss
from distillscale.distillation.on_policy import divergence_alone
from distillscale.distillation.projection import supervised_loss
from distillscale.distillation.segments import ANSWER, REASONING, Batch
from distillscale.distillation.settings import DivergenceSettings, Recipe
from distillscale.distillation.teacher_view import TeacherView
from distillscale.models.forward import head_of
from distillscale.models.supervised import layer_outputs


class StepLoss:
    """The recipe's loss of a batch of traces, and what to record of it."""

    def __init__(
        self,
        student: PreTrainedModel,
        recipe: Recipe,
        layer_map: LayerMap | None = None,
        *,
        bf16: bool = False,
        compiled: bool = False,
    ) -> None:
        self._student = student
        self._recipe = recipe
        # An objective without a divergence gives it no weight anywhere: any will do.
        self._compare = recipe.divergence or DivergenceSettings()
        self._divergence = DIVERGENCES[self._compare.name](self._compare.beta)
        self._map = layer_map if recipe.hidden_weight else None
        self._bf16 = bf16
        body = student.get_decoder()
        self._body: Callable[..., Any] = torch.compile(body, dynamic=True) if compiled else body

    def __call__(self, batch: Batch, teacher: TeacherView) -> tuple[Tensor, Tensor]:
        """The loss and the record of a batch, given what the teacher says about it.

        Returns:
            A scalar with gradient, this batch's share of the optimizer step's loss; and four
            numbers: sums of tau^2 D over the positions of R and of A where D has weight, and how
            many these positions are.
        """
        recipe, compare, on_policy = self._recipe, self._compare, bool(batch.rollouts)
        weights = recipe.objective(batch.segments, batch.totals, recipe.weights)
        final, layers = self._states(batch)
        with torch.autocast(final.device.type, torch.bfloat16, enabled=self._bf16):
            loss = supervised_loss(
                final,
                head_of(self._student),
                teacher.predictions,
                batch.targets,
                divergence_alone(weights) if on_policy else weights,
                divergence=self._divergence,
                temperature=compare.temperature,
                gold_mixing=None if on_policy else _gold_mixing(batch, compare.gold_mixing),
            )
        value = loss.value
        if self._map:
            matching = matching_loss(layers, teacher.layers, self._map.channels, batch.totals)
            value = value + recipe.hidden_weight * matching
        return value, _record(loss.divergence, batch.segments)

    def _states(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """The student's final hidden states [P, H] at supervised positions, and after layers."""
        wanted = range(len(self._map.layers)) if self._map else ()
        # Trainer's own bf16 would convert what this forward pass returns, so ours is used.
        with (
            layer_outputs(self._student, wanted) as after,
            torch.autocast(batch.input_ids.device.type, torch.bfloat16, enabled=self._bf16),
        ):
            final = self._body(
                input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
            ).last_hidden_state
        at = batch.rows, batch.positions
        return final[at], [after[layer][at] for layer in wanted]


@contextmanager
def computing(loss: StepLoss, module: nn.Module) -> Iterator[None]:
    """While open, `module(batch=..., teacher=...)` is the loss; any other call is as before.

    The loss is computed inside a call of the outermost module because that is where the wrappers of
    several processes (DDP, FSDP2) gather weights and arrange for gradients to be reduced.
    """
    own = module.forward

    @functools.wraps(own)
    def forward(*args: Any, **kwargs: Any) -> Any:
        return loss(**kwargs) if "batch" in kwargs else own(*args, **kwargs)

    module.forward = forward
    try:
        yield
    finally:
        del module.forward


def _gold_mixing(batch: Batch, share: float) -> Tensor | None:
    """lambda of every position: of a trace, only the answer is gold."""
    return torch.where(batch.segments == ANSWER, share, 0.0) if share else None


def _record(divergence: Tensor, segments: Tensor) -> Tensor:
    counted = divergence.isfinite()
    inside = [counted & (segments == segment) for segment in (REASONING, ANSWER)]
    sums = [divergence[chosen].sum() for chosen in inside]
    return torch.stack([*sums, *(chosen.sum() for chosen in inside)]).double()
