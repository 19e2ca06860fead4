"""Divergences D(p_T, p_S) between a teacher's and a student's next-token distributions.

A divergence is written by its terms, so that one routine serves them all, whether a vocabulary is
held whole, in tiles, or as the teacher's top tokens and one bucket for the rest. With
g_v = dD / d log p_S(v), taken as if the log-probabilities were free, the gradient with respect to
the student's logits z, log p_S = log softmax(z / tau), is

    dD / dz_v = (g_v - p_S(v) sum over u of g_u) / tau.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from distillscale.errors import InputError

LOG_FLOOR = -1e4
"""A teacher's log-probability below this counts as this (its exp is 0 in every precision used): so
a token that the teacher rules out costs forward KL nothing, and reverse KL much but not infinity.
"""


class Divergence(Protocol):
    """D in nats, and its slopes g."""

    @property
    def slope_sum(self) -> float | None:
        """The sum of all g_v where it is one number for any two distributions, else None."""
        ...

    def terms(self, log_s: Tensor, p_s: Tensor, log_t: Tensor) -> Tensor:
        """D's terms summed over the last dimension; log_s is overwritten by the slopes g.

        In place, because over a vocabulary every temporary costs as much as the arithmetic.

        Args:
            log_s: log p_S, [..., v]; becomes g.
            p_s: its exp; left as it is.
            log_t: log p_T, [..., v], -inf allowed; overwritten.

        Returns:
            The sums [...].
        """
        ...


@dataclass(frozen=True)
class ForwardKL:
    """KL(p_T || p_S) = sum of p_T (log p_T - log p_S): the student covers all that p_T holds."""

    slope_sum = -1.0

    def terms(self, log_s: Tensor, p_s: Tensor, log_t: Tensor) -> Tensor:  # noqa: ARG002
        """See `Divergence`; g = -p_T."""
        log_t.clamp_(min=LOG_FLOOR)
        torch.sub(log_t, log_s, out=log_s)
        p_t = log_t.exp_()
        sums = log_s.mul_(p_t).sum(-1)
        torch.neg(p_t, out=log_s)
        return sums


@dataclass(frozen=True)
class ReverseKL:
    """KL(p_S || p_T) = sum of p_S (log p_S - log p_T): the student keeps to p_T's main modes."""

    slope_sum = None

    def terms(self, log_s: Tensor, p_s: Tensor, log_t: Tensor) -> Tensor:
        """See `Divergence`; g = p_S (log p_S - log p_T + 1)."""
        log_s.sub_(log_t.clamp_(min=LOG_FLOOR)).mul_(p_s)
        sums = log_s.sum(-1)
        log_s.add_(p_s)
        return sums


@dataclass(frozen=True)
class JensenShannon:
    """beta KL(p_T || m) + (1-beta) KL(p_S || m), m = beta p_T + (1-beta) p_S.

    (Generalized Jensen-Shannon divergence as in GKD, Agarwal et al., arXiv 2306.13649.) Bounded by
    log 2. Divided by beta it tends to forward KL as beta goes to 0; divided by 1 - beta to reverse
    KL as beta goes to 1.
    """

    beta: float
    slope_sum = None

    def __post_init__(self) -> None:
        """Check that beta is above 0 and below 1.

        Raises:
            InputError: beta is out of its range.
        """
        if not 0 < self.beta < 1:
            raise InputError(
                f"jensen_shannon: beta is {self.beta}, it must be above 0 and below 1; its limits "
                "are the divergences forward_kl (towards 0) and reverse_kl (towards 1)."
            )

    def terms(self, log_s: Tensor, p_s: Tensor, log_t: Tensor) -> Tensor:
        """See `Divergence`; g = (1-beta) p_S (log p_S - log m)."""
        log_t.clamp_(min=LOG_FLOOR)
        p_t = log_t.exp()
        log_m = torch.lerp(p_s, p_t, self.beta)
        # Where both probabilities underflow to 0 the terms are 0, whatever finite log m is.
        log_m.clamp_(min=torch.finfo(log_m.dtype).tiny).log_()
        from_teacher = log_t.sub_(log_m).mul_(p_t).sum(-1)
        log_s.sub_(log_m).mul_(p_s).mul_(1 - self.beta)
        return from_teacher.mul_(self.beta).add_(log_s.sum(-1))


DIVERGENCES: dict[str, Callable[[float], Divergence]] = {
    "forward_kl": lambda _: ForwardKL(),
    "reverse_kl": lambda _: ReverseKL(),
    "jensen_shannon": JensenShannon,
}
"""By name, made from beta, which only the last one reads. To add one: write its terms above."""
