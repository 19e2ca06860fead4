"""How far a student's next-token distributions are from its teacher's, by segment of a trace."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from distillscale.errors import InputError
from distillscale.evaluation.measurement import Measurement
from distillscale.evaluation.metrics import REPLICATES, Floats, measure
from distillscale.models.batches import length_sorted_batches, pad
from distillscale.models.forward import hidden_states, project
from distillscale.models.teacher_logits import TeacherLogits
from distillscale.tasks.trace import Trace


def kl_by_segment(
    student: PreTrainedModel,
    traces: Sequence[Trace],
    teacher: TeacherLogits,
    *,
    batch_size: int = 32,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> list[Measurement]:
    """`kl_answer` and `kl_reasoning`: mean over a segment's tokens of KL(teacher || student).

    In nats per token at temperature 1; the mean runs over the tokens of all traces, the bootstrap
    resamples traces. A segment that no trace has is missing.

    Raises:
        InputError: teacher and student have vocabularies of different sizes.
    """
    sums = np.zeros((len(traces), 2))
    for rows in length_sorted_batches([_length(trace) for trace in traces], batch_size):
        batch = [traces[row] for row in rows]
        divergences = _token_kl(teacher.logits(rows), _student_logits(student, batch))
        ends = np.cumsum([len(trace.completion_ids) for trace in batch])[:-1]
        for row, own in zip(rows, np.split(divergences, ends), strict=True):
            start = traces[row].answer_start
            sums[row] = own[start:].sum(), own[:start].sum()
    tokens = np.array(
        [(len(t.completion_ids) - t.answer_start, t.answer_start) for t in traces], dtype=float
    ).reshape(-1, 2)
    return [
        _per_token(metric, sums[:, column], tokens[:, column], replicates, seed)
        for column, metric in enumerate(("kl_answer", "kl_reasoning"))
    ]


def _per_token(
    metric: str, sums: Floats, tokens: Floats, replicates: int, seed: int
) -> Measurement:
    """Sum over traces divided by their tokens, over the traces that have the segment."""
    has = tokens > 0
    return measure(
        metric,
        int(has.sum()),
        lambda weights: weights @ sums[has] / (weights @ tokens[has]),
        replicates=replicates,
        seed=seed,
    )


@torch.inference_mode()
def _student_logits(student: PreTrainedModel, traces: Sequence[Trace]) -> Tensor:
    """Logits at the supervised positions, in the layout of `TeacherLogits.logits`."""
    ids, mask = pad([(*trace.prompt_ids, *trace.completion_ids) for trace in traces], pad_id=0)
    hidden = hidden_states(student, ids.to(student.device), mask.to(student.device))
    supervised = [
        own[len(trace.prompt_ids) - 1 : _length(trace) - 1]
        for own, trace in zip(hidden, traces, strict=True)
    ]
    return project(student, torch.cat(supervised))


@torch.inference_mode()
def _token_kl(teacher: Tensor, student: Tensor) -> NDArray[np.float64]:
    """KL(teacher || student) at each position, in nats, shape [positions]."""
    if teacher.shape != student.shape:
        raise InputError(
            f"teacher logits of shape {tuple(teacher.shape)} do not fit the student's "
            f"{tuple(student.shape)}; both models must share one vocabulary and the same traces."
        )
    log_t = teacher.to(student.device).float().log_softmax(dim=-1)
    log_s = student.float().log_softmax(dim=-1)
    return (log_t.exp() * (log_t - log_s)).sum(dim=-1).double().cpu().numpy()


def _length(trace: Trace) -> int:
    return len(trace.prompt_ids) + len(trace.completion_ids)
