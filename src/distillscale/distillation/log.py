"""The record of a training run."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DistillationLog:
    """Curves with one value a step, and their summaries; plain numbers throughout.

    `losses` are the objective's values and `gradient_norms` the norms before clipping.
    `kl_reasoning` and `kl_answer` (tau^2 KL(teacher || student), nats a token) are None at a step
    without positions in the segment, or under an objective without teacher distributions.

    `mean_loss` is over all steps, `last_loss` over the last tenth of them (at least one).
    `gradient_norm_spread` is the standard deviation over steps of the natural logarithm of the
    gradient norm: 0 for a steady run, 0.69 where norms typically lie a factor 2 from their
    geometric mean; None where fewer than two steps have a gradient.
    """

    steps: int
    losses: tuple[float, ...]
    gradient_norms: tuple[float, ...]
    kl_reasoning: tuple[float | None, ...]
    kl_answer: tuple[float | None, ...]
    mean_loss: float
    last_loss: float
    gradient_norm_spread: float | None


def log_of_history(history: Sequence[dict[str, Any]]) -> DistillationLog:
    """Build the log from one record a step, with keys loss, grad_norm, kl_reasoning, kl_answer."""
    losses = tuple(record["loss"] for record in history)
    norms = tuple(record["grad_norm"] for record in history)
    return DistillationLog(
        steps=len(history),
        losses=losses,
        gradient_norms=norms,
        kl_reasoning=tuple(record["kl_reasoning"] for record in history),
        kl_answer=tuple(record["kl_answer"] for record in history),
        mean_loss=statistics.fmean(losses),
        last_loss=statistics.fmean(losses[-max(1, len(losses) // 10) :]),
        gradient_norm_spread=_log_spread(norms),
    )


def _log_spread(norms: Sequence[float]) -> float | None:
    logs = [math.log(norm) for norm in norms if norm > 0]
    return statistics.pstdev(logs) if len(logs) > 1 else None
