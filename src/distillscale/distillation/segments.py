"""Traces made into training rows and batches with their supervised positions.

A causal LM predicts token i+1 at position i. That shift is made here, in `training_row`, and
nowhere else: everything downstream works on the positions that predict completion tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distillscale.models.batches import pad
from distillscale.tasks.trace import Trace

REASONING, ANSWER = 0, 1


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
    in order; `TeacherLogits.logits(trace_rows)` answers in that same order.

    `input_ids` and `attention_mask` have shape [B, L]; `rows` and `positions` (the coordinates of
    supervised positions in them), `targets` and `segments` have shape [P].
    """

    input_ids: Tensor
    attention_mask: Tensor
    rows: Tensor
    positions: Tensor
    targets: Tensor
    segments: Tensor
    trace_rows: tuple[int, ...]

    def to(self, device: torch.device) -> "Batch":
        """The same batch with its tensors on a device."""
        return Batch(
            self.input_ids.to(device),
            self.attention_mask.to(device),
            self.rows.to(device),
            self.positions.to(device),
            self.targets.to(device),
            self.segments.to(device),
            self.trace_rows,
        )


def training_row(trace: Trace) -> TrainingRow:
    """Lay a trace out for training: token j of the completion is predicted one position before it.

    Raises:
        ValueError: the trace is unparsed (its segments are unknown: filter such traces before), its
            prompt is empty (nothing predicts the first token), or its completion is.
    """
    if not trace.parsed:
        raise ValueError(f"Trace of example {trace.example_id!r} is unparsed; leave it out.")
    if not trace.prompt_ids or not trace.completion_ids:
        raise ValueError(f"Trace of example {trace.example_id!r} lacks a prompt or a completion.")
    length = len(trace.completion_ids)
    tokens = torch.arange(length)
    return TrainingRow(
        input_ids=trace.prompt_ids + trace.completion_ids,
        positions=tokens + len(trace.prompt_ids) - 1,
        targets=torch.tensor(trace.completion_ids),
        segments=torch.where(tokens < trace.answer_start, REASONING, ANSWER),
    )


def collate(rows: Sequence[TrainingRow], trace_rows: Sequence[int], pad_id: int) -> Batch:
    """Make a batch of the rows numbered `trace_rows`, in that order."""
    chosen = [rows[row] for row in trace_rows]
    input_ids, attention_mask = pad([row.input_ids for row in chosen], pad_id)
    counts = torch.tensor([len(row.targets) for row in chosen])
    return Batch(
        input_ids=input_ids,
        attention_mask=attention_mask,
        rows=torch.repeat_interleave(torch.arange(len(chosen)), counts),
        positions=torch.cat([row.positions for row in chosen]),
        targets=torch.cat([row.targets for row in chosen]),
        segments=torch.cat([row.segments for row in chosen]),
        trace_rows=tuple(trace_rows),
    )
