"""Choose between plans of one size by what each does to the model, before anything is trained."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import kl_div
from transformers import PreTrainedModel

from distillscale.errors import DistillscaleError
from distillscale.models.forward import hidden_states, project
from distillscale.pruning.plan import PruningPlan
from distillscale.pruning.statistics import padded_batches
from distillscale.pruning.surgery import apply_plan

_POSITIONS = 256
"""Positions whose logits are held at once."""


@dataclass(frozen=True)
class Choice:
    """The best of several plans.

    Attributes:
        plan: the one of least divergence, the first of equal ones.
        divergences: for each plan mean KL(teacher || pruned model) in nats per token, at
            temperature 1; empty where there was only one plan and nothing to choose.
    """

    plan: PruningPlan
    divergences: tuple[float, ...]


def choose_plan(
    model: PreTrainedModel,
    plans: Sequence[PruningPlan],
    sequences: Sequence[Sequence[int]],
    *,
    teacher: PreTrainedModel,
    pad_id: int,
    batch_size: int,
) -> Choice:
    """Carry out each plan, measure how far the result is from the teacher, and take the nearest.

    One pruned model is held at a time. The teacher is run again for each, so that memory depends
    on neither the number of plans nor that of sequences.

    Args:
        model: what the plans prune.
        plans: at least one.
        sequences: token ids, one sequence a calibration text; each has a token.
        teacher: what the divergence is measured to; `model` itself before the first stage.
        pad_id: any id of the vocabulary; it has no influence.

    Raises:
        InputError: a plan was made for another model.
        DistillscaleError: logits are not finite.
    """
    if len(plans) == 1:
        return Choice(plans[0], ())
    divergences = tuple(
        mean_divergence(teacher, apply_plan(model, plan), sequences, pad_id, batch_size)
        for plan in plans
    )
    return Choice(plans[divergences.index(min(divergences))], divergences)


@torch.no_grad()
def mean_divergence(
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    pad_id: int,
    batch_size: int,
) -> float:
    """KL(teacher || student) of the next-token distributions in nats, mean over all tokens.

    Logits are made for a few hundred positions at a time, in fp32 from there on.

    Raises:
        DistillscaleError: logits are not finite.
    """
    total = 0.0
    for ids, mask in padded_batches(teacher, sequences, pad_id, batch_size):
        of_teacher = _token_states(teacher, ids, mask).split(_POSITIONS)
        of_student = _token_states(student, ids, mask).split(_POSITIONS)
        for hidden_teacher, hidden_student in zip(of_teacher, of_student, strict=True):
            log_teacher = project(teacher, hidden_teacher).float().log_softmax(dim=-1)
            log_student = project(student, hidden_student).float().log_softmax(dim=-1)
            divergence = kl_div(log_student, log_teacher, reduction="sum", log_target=True)
            total += divergence.item()
    if not math.isfinite(total):
        raise DistillscaleError(
            "The teacher or a pruned model has logits that are not finite on the calibration data, "
            "so the plans cannot be compared."
        )
    return total / sum(map(len, sequences))


def _token_states(model: PreTrainedModel, ids: Tensor, mask: Tensor) -> Tensor:
    """Final hidden states of the tokens of a batch without its padding, [tokens, hidden]."""
    return hidden_states(model, ids, mask)[mask.bool()]
