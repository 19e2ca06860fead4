"""Distillation objectives on the supervised positions of a batch.

Notation of docs and code: segments R (reasoning) and A (answer), teacher and student next-token
distributions p_T and p_S at temperature tau, trace token y_t.

    KL_s = mean over t in s of tau^2 KL(p_T(.|t) || p_S(.|t))
    CE_s = mean over t in s of -log p_S(y_t), at tau = 1

A mean runs over all positions of its segment in the batch of one optimizer step (not first within
a trace, then over traces): every supervised token weighs the same, a long trace more than a short
one. The mean over no positions counts as zero, and the other terms keep their weights. tau^2 keeps
the gradient's size independent of tau (Hinton et al., arXiv 1503.02531).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from distillscale.distillation.segments import ANSWER, REASONING
from distillscale.errors import InputError


@dataclass(frozen=True)
class Predictions:
    """What student and teacher predict at P supervised positions, over a vocabulary of V tokens.

    `student` and `teacher` are logits of shape [P, V]; `teacher` is None where the objective
    reads only the trace's tokens. `targets` (the trace's tokens) and `segments` have shape [P].
    """

    student: Tensor
    teacher: Tensor | None
    targets: Tensor
    segments: Tensor


@dataclass(frozen=True)
class LossWeights:
    """The numbers in the objectives: tau, w, b_R and b_A, the last three from 0 to 1.

    Their defaults are our assumption; the paper's own weights are not published.
    """

    temperature: float = 1.0
    answer_weight: float = 0.5
    reasoning_anchor: float = 0.5
    answer_anchor: float = 0.5


@dataclass(frozen=True)
class Loss:
    """An objective's value (a scalar with gradient), and KL_R and KL_A for the record.

    The two KL values carry no gradient. They are NaN where the batch has no position in the
    segment, and None where the objective has no teacher distribution to compare with.
    """

    value: Tensor
    kl_reasoning: Tensor | None
    kl_answer: Tensor | None


Objective = Callable[[Predictions, LossWeights], Loss]


def token_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """tau^2 KL(p_T || p_S) at each position, shape [P].

    Raises:
        InputError: the two vocabularies differ in size.
    """
    if student.shape[-1] != teacher.shape[-1]:
        raise InputError(
            f"The student predicts {student.shape[-1]} tokens but the teacher's logits cover "
            f"{teacher.shape[-1]}: both need one vocabulary, padding rows included."
        )
    log_p_student = F.log_softmax(student.float() / temperature, dim=-1)
    p_teacher = F.softmax(teacher.float() / temperature, dim=-1)
    return temperature**2 * F.kl_div(log_p_student, p_teacher, reduction="none").sum(dim=-1)


def token_cross_entropy(student: Tensor, targets: Tensor) -> Tensor:
    """-log p_S(y_t) at each position at temperature 1, shape [P]."""
    return F.cross_entropy(student.float(), targets, reduction="none")


def segment_mean(values: Tensor, inside: Tensor) -> Tensor:
    """Mean of the values [P] where `inside` [P] is true; 0, with zero gradient, where none is."""
    return (values * inside).sum() / inside.sum().clamp(min=1)


def label(predictions: Predictions, weights: LossWeights) -> Loss:
    """L = KL_A: the answer alone teaches."""
    kl = _kl(predictions, weights)
    return _with_record(segment_mean(kl, predictions.segments == ANSWER), kl, predictions)


def cot(predictions: Predictions, weights: LossWeights) -> Loss:
    """L = mean over R and A together of tau^2 KL: a long reasoning outweighs the answer."""
    kl = _kl(predictions, weights)
    return _with_record(kl.mean(), kl, predictions)


def blended(predictions: Predictions, weights: LossWeights) -> Loss:
    """L = (1-w) [(1-b_R) KL_R + b_R CE_R] + w [(1-b_A) KL_A + b_A CE_A].

    Segments are averaged apart, so w and not the trace's length balances them; the CE terms anchor
    the student to the token that was produced where the teacher's distribution is flat.
    """
    kl = _kl(predictions, weights)
    ce = token_cross_entropy(predictions.student, predictions.targets)
    parts = (
        (REASONING, 1 - weights.answer_weight, weights.reasoning_anchor),
        (ANSWER, weights.answer_weight, weights.answer_anchor),
    )
    terms = [
        share * segment_mean((1 - anchor) * kl + anchor * ce, predictions.segments == segment)
        for segment, share, anchor in parts
    ]
    return _with_record(terms[0] + terms[1], kl, predictions)


def cross_entropy(predictions: Predictions, _: LossWeights) -> Loss:
    """L = mean over R and A together of -log p_S(y_t): sequence-level distillation.

    (Kim and Rush, arXiv 1606.07947.) On traces of gold text it is ordinary fine-tuning.
    """
    value = token_cross_entropy(predictions.student, predictions.targets).mean()
    return Loss(value, None, None)


OBJECTIVES: dict[str, Objective] = {
    "label": label,
    "cot": cot,
    "blended": blended,
    "cross_entropy": cross_entropy,
}
"""To add an objective: write a function of this type above and name it here."""


def _kl(predictions: Predictions, weights: LossWeights) -> Tensor:
    if predictions.teacher is None:
        raise ValueError("This objective needs the teacher's logits.")
    return token_kl(predictions.student, predictions.teacher, weights.temperature)


def _with_record(value: Tensor, kl: Tensor, predictions: Predictions) -> Loss:
    kl, in_reasoning = kl.detach(), predictions.segments == REASONING
    means = [(kl * inside).sum() / inside.sum() for inside in (in_reasoning, ~in_reasoning)]
    return Loss(value, means[0], means[1])
