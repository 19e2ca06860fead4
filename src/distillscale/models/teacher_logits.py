"""What distillation and evaluation ask of a teacher, however it answers.

A teacher says what it predicts at P positions in one of two forms. `FullLogits` is exact: the final
hidden states and the head that turns them into logits, so that who reads them can do so chunk by
chunk. `TopLogProbs` is truncated: the k most likely tokens and the mass left over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from distillscale.models.forward import Head


@dataclass(frozen=True)
class FullLogits:
    """A teacher's exact predictions at P positions: logits are `head.logits(hidden)`, [P, V].

    `hidden` [P, H] are the final hidden states (after the last norm); the head is frozen.
    """

    hidden: Tensor
    head: Head

    @property
    def positions(self) -> int:
        """P."""
        return self.hidden.shape[0]

    @property
    def vocabulary(self) -> int:
        """V, padding rows included."""
        return self.head.vocabulary

    def select(self, positions: slice | Tensor) -> "FullLogits":
        """The predictions at some of the positions, given by number or as a slice."""
        return FullLogits(self.hidden[positions], self.head)

    def to(self, device: torch.device) -> "FullLogits":
        """The same predictions with their tensors on a device."""
        return FullLogits(self.hidden.to(device), self.head.to(device))


@dataclass(frozen=True)
class TopLogProbs:
    """A teacher's k >= 2 most likely tokens at P positions, at one temperature.

    `tokens` [P, k] (int64, no token twice in a row) and `log_probs` [P, k] (natural logarithms of
    softmax(logits / temperature), float) fall from left to right in log-probability: the first is
    the most likely of all. The token that the trace has at a position is always among the k; where
    it is less likely than all of them, it takes the place of the last. `log_rest` [P] is the
    logarithm of the mass of all other tokens, -inf where there is none. `vocabulary` is the number
    of logits that the teacher has, padding rows included.
    """

    tokens: Tensor
    log_probs: Tensor
    log_rest: Tensor
    temperature: float
    vocabulary: int

    @property
    def positions(self) -> int:
        """P."""
        return self.tokens.shape[0]

    def select(self, positions: Tensor) -> "TopLogProbs":
        """The predictions at some of the positions, given by number."""
        return TopLogProbs(
            self.tokens[positions],
            self.log_probs[positions],
            self.log_rest[positions],
            self.temperature,
            self.vocabulary,
        )

    def to(self, device: torch.device) -> "TopLogProbs":
        """The same predictions with their tensors on a device."""
        return TopLogProbs(
            self.tokens.to(device),
            self.log_probs.to(device),
            self.log_rest.to(device),
            self.temperature,
            self.vocabulary,
        )


class TeacherLogits(Protocol):
    """The teacher's predictions at the supervised positions of traces, computed or cached."""

    def at(self, rows: Sequence[int]) -> FullLogits | TopLogProbs:
        """What the teacher predicts in the traces numbered `rows`.

        Positions go trace by trace in the order of `rows` (a number may occur twice), one for each
        completion token of the trace, in order: position `len(prompt) + j - 1` predicts completion
        token j.
        """
        ...
