"""What distillation and evaluation ask of a teacher, however it answers."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class TeacherLogits(Protocol):
    """The teacher's logits at the supervised positions of traces, computed or cached."""

    def logits(self, rows: Sequence[int]) -> Tensor:
        """Logits [P, V] for the traces numbered `rows`.

        They go trace by trace in the order of `rows` (a number may occur twice), one row of logits
        for each completion token of the trace, in order: position `len(prompt) + j - 1` predicts
        completion token j.
        """
        ...
