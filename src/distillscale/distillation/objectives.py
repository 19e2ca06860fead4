"""Supervision: what each supervised position weighs in the loss of an optimizer step.

Notation of docs and code: segments R (reasoning) and A (answer), teacher and student next-token
distributions p_T and p_S at temperature tau, trace token y_t, D a divergence of `divergences`.

    D_s = mean over t in s of tau^2 D(p_T(.|t), p_S(.|t))
    CE_s = mean over t in s of -log p_S(y_t), at tau = 1

A mean runs over all positions of its segment in ONE OPTIMIZER STEP (not first within a trace, then
over traces; not within a micro-batch): every supervised token weighs the same, a long trace more
than a short one. So an objective is a pair of weights for every position,

    L = sum over t of a_t tau^2 D_t + c_t CE_t,

made from the segments' totals over the whole step, and the losses of micro-batches (and processes)
add up to the step's exactly. The mean over no positions counts as zero, and the other terms keep
their weights. tau^2 keeps the gradient's size independent of tau (Hinton et al., arXiv 1503.02531).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from distillscale.distillation.segments import REASONING, SegmentTotals


@dataclass(frozen=True)
class LossWeights:
    """The numbers in the objectives: w, b_R and b_A, all from 0 to 1.

    Their defaults are our assumption; the paper's own weights are not published.
    """

    answer_weight: float = 0.5
    reasoning_anchor: float = 0.5
    answer_anchor: float = 0.5


@dataclass(frozen=True)
class PositionWeights:
    """a_t (`divergence`) and c_t (`cross_entropy`) of every position, float32, shape [P]."""

    divergence: Tensor
    cross_entropy: Tensor


Objective = Callable[[Tensor, SegmentTotals, LossWeights], PositionWeights]
"""From the segments [P] of some positions of a step, and the totals of the whole step."""


def label(segments: Tensor, totals: SegmentTotals, _: LossWeights) -> PositionWeights:
    """L = D_A: the answer alone teaches."""
    divergence = _per_segment(segments, 0.0, 1.0 / max(totals.answer, 1))
    return PositionWeights(divergence, torch.zeros_like(divergence))


def cot(segments: Tensor, totals: SegmentTotals, _: LossWeights) -> PositionWeights:
    """L = mean over R and A together of tau^2 D: a long reasoning outweighs the answer."""
    divergence = _everywhere(segments, totals)
    return PositionWeights(divergence, torch.zeros_like(divergence))


def blended(segments: Tensor, totals: SegmentTotals, weights: LossWeights) -> PositionWeights:
    """L = (1-w) [(1-b_R) D_R + b_R CE_R] + w [(1-b_A) D_A + b_A CE_A].

    Segments are averaged apart, so w and not the trace's length balances them; the CE terms anchor
    the student to the token that was produced where the teacher's distribution is flat.
    """
    reasoning = (1 - weights.answer_weight) / max(totals.reasoning, 1)
    answer = weights.answer_weight / max(totals.answer, 1)
    in_reasoning, in_answer = weights.reasoning_anchor, weights.answer_anchor
    return PositionWeights(
        _per_segment(segments, (1 - in_reasoning) * reasoning, (1 - in_answer) * answer),
        _per_segment(segments, in_reasoning * reasoning, in_answer * answer),
    )


def cross_entropy(segments: Tensor, totals: SegmentTotals, _: LossWeights) -> PositionWeights:
    """L = mean over R and A together of -log p_S(y_t): sequence-level distillation.

    (Kim and Rush, arXiv 1606.07947.) On traces of gold text it is ordinary fine-tuning.
    """
    share = _everywhere(segments, totals)
    return PositionWeights(torch.zeros_like(share), share)


OBJECTIVES: dict[str, Objective] = {
    "label": label,
    "cot": cot,
    "blended": blended,
    "cross_entropy": cross_entropy,
}
"""To add an objective: write a function of this type above and name it here."""


def _per_segment(segments: Tensor, reasoning: float, answer: float) -> Tensor:
    return torch.where(segments == REASONING, reasoning, answer).float()


def _everywhere(segments: Tensor, totals: SegmentTotals) -> Tensor:
    share = 1.0 / max(totals.reasoning + totals.answer, 1)
    return _per_segment(segments, share, share)
