"""Elementwise work on rows of logits, in place: temporaries cost as much as the arithmetic.

A row holds a position's logits over a whole vocabulary, or over a tile of it. c is the number of
rows.
"""

import math

import torch
from torch import Tensor

FAR_BELOW = -(2.0**100)
"""Stands for a logit of -inf: its exp is 0 next to any real logit, and it makes no NaN.

A power of 2, so that `exponentials` are exact where a row holds nothing else.
"""

_BITS = 1 / math.log(2)


def cap(logits: Tensor, softcap: float | None) -> Tensor:
    """Bound logits as the head does."""
    return logits if softcap is None else logits.div_(softcap).tanh_().mul_(softcap)


def heat(logits: Tensor, temperature: float) -> Tensor:
    """Divide logits by a temperature."""
    return logits if temperature == 1.0 else logits.div_(temperature)


def log_softmax(logits: Tensor, log_sum: Tensor | None) -> Tensor:
    """Of a whole vocabulary or, with its log-sum-exp [c], of a tile."""
    if log_sum is None:
        return torch.log_softmax(logits, -1, out=logits)
    return logits.sub_(log_sum.unsqueeze(-1))


def exponentials(logits: Tensor, log_sum: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Put e = exp(z - shift) in the place of logits z.

    The shift of a whole vocabulary is its largest logit; of a tile the vocabulary's log-sum-exp,
    which must be given. Powers of 2, because PyTorch's exp on CPUs takes three times as long.

    Returns:
        The shifts and the vocabulary's totals of e, [c]: p is e / total, the log-sum-exp
        shift + log total.
    """
    shift = logits.amax(-1) if log_sum is None else log_sum
    torch.add((-_BITS * shift).unsqueeze(-1), logits, alpha=_BITS, out=logits).exp2_()
    return shift, logits.sum(-1) if log_sum is None else torch.ones_like(shift)


def forward_kl(
    student: Tensor, teacher: Tensor, spare: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """KL(p_T || p_S) = sum of p_T (z_T - z_S) - (log-sum-exp z_T - log-sum-exp z_S).

    One exp a logit on each side, where log-probabilities and their exp take two. Where p_T is 0 (a
    logit of -inf, or an exp that underflows), p_T (z_T - z_S) is 0, also if z_S is -inf: what comes
    out as NaN there the sum leaves out. Logits that are NaN still make the value NaN, through the
    log-sum-exps.

    Args:
        student: logits z_S over a whole vocabulary, [c, V]; e_S of `exponentials` take their place.
        teacher: z_T likewise, and e_T.
        spare: memory of the same shape.

    Returns:
        The divergences, the student's log-sum-exps, and the totals of e_S and e_T, [c].
    """
    gaps = torch.sub(teacher, student, out=spare)
    shift_t, total_t = exponentials(teacher)
    shift_s, total_s = exponentials(student)
    values = gaps.mul_(teacher).nansum(-1).div_(total_t)
    values -= (shift_t - shift_s) + (total_t / total_s).log_()
    return values, shift_s + total_s.log(), total_s, total_t


def combine(
    slopes: Tensor,
    p_s: Tensor,
    slope_sum: Tensor | float,
    divergence_weights: Tensor,
    softmax_weights: Tensor | float,
) -> Tensor:
    """In the place of the slopes g: weight (g - p_S sum of g) + softmax weight p_S, row by row."""
    factor = softmax_weights - divergence_weights * slope_sum
    return slopes.mul_(divergence_weights.unsqueeze(-1)).addcmul_(p_s, factor.unsqueeze(-1))


def locate(tokens: Tensor, tile: Tensor, start: int) -> tuple[Tensor, Tensor]:
    """Columns of tokens [c, k] in a tile, any valid one for those outside, and which are inside."""
    place = tokens - start
    inside = (place >= 0) & (place < tile.shape[-1])
    return place.clamp_(0, tile.shape[-1] - 1), inside


def mix_gold(log_t: Tensor, place: Tensor, inside: Tensor, mixing: Tensor) -> None:
    """Make p_T (1 - mixing) p_T + mixing onehot(target); `mixing` [c], 0 leaves p_T as is.

    `place` [c, 1] is the target's column; it counts where `inside` [c, 1].
    """
    mixing = mixing.unsqueeze(-1)
    log_t.add_(torch.log1p(-mixing))
    here = log_t.gather(-1, place)
    log_t.scatter_(-1, place, torch.where(inside, torch.logaddexp(here, mixing.log()), here))
