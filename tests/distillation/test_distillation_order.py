from collections import Counter

import pytest

from distillscale.distillation.order import Division, batch_order, micro_batches
from distillscale.distillation.segments import SegmentTotals
from distillscale.errors import InputError

LENGTHS = [5 + (i * 7) % 23 for i in range(30)]


def test_every_row_is_visited_once_a_round():
    batches = batch_order(LENGTHS, steps=45, batch_size=5, seed=0)  # 7.5 rounds of 6 batches
    visits = Counter(row for batch in batches for row in batch)
    assert set(visits.values()) == {7, 8}


def test_rows_that_fill_no_batch_sit_out_one_round_and_not_every_one():
    batches = batch_order(LENGTHS, steps=7 * 40, batch_size=4, seed=0)  # 28 of 30 rows a round
    visits = Counter(row for batch in batches for row in batch)
    assert set(visits) == set(range(30))
    assert min(visits.values()) > 30


@pytest.mark.parametrize(("rows", "expected"), [(30, 4), (5, 4), (3, 3)])
def test_batches_are_full_and_their_rows_distinct(rows, expected):
    batches = batch_order(LENGTHS[:rows], steps=41, batch_size=4, seed=0)
    assert [len(batch) for batch in batches] == [expected] * 41
    assert all(len(set(batch)) == len(batch) for batch in batches)


def test_the_seed_fixes_the_order():
    first = batch_order(LENGTHS, steps=20, batch_size=4, seed=3)
    assert first == batch_order(LENGTHS, steps=20, batch_size=4, seed=3)
    assert first != batch_order(LENGTHS, steps=20, batch_size=4, seed=4)


def test_rows_of_similar_length_share_a_batch():
    batches = batch_order(LENGTHS, steps=70, batch_size=4, seed=0)
    padding = sum(
        max(LENGTHS[row] for row in batch) - LENGTHS[other] for batch in batches for other in batch
    )
    shuffled = [range(start, start + 4) for start in range(0, 28, 4)] * 10
    unsorted = sum(
        max(LENGTHS[row] for row in batch) - LENGTHS[other] for batch in shuffled for other in batch
    )
    assert padding < unsorted / 3


def test_long_batches_do_not_all_come_first():
    longest = [
        max(LENGTHS[row] for row in b) for b in batch_order(LENGTHS, steps=8, batch_size=4, seed=0)
    ]
    assert longest != sorted(longest, reverse=True)


@pytest.mark.parametrize(
    ("rows", "micro_batch_size", "processes", "rounds"),
    [
        (24, None, 1, 1),
        (24, 8, 1, 3),
        (24, 7, 1, 4),
        (24, 100, 1, 1),
        (24, 4, 3, 2),
        (5, None, 2, 1),
    ],
)
def test_a_batch_is_divided_into_the_fewest_parts_allowed(
    rows, micro_batch_size, processes, rounds
):
    batch = list(range(100, 100 + rows))
    divisions = [Division.of(rows, micro_batch_size, processes, n) for n in range(processes)]
    parts = [division.own(batch) for division in divisions]
    assert {len(own) for own in parts} == {rounds}
    together = [part for at_once in zip(*parts, strict=True) for part in at_once]
    assert [row for part in together for row in part] == batch  # neighbours stay neighbours
    sizes = {len(part) for part in together}
    assert max(sizes) <= (micro_batch_size or rows)
    assert max(sizes) - min(sizes) <= 1


def test_a_process_without_a_row_is_refused():
    with pytest.raises(InputError, match="5 rows cannot be shared by 4 processes"):
        Division.of(5, 1, processes=4)


def test_every_micro_batch_knows_the_totals_of_its_step():
    row_totals = [SegmentTotals(row, 10 * row) for row in range(6)]
    made = micro_batches([[5, 1, 0], [2, 3, 4]], row_totals, Division.of(3, 2))
    assert [part.rows for part in made] == [(5,), (1, 0), (2,), (3, 4)]
    assert [part.totals for part in made] == [SegmentTotals(6, 60)] * 2 + [SegmentTotals(9, 90)] * 2
