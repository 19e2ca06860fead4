"""The loss of a few positions and its gradient with respect to their logits, tile by tile.

The vocabulary may be whole (one tile) or cut into tiles of which one is held at a time. With
several tiles it is gone through up to three times, with the logits computed anew each time:

1. `observe`: the running log-sum-exp of student and teacher;
2. `weigh`: the sum of the divergence's slopes, where it is not known beforehand;
3. `differentiate`: the gradient and the values.

With one tile, `differentiate` alone does everything.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from distillscale.distillation.divergences import Divergence, ForwardKL
from distillscale.distillation.logit_rows import (
    FAR_BELOW,
    cap,
    combine,
    exponentials,
    forward_kl,
    heat,
    locate,
    log_softmax,
    mix_gold,
)
from distillscale.models.teacher_logits import TopLogProbs


@dataclass(frozen=True)
class Terms:
    """What makes up the loss at every position: tau^2 D (None without a teacher), CE, or both.

    `softcap` is that of the student's head, `teacher_softcap` of the teacher's.
    """

    divergence: Divergence | None
    cross_entropy: bool
    temperature: float = 1.0
    softcap: float | None = None
    teacher_softcap: float | None = None

    @property
    def shared_softmax(self) -> bool:
        """Whether CE reads the same softmax as D."""
        return self.cross_entropy and self.divergence is not None and self.temperature == 1.0


@dataclass(frozen=True)
class Positions:
    """Target tokens of c positions, the weights of their gradients, and their results: all [c].

    `divergence_weights` are a_t tau, the factor of dD / d(z / tau) in the loss's gradient, and
    `cross_entropy_weights` c_t. `divergence` and `cross_entropy` receive D_t and CE_t; they start
    at zero. `gold_mixing` is the lambda of `supervised_loss`, None where nothing is mixed.
    """

    targets: Tensor
    divergence_weights: Tensor
    cross_entropy_weights: Tensor
    divergence: Tensor
    cross_entropy: Tensor
    gold_mixing: Tensor | None = None

    def at(self, rows: slice) -> "Positions":
        """Views of some of the positions."""
        return Positions(
            self.targets[rows],
            self.divergence_weights[rows],
            self.cross_entropy_weights[rows],
            self.divergence[rows],
            self.cross_entropy[rows],
            None if self.gold_mixing is None else self.gold_mixing[rows],
        )


class Comparison:
    """A few positions on their way through the tiles, without a teacher: cross-entropy alone.

    Subclasses add a kind of teacher. A tile is the raw logits [c, v] (before the softcap) of the
    tokens numbered from `start`; every call may overwrite what it is given.
    """

    needs_weighing = False
    """Whether `weigh` has to go through the tiles; it never has where there is only one."""

    def __init__(self, positions: Positions, terms: Terms, *, whole: bool) -> None:
        """Take positions; `whole` says that there will be one tile."""
        self.positions, self.terms, self.whole = positions, terms, whole
        self.log_sum = torch.full_like(positions.divergence, -torch.inf)
        self.plain_log_sum = self.log_sum.clone()
        """Running log-sum-exp of the student's logits at tau and, where CE is apart, at 1."""

    def observe(self, student: Tensor, teacher: Tensor | None, start: int) -> None:
        """Add a tile to the running sums."""
        cap(student, self.terms.softcap)
        if self._separate_cross_entropy:
            self.plain_log_sum = torch.logaddexp(self.plain_log_sum, student.logsumexp(-1))
        self._observe(heat(student, self.terms.temperature), teacher, start)

    def weigh(self, student: Tensor, teacher: Tensor | None, start: int) -> None:
        """Add a tile to the sum of slopes; all have been observed."""
        raise NotImplementedError

    def differentiate(self, student: Tensor, teacher: Tensor | None, start: int) -> None:
        """Overwrite the student's tile with the loss's gradient, and add the tile to the values."""
        softcap = self.terms.softcap
        weights = self.positions.cross_entropy_weights.unsqueeze(-1)
        cap(student, softcap)
        bend = None if softcap is None else (student / softcap).square_().neg_().add_(1)
        if self._separate_cross_entropy:
            plain = student.clone() if self.terms.divergence is not None else student
            self.positions.cross_entropy.sub_(self._at_targets(plain, start))
            shift, total = exponentials(plain, None if self.whole else self.plain_log_sum)
            if start == 0:
                self.positions.cross_entropy.add_(shift + total.log())
            plain.mul_(weights / total.unsqueeze(-1))
        self._compare(heat(student, self.terms.temperature), teacher, start)
        if self.terms.divergence is not None and self._separate_cross_entropy:
            student.add_(plain)
        if self.terms.cross_entropy:
            place, inside = locate(self.positions.targets.unsqueeze(-1), student, start)
            student.scatter_add_(-1, place, -weights * inside)
        if bend is not None:
            student.mul_(bend)

    def _observe(self, student: Tensor, teacher: Tensor | None, start: int) -> None:
        """`observe` of logits divided by tau."""

    def _compare(self, student: Tensor, teacher: Tensor | None, start: int) -> None:
        """Overwrite logits divided by tau with D's part of the gradient, and with CE's softmax."""

    @property
    def _separate_cross_entropy(self) -> bool:
        return self.terms.cross_entropy and not self.terms.shared_softmax

    @property
    def _softmax_weights(self) -> Tensor | float:
        """What p_S counts for CE in the part that D computes, [c]."""
        return self.positions.cross_entropy_weights if self.terms.shared_softmax else 0.0

    def _at_targets(self, values: Tensor, start: int) -> Tensor:
        """The tile's values at the target tokens, [c]; 0 where the target is in another tile."""
        place, inside = locate(self.positions.targets.unsqueeze(-1), values, start)
        return (values.gather(-1, place) * inside).squeeze(-1)


class FullComparison(Comparison):
    """Compares with a teacher's logits over the whole vocabulary."""

    def __init__(self, positions: Positions, terms: Terms, *, whole: bool, spare: Tensor) -> None:
        """See `Comparison`; `spare` is memory for as many numbers as a tile has, overwritten.

        What is allocated anew for every tile costs more than the arithmetic on it.
        """
        super().__init__(positions, terms, whole=whole)
        assert terms.divergence is not None
        self.divergence = terms.divergence
        self.spare = spare
        self.needs_weighing = self.divergence.slope_sum is None and not whole
        self.teacher_log_sum = self.log_sum.clone()
        self.slope_sum = torch.zeros_like(self.log_sum)
        self.best = self.log_sum.clone()
        self.best_token = torch.zeros_like(positions.targets)

    def weigh(self, student: Tensor, teacher: Tensor | None, start: int) -> None:
        """See `Comparison`."""
        assert teacher is not None
        heat(cap(student, self.terms.softcap), self.terms.temperature)
        self._slopes(log_softmax(student, self.log_sum), self._log_teacher(teacher, start))
        self.slope_sum.add_(student.sum(-1))

    def _observe(self, student: Tensor, teacher: Tensor | None, start: int) -> None:
        assert teacher is not None
        heat(cap(teacher, self.terms.teacher_softcap), self.terms.temperature)
        self.log_sum = torch.logaddexp(self.log_sum, student.logsumexp(-1))
        self.teacher_log_sum = torch.logaddexp(self.teacher_log_sum, teacher.logsumexp(-1))
        if self.positions.gold_mixing is not None:
            best, token = teacher.max(-1)
            self.best_token = torch.where(best > self.best, token + start, self.best_token)
            self.best = torch.maximum(best, self.best)

    def _compare(self, student: Tensor, teacher: Tensor | None, start: int) -> None:
        assert teacher is not None
        if self._in_probabilities:
            self._compare_in_probabilities(student, teacher)
            return
        log_s = log_softmax(student, None if self.whole else self.log_sum)
        if self.terms.shared_softmax:
            self.positions.cross_entropy.sub_(self._at_targets(log_s, start))
        p_s, values = self._slopes(log_s, self._log_teacher(teacher, start))
        self.positions.divergence.add_(values)
        slope_sum: Tensor | float | None = self.divergence.slope_sum
        if slope_sum is None:
            slope_sum = student.sum(-1) if self.whole else self.slope_sum
        combine(student, p_s, slope_sum, self.positions.divergence_weights, self._softmax_weights)

    @property
    def _in_probabilities(self) -> bool:
        """Whether the divergence can do without log-probabilities."""
        plain = self.whole and self.positions.gold_mixing is None
        return plain and isinstance(self.divergence, ForwardKL)

    def _compare_in_probabilities(self, student: Tensor, teacher: Tensor) -> None:
        """`_compare` by forward KL with one exp a logit of each side, where log-probabilities and
        their exp take two.
        """
        heat(cap(teacher, self.terms.teacher_softcap), self.terms.temperature)
        if self.terms.shared_softmax:
            self.positions.cross_entropy.sub_(self._at_targets(student, 0))
        values, log_sum, total_s, total_t = forward_kl(student, teacher, self._spare_like(student))
        self.positions.divergence.add_(values)
        if self.terms.shared_softmax:
            self.positions.cross_entropy.add_(log_sum)
        weights = self.positions.divergence_weights
        student.mul_(((weights + self._softmax_weights) / total_s).unsqueeze(-1))
        student.addcmul_(teacher, (weights / total_t).unsqueeze(-1), value=-1)

    def _slopes(self, log_s: Tensor, log_t: Tensor) -> tuple[Tensor, Tensor]:
        """p_S and the tile's part of D; log_s becomes the slopes."""
        p_s = torch.exp(log_s, out=self._spare_like(log_s))
        return p_s, self.divergence.terms(log_s, p_s, log_t)

    def _spare_like(self, tile: Tensor) -> Tensor:
        return self.spare[: tile.numel()].view_as(tile)

    def _log_teacher(self, teacher: Tensor, start: int) -> Tensor:
        """The teacher's log-probabilities, in the place of its raw logits."""
        heat(cap(teacher, self.terms.teacher_softcap), self.terms.temperature)
        mixing = self.positions.gold_mixing
        if mixing is not None and self.whole:
            self.best_token = teacher.argmax(-1)
        log_t = log_softmax(teacher, None if self.whole else self.teacher_log_sum)
        if mixing is not None:
            place, inside = locate(self.positions.targets.unsqueeze(-1), log_t, start)
            wrong = self.best_token != self.positions.targets
            mix_gold(log_t, place, inside, mixing * wrong)
        return log_t


class TopComparison(Comparison):
    """Compares with a teacher's top tokens and one bucket for all others.

    The student's rest has the probability of everything but the top tokens. The bucket's slope acts
    on each of its tokens in proportion to the token's share q_v = p_S(v) / p_S(rest): the gradient
    at such a token is q_v (g_rest - p_S(rest) S) / tau, with S the sum of all k + 1 slopes.
    """

    def __init__(
        self, positions: Positions, terms: Terms, *, whole: bool, teacher: TopLogProbs
    ) -> None:
        """See `Comparison`; `teacher` is what it predicts at these positions."""
        super().__init__(positions, terms, whole=whole)
        assert terms.divergence is not None
        self.divergence = terms.divergence
        self.teacher = teacher
        dtype = positions.divergence.dtype
        self.top_logits = torch.zeros_like(teacher.log_probs, dtype=dtype)
        self.log_t = torch.cat([teacher.log_probs, teacher.log_rest.unsqueeze(-1)], -1).to(dtype)
        if positions.gold_mixing is not None:
            hit = teacher.tokens == positions.targets.unsqueeze(-1)
            wrong = teacher.tokens[:, 0] != positions.targets
            place = hit.long().argmax(-1, keepdim=True)
            mixing = positions.gold_mixing * wrong
            mix_gold(self.log_t, place, hit.any(-1, keepdim=True), mixing)

    def _observe(self, student: Tensor, teacher: Tensor | None, start: int) -> None:  # noqa: ARG002
        self._take_top(student, start)
        self.log_sum = torch.logaddexp(self.log_sum, student.logsumexp(-1))

    def _compare(self, student: Tensor, teacher: Tensor | None, start: int) -> None:  # noqa: ARG002
        if self.terms.shared_softmax:
            self.positions.cross_entropy.sub_(self._at_targets(student, start))
        place, inside = self._take_top(student, start)
        share = student
        shift, total = exponentials(share, None if self.whole else self.log_sum)
        self.log_sum = shift + total.log()
        gradient = self._bucket_gradient(first=start == 0)
        share.mul_(gradient[:, -1:] / total.unsqueeze(-1))
        # The top tokens' own places hold a share of exactly 0.
        student.scatter_add_(-1, place, gradient[:, :-1] * inside)

    def _take_top(self, student: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Move the top tokens' logits out of the tile; where they are, and which are inside it."""
        place, inside = locate(self.teacher.tokens, student, start)
        self.top_logits = torch.where(inside, student.gather(-1, place), self.top_logits)
        student.scatter_add_(-1, place, inside.to(student.dtype).mul_(FAR_BELOW))
        return place, inside

    def _bucket_gradient(self, *, first: bool) -> Tensor:
        """Gradient with respect to the k top logits and, in the last place, the rest's log-mass.

        [c, k + 1]. Values are recorded with the first tile.
        """
        log_s = torch.cat([self.top_logits, self.log_sum.unsqueeze(-1)], -1)
        log_sum = log_s.logsumexp(-1)
        log_s.sub_(log_sum.unsqueeze(-1))
        p_s = log_s.exp()
        values = self.divergence.terms(log_s, p_s, self.log_t.clone())
        if first:
            self.positions.divergence.copy_(values)
            if self.terms.shared_softmax:
                self.positions.cross_entropy.add_(log_sum)
        slope_sum = log_s.sum(-1)
        weights = self.positions.divergence_weights
        return combine(log_s, p_s, slope_sum, weights, self._softmax_weights)
