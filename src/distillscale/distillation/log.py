"""The record of a training run."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DistillationLog:
    """Curves with one value an optimizer step, and their summaries; plain numbers throughout.

    `losses` are the objective's values and `gradient_norms` the norms before clipping.
    `divergence_reasoning` and `divergence_answer` (tau^2 D of the divergence that is minimized,
    mean over a segment's tokens in nats) are None at a step where it has no weight on any position
    of the segment.

    `mean_loss` is over all steps, `last_loss` over the last tenth of them (at least one).
    `gradient_norm_spread` is the standard deviation over steps of the natural logarithm of the
    gradient norm: 0 for a steady run, 0.69 where norms typically lie a factor 2 from their
    geometric mean; None where fewer than two steps have a gradient.
    """

    steps: int
    losses: tuple[float, ...]
    gradient_norms: tuple[float, ...]
    divergence_reasoning: tuple[float | None, ...]
    divergence_answer: tuple[float | None, ...]
    mean_loss: float
    last_loss: float
    gradient_norm_spread: float | None


def log_of_history(history: Sequence[dict[str, Any]]) -> DistillationLog:
    """Build the log from a record a step: loss, grad_norm, divergence_reasoning and _answer."""
    losses = tuple(record["loss"] for record in history)
    norms = tuple(record["grad_norm"] for record in history)
    return DistillationLog(
        steps=len(history),
        losses=losses,
        gradient_norms=norms,
        divergence_reasoning=tuple(record["divergence_reasoning"] for record in history),
        divergence_answer=tuple(record["divergence_answer"] for record in history),
        mean_loss=statistics.fmean(losses),
        last_loss=statistics.fmean(losses[-max(1, len(losses) // 10) :]),
        gradient_norm_spread=_log_spread(norms),
    )


def _log_spread(norms: Sequence[float]) -> float | None:
    logs = [math.log(norm) for norm in norms if norm > 0]
    return statistics.pstdev(logs) if len(logs) > 1 else None
