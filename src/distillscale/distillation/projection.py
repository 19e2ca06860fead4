"""From hidden states to the loss without ever holding all positions x vocabulary.

Positions go through in chunks. Each chunk's logits are made, compared with the teacher's, turned
into their gradient in the same memory, and multiplied into the gradients of hidden states and head
at once, during the forward pass; the backward pass only scales these (as Liger's fused losses do,
arXiv 2410.10989). See `sweep` for the chunks and `comparison` for what happens to their logits.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from distillscale.distillation.comparison import Terms
from distillscale.distillation.divergences import Divergence
from distillscale.distillation.objectives import PositionWeights
from distillscale.distillation.sweep import LossInputs, Sweep
from distillscale.errors import InputError
from distillscale.models.forward import Head
from distillscale.models.teacher_logits import FullLogits, TopLogProbs

BUDGET = 256 * 2**20
"""Bytes of logits held at a time, by default. Our choice: some 200 positions of a vocabulary of
150,000, from where on larger chunks are hardly faster."""


@dataclass(frozen=True)
class Loss:
    """The loss of P positions and its parts for the record.

    `value` is a scalar with gradient: the sum over positions of a_t tau^2 D_t + c_t CE_t.
    `divergence` (tau^2 D_t, of the divergence that was chosen) and `cross_entropy`, in nats, have
    shape [P] and no gradient; they are NaN where the position's weight of that part is zero.
    """

    value: Tensor
    divergence: Tensor
    cross_entropy: Tensor


def supervised_loss(
    hidden: Tensor,
    head: Head,
    teacher: FullLogits | TopLogProbs | None,
    targets: Tensor,
    weights: PositionWeights,
    *,
    divergence: Divergence,
    temperature: float = 1.0,
    gold_mixing: Tensor | None = None,
    budget: int = BUDGET,
) -> Loss:
    """The loss of P supervised positions: sum over t of a_t tau^2 D(p_T, p_S) + c_t CE.

    tau^2 is in the loss and so in its gradient, which keeps its size at any temperature. Gradients
    are computed here and kept until `backward`, once. Matrix products run in the type that autocast
    asks for, else in that of `hidden`; softmaxes, values and the sums over chunks in float32
    (float64 if `hidden` is).

    Args:
        hidden: the student's final hidden states at the positions, [P, H].
        head: the student's; its weight and bias get a gradient where they require one.
        teacher: what it predicts at the same positions, in their order, on the same device; not
            read, and may be None, where all a_t are zero.
        targets: the trace's tokens, int64 [P].
        weights: a_t and c_t; positions where both are zero cost nothing.
        divergence: D, made by one of `DIVERGENCES`. With `TopLogProbs` it compares k + 1
            probabilities, the last of everything but the teacher's top tokens.
        temperature: tau of D, above 0; CE is at 1.
        gold_mixing: lambda of each position [P], 0 to 1 (None: 0 everywhere), where the target is
            gold: if the teacher's most likely token is another one, its distribution becomes
            (1 - lambda) p_T + lambda onehot(target).
        budget: bytes for the logits that are held at a time.

    Raises:
        InputError: the two vocabularies differ in size, or the teacher's log-probabilities were
            made at another temperature.
        ValueError: weights on the divergence but no teacher, or one of other positions.
    """
    mixing = torch.zeros_like(weights.divergence) if gold_mixing is None else gold_mixing
    wanted = torch.stack([weights.divergence, weights.cross_entropy, mixing]) != 0
    with_divergence, with_cross_entropy, mixed = wanted.any(-1).tolist()
    teacher = _checked(teacher, head, hidden, temperature) if with_divergence else None
    terms = Terms(
        divergence if with_divergence else None,
        with_cross_entropy,
        temperature if with_divergence else 1.0,
        head.softcap,
        teacher.head.softcap if isinstance(teacher, FullLogits) else None,
    )
    inputs = LossInputs(
        teacher,
        targets,
        weights,
        gold_mixing if mixed else None,
        terms,
        budget,
        _autocast_type(hidden.device),
    )
    value, divergences, cross_entropies = _SupervisedLoss.apply(
        hidden, head.weight, head.bias, inputs
    )
    return Loss(
        value,
        divergences.masked_fill(~wanted[0], torch.nan),
        cross_entropies.masked_fill(~wanted[1], torch.nan),
    )


def _checked(
    teacher: FullLogits | TopLogProbs | None, head: Head, hidden: Tensor, temperature: float
) -> FullLogits | TopLogProbs:
    if teacher is None:
        raise ValueError("This objective needs the teacher's predictions.")
    if teacher.vocabulary != head.vocabulary:
        raise InputError(
            f"The student predicts {head.vocabulary} tokens but the teacher's logits cover "
            f"{teacher.vocabulary}: both need one vocabulary, padding rows included."
        )
    if isinstance(teacher, TopLogProbs) and teacher.temperature != temperature:
        raise InputError(
            f"The teacher's log-probabilities were stored at temperature {teacher.temperature} but "
            f"temperature is {temperature}: store them at the temperature of the distillation."
        )
    if teacher.positions != len(hidden):
        raise ValueError(f"The teacher predicts {teacher.positions} positions, not {len(hidden)}.")
    return teacher


def _autocast_type(device: torch.device) -> torch.dtype | None:
    if not torch.is_autocast_enabled(device.type):
        return None
    return torch.get_autocast_dtype(device.type)


class _SupervisedLoss(torch.autograd.Function):
    """The value, and tau^2 D_t and CE_t of all positions (0 where a position has no weight)."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, inputs: LossInputs
    ) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast(hidden.device.type, enabled=False):
            sweep = Sweep(hidden, Head(weight, bias), inputs, ctx.needs_input_grad[:3])
            results = sweep.run()
        ctx.gradients = sweep.gradients()
        ctx.mark_non_differentiable(*results[1:])
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("The gradients of a supervised_loss can be used only once.")
        # Handed over, so that autograd may keep them as the parameters' own gradients.
        gradients, ctx.gradients = ctx.gradients, None
        if outer[0].device.type != "cpu" or outer[0] != 1:
            for gradient in gradients:
                if gradient is not None:
                    gradient.mul_(outer[0])
        return (*gradients, None)
