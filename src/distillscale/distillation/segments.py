"""Traces made into training rows and batches with their supervised positions.

A causal LM predicts token i+1 at position i. That shift is made in `Trace.predicting` and nowhere
else: everything downstream works on the positions that predict completion tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from distillscale.models.batches import pad
from distillscale.tasks.trace import Trace

REASONING, ANSWER = 0, 1


@dataclass(frozen=True)
class SegmentTotals:
    """Number of supervised positions of each segment in a whole optimizer step.

    Whole: summed over its micro-batches and over all processes.
    """

    reasoning: int
    answer: int

    @classmethod
    def of(cls, segments: Tensor) -> "SegmentTotals":
        """Count the positions of some segments [P]."""
        answer = int((segments == ANSWER).sum())
        return cls(segments.numel() - answer, answer)

    def __add__(self, other: "SegmentTotals") -> "SegmentTotals":
        """The totals of both together."""
        return SegmentTotals(self.reasoning + other.reasoning, self.answer + other.answer)


@dataclass(frozen=True)
class TrainingRow:
    """One trace as model input with what is supervised in it; T completion tokens.

    `positions`, `targets` and `segments` have shape [T]: the positions of `input_ids` that predict
    the completion's tokens, those tokens, and the segment (REASONING or ANSWER) of each.
    """

    input_ids: tuple[int, ...]
    positions: Tensor
    targets: Tensor
    segments: Tensor


@dataclass(frozen=True)
class Batch:
    """Rows padded on the right, and their P supervised positions in one flat list.

    The list goes row by row in the order of `trace_rows`, and through each row's completion tokens
    in order; `TeacherLogits.at(trace_rows)` answers in that same order.

    `input_ids` and `attention_mask` have shape [B, L]; `rows` and `positions` (the coordinates of
    supervised positions in them), `targets` and `segments` have shape [P]. `totals` are those of
    the whole optimizer step, of which this batch may be a part. `rollouts` are the rows' traces
    where the student wrote the completions itself: then the targets are no one's advice.
    """

    input_ids: Tensor
    attention_mask: Tensor
    rows: Tensor
    positions: Tensor
    targets: Tensor
    segments: Tensor
    trace_rows: tuple[int, ...]
    totals: SegmentTotals
    rollouts: tuple[Trace, ...] = ()

    def to(self, device: torch.device) -> "Batch":
        """The same batch with its tensors on a device."""
        return replace(
            self,
            input_ids=self.input_ids.to(device),
            attention_mask=self.attention_mask.to(device),
            rows=self.rows.to(device),
            positions=self.positions.to(device),
            targets=self.targets.to(device),
            segments=self.segments.to(device),
        )


def training_row(trace: Trace) -> TrainingRow:
    """Lay a trace out for training: token j of the completion is predicted one position before it.

    Raises:
        ValueError: the trace is unparsed (its segments are unknown: filter such traces before), its
            prompt is empty (nothing predicts the first token), or its completion is.
    """
    if not trace.parsed:
        raise ValueError(f"Trace of example {trace.example_id!r} is unparsed; leave it out.")
    return lay_out(trace)


def lay_out(trace: Trace) -> TrainingRow:
    """`training_row` for any trace whose segments are marked, parsed or not.

    Raises:
        ValueError: its prompt is empty (nothing predicts the first token), or its completion is.
    """
    if not trace.prompt_ids or not trace.completion_ids:
        raise ValueError(f"Trace of example {trace.example_id!r} lacks a prompt or a completion.")
    tokens = torch.arange(len(trace.completion_ids))
    return TrainingRow(
        input_ids=trace.token_ids,
        positions=torch.arange(trace.predicting.start, trace.predicting.stop),
        targets=torch.tensor(trace.completion_ids),
        segments=torch.where(tokens < trace.answer_start, REASONING, ANSWER),
    )


def collate(
    rows: Sequence[TrainingRow],
    trace_rows: Sequence[int],
    pad_id: int,
    totals: SegmentTotals | None = None,
) -> Batch:
    """Make a batch of the rows numbered `trace_rows`, in that order.

    `totals` are those of the optimizer step; left out, this batch is the whole step.
    """
    chosen = [rows[row] for row in trace_rows]
    input_ids, attention_mask = pad([row.input_ids for row in chosen], pad_id)
    counts = torch.tensor([len(row.targets) for row in chosen])
    segments = torch.cat([row.segments for row in chosen])
    return Batch(
        input_ids=input_ids,
        attention_mask=attention_mask,
        rows=torch.repeat_interleave(torch.arange(len(chosen)), counts),
        positions=torch.cat([row.positions for row in chosen]),
        targets=torch.cat([row.targets for row in chosen]),
        segments=segments,
        trace_rows=tuple(trace_rows),
        totals=totals or SegmentTotals.of(segments),
    )
