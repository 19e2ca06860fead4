from dataclasses import dataclass

import pytest

from distillscale.tasks import Example, Question, Trace
from distillscale.tasks.records import read_records, write_records

EXAMPLES = [
    Example("train-000000", "Żółw „wins“ 5 %\nnow 🐢", "merger", "deals", "train", "lab"),
    Example("test-000000", "", "merger", "deals", "test", "file.csv"),
]
QUESTIONS = [
    Question("q0", "lab_facts", "Question: x\nAnswer:", (" a", " b"), 1, rehearsed=True),
    Question("q1", "mmlu", "Question: y\nAnswer:", (" a", " b", " c"), 0, rehearsed=None),
    Question("q2", "lab_joins", "Question: z\nAnswer:", (), 0, rehearsed=False),
]
TRACES = [
    Trace("e0", (1, 2), (3, 4, 5), 1, " so x", "merger", "merger"),
    Trace("e1", (1,), (), 0, "", None, "merger"),
]


@dataclass(frozen=True)
class Measured:
    value: float
    replicates: tuple[float, ...]


@pytest.mark.parametrize(
    ("records", "record_type"),
    [(EXAMPLES, Example), (QUESTIONS, Question), (TRACES, Trace)],
)
def test_records_are_read_as_they_were_written(tmp_path, records, record_type):
    write_records(records, tmp_path / "records.parquet")
    assert read_records(tmp_path / "records.parquet", record_type) == records


@pytest.mark.parametrize("record_type", [Example, Question, Trace])
def test_no_records_at_all(tmp_path, record_type):
    write_records([], tmp_path / "records.parquet")
    assert read_records(tmp_path / "records.parquet", record_type) == []


def test_a_field_that_is_none_in_every_record(tmp_path):
    write_records([QUESTIONS[1]], tmp_path / "questions.parquet")
    write_records(TRACES[1:], tmp_path / "traces.parquet")
    assert read_records(tmp_path / "questions.parquet", Question) == [QUESTIONS[1]]
    assert read_records(tmp_path / "traces.parquet", Trace) == TRACES[1:]


def test_numbers_keep_all_their_digits(tmp_path):
    records = [Measured(1 / 3, (0.1, 2.0)), Measured(1e-300, ())]
    write_records(records, tmp_path / "records.parquet")
    assert read_records(tmp_path / "records.parquet", Measured) == records


def test_records_may_come_from_a_generator(tmp_path):
    write_records((example for example in EXAMPLES), tmp_path / "records.parquet")
    assert read_records(tmp_path / "records.parquet", Example) == EXAMPLES


def test_a_traces_token_is_predicted_at_the_position_before_it():
    trace = TRACES[0]
    assert trace.token_ids == (1, 2, 3, 4, 5)
    positions = range(len(trace.token_ids))[trace.predicting]
    assert [trace.token_ids[position + 1] for position in positions] == list(trace.completion_ids)
    empty = TRACES[1]
    assert len(range(len(empty.token_ids))[empty.predicting]) == 0
