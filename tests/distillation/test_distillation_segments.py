import pytest
import torch

from distillscale.distillation.segments import (
    ANSWER,
    REASONING,
    SegmentTotals,
    collate,
    training_row,
)
from distillscale.tasks.trace import Trace


def trace(prompt=(5, 6, 7), completion=(8, 9, 10), answer_start=2, label="up") -> Trace:
    return Trace("x", prompt, completion, answer_start, "text", label, "up")


def test_completion_tokens_are_predicted_one_position_earlier():
    row = training_row(trace())
    assert row.input_ids == (5, 6, 7, 8, 9, 10)
    assert row.positions.tolist() == [2, 3, 4]
    assert row.targets.tolist() == [8, 9, 10]
    assert row.segments.tolist() == [REASONING, REASONING, ANSWER]


def test_every_target_is_the_token_after_its_position(traces):
    for item in traces:
        row = training_row(item)
        ids = torch.tensor(row.input_ids)
        assert torch.equal(ids[row.positions + 1], row.targets)
        assert tuple(row.targets.tolist()) == item.completion_ids


def test_first_label_token_is_supervised():
    row = training_row(trace(completion=(8,), answer_start=0))
    assert row.positions.tolist() == [2]
    assert row.segments.tolist() == [ANSWER]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"label": None, "answer_start": 3}, "unparsed"),
        ({"prompt": ()}, "prompt"),
        ({"completion": (), "answer_start": 0}, "completion"),
    ],
)
def test_unusable_traces_are_refused(bad, reason):
    with pytest.raises(ValueError, match=reason):
        training_row(trace(**bad))


def test_batch_lists_supervised_positions_row_by_row_in_the_order_asked(traces):
    rows = [training_row(item) for item in traces]
    order = [7, 2, 2, 11]
    batch = collate(rows, order, pad_id=0)
    assert batch.trace_rows == tuple(order)
    assert torch.equal(batch.targets, torch.cat([rows[row].targets for row in order]))
    assert torch.equal(batch.segments, torch.cat([rows[row].segments for row in order]))
    assert torch.equal(batch.input_ids[batch.rows, batch.positions + 1], batch.targets)


def test_batch_is_padded_on_the_right(traces):
    rows = [training_row(item) for item in traces]
    batch = collate(rows, [0, 4], pad_id=0)
    for place, row in enumerate([rows[0], rows[4]]):
        length = len(row.input_ids)
        assert tuple(batch.input_ids[place, :length].tolist()) == row.input_ids
        assert batch.attention_mask[place].tolist() == [1] * length + [0] * (
            batch.input_ids.shape[1] - length
        )


def test_batch_counts_its_own_positions_unless_told_those_of_its_step(traces):
    rows = [training_row(item) for item in traces]
    batch = collate(rows, [1, 6], pad_id=0)
    reasoning = sum(traces[row].answer_start for row in (1, 6))
    total = sum(len(traces[row].completion_ids) for row in (1, 6))
    assert batch.totals == SegmentTotals(reasoning, total - reasoning)
    assert collate(rows, [1, 6], 0, SegmentTotals(70, 8)).totals == SegmentTotals(70, 8)
