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
from distillscale.models.batches import length_sorted_batches, position_chunks
from distillscale.models.forward import head_of
from distillscale.models.supervised import supervised_states
from distillscale.models.teacher_logits import FullLogits, TeacherLogits
from distillscale.models.top_log_probs import Truncation, top_log_probs
from distillscale.tasks.trace import Trace

_SEGMENTS = ("answer", "reasoning")


def kl_by_segment(
    student: PreTrainedModel,
    traces: Sequence[Trace],
    teacher: TeacherLogits,
    *,
    truncation: Truncation | None = None,
    batch_size: int = 32,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> list[Measurement]:
    """`kl_answer` and `kl_reasoning`: mean over a segment's tokens of KL(teacher || student).

    In nats per token at temperature 1; the mean runs over the tokens of all traces, the bootstrap
    resamples traces. A segment that no trace has is missing.

    Args:
        teacher: its exact distributions of these traces.
        truncation: where students were trained on truncated distributions, how these were cut.
            `kl_truncation_error_answer` and `kl_truncation_error_reasoning` then state what the
            cut hides: the exact KL less the KL over the kept tokens and one token that stands for
            all others, both at the truncation's temperature and without the factor tau^2. It is
            at least 0 (merging tokens never raises a KL).

    Raises:
        InputError: teacher and student have vocabularies of different sizes.
    """
    names = ["kl", *(["kl_truncation_error"] if truncation else [])]
    sums = np.zeros((len(traces), len(_SEGMENTS), len(names)))
    for rows in length_sorted_batches([len(t.token_ids) for t in traces], batch_size):
        batch = [traces[row] for row in rows]
        divergences = _token_divergences(student, batch, teacher, rows, truncation)
        ends = np.cumsum([len(trace.completion_ids) for trace in batch])[:-1]
        for row, own in zip(rows, np.split(divergences, ends), strict=True):
            start = traces[row].answer_start
            sums[row] = own[start:].sum(axis=0), own[:start].sum(axis=0)
    tokens = np.array(
        [(len(t.completion_ids) - t.answer_start, t.answer_start) for t in traces], dtype=float
    ).reshape(-1, len(_SEGMENTS))
    return [
        _per_token(f"{name}_{segment}", sums[:, place, kind], tokens[:, place], replicates, seed)
        for kind, name in enumerate(names)
        for place, segment in enumerate(_SEGMENTS)
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
def _token_divergences(
    student: PreTrainedModel,
    traces: Sequence[Trace],
    teacher: TeacherLogits,
    rows: Sequence[int],
    truncation: Truncation | None,
) -> NDArray[np.float64]:
    """At each supervised position its KL, then its truncation error where one is asked for.

    Shape [positions, 1 or 2], in nats. Logits are computed for a chunk of positions at a time.
    """
    full = teacher.at(rows)
    assert isinstance(full, FullLogits), "held-out traces are cached exactly"
    full = full.to(student.device)
    own = FullLogits(supervised_states(student, traces, pad_id=0).final, head_of(student))
    if (full.positions, full.vocabulary) != (own.positions, own.vocabulary):
        raise InputError(
            f"teacher logits of shape {(full.positions, full.vocabulary)} do not fit the "
            f"student's {(own.positions, own.vocabulary)}; both models must share one vocabulary "
            "and the same traces."
        )
    tokens = torch.tensor([token for trace in traces for token in trace.completion_ids])
    chunks = [
        _divergences(
            full.select(chunk),
            own.select(chunk),
            tokens[chunk].to(student.device),
            truncation,
        )
        for chunk in position_chunks(full.positions, full.vocabulary)
    ]
    return torch.cat(chunks).double().cpu().numpy()


def _divergences(
    teacher: FullLogits, student: FullLogits, tokens: Tensor, truncation: Truncation | None
) -> Tensor:
    """The columns of `_token_divergences` for a chunk of positions; `tokens` are the traces'."""
    columns = [_kl(_log_probs(teacher, 1.0), _log_probs(student, 1.0))]
    if truncation:
        kept = top_log_probs(teacher, tokens, truncation).tokens
        log_t = _log_probs(teacher, truncation.temperature)
        log_s = _log_probs(student, truncation.temperature)
        columns.append(_truncation_error(log_t, log_s, kept))
    return torch.stack(columns, dim=-1)


def _log_probs(predictions: FullLogits, temperature: float) -> Tensor:
    logits = predictions.head.logits(predictions.hidden).float()
    return (logits / temperature).log_softmax(dim=-1)


def _kl(log_t: Tensor, log_s: Tensor) -> Tensor:
    return (log_t.exp() * (log_t - log_s)).sum(dim=-1)


def _truncation_error(log_t: Tensor, log_s: Tensor, kept: Tensor) -> Tensor:
    """KL(p_T || p_S) less the same with all but the `kept` tokens [P, k] merged into one.

    The kept tokens' terms are equal in both, so with the left-over masses P_T and P_S it is
    sum over the others of p_T (log p_T - log p_S) less P_T (log P_T - log P_S): computed so, it
    does not suffer from the difference of two large numbers. What falls below 0 is rounding.
    """
    rest_t, rest_s = (side.scatter(-1, kept, -torch.inf) for side in (log_t, log_s))
    mass_t, mass_s = rest_t.logsumexp(dim=-1), rest_s.logsumexp(dim=-1)
    apart = (rest_t.exp() * (log_t - log_s)).sum(dim=-1)
    return (apart - mass_t.exp() * (mass_t - mass_s)).clamp(min=0)
