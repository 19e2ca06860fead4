import pytest

from distillscale.models.batches import length_sorted_batches, pad, position_chunks


@pytest.mark.parametrize(
    ("side", "ids", "mask"),
    [
        ("right", [[1, 2, 3], [4, 9, 9]], [[1, 1, 1], [1, 0, 0]]),
        ("left", [[1, 2, 3], [9, 9, 4]], [[1, 1, 1], [0, 0, 1]]),
    ],
)
def test_padding_stands_on_the_side_asked_for(side, ids, mask):
    padded, real = pad([[1, 2, 3], (4,)], 9, side=side)
    assert padded.tolist() == ids
    assert real.tolist() == mask


@pytest.mark.parametrize(
    ("positions", "vocabulary", "sizes"),
    [(7, 10, [3, 3, 1]), (6, 15, [2, 2, 2]), (3, 31, [1, 1, 1]), (2, 3, [2]), (0, 3, [])],
)
def test_chunks_cover_all_positions_within_the_limit(positions, vocabulary, sizes):
    chunks = list(position_chunks(positions, vocabulary, largest=30))
    assert [len(range(positions)[chunk]) for chunk in chunks] == sizes
    assert [place for chunk in chunks for place in range(positions)[chunk]] == list(
        range(positions)
    )


def test_padding_is_on_the_right_unless_told_otherwise():
    assert pad([[1, 2], [3]], 0)[0].tolist() == [[1, 2], [3, 0]]


def test_a_pad_id_that_is_also_a_token_is_masked_only_where_it_pads():
    assert pad([[9, 9], [9]], 9)[1].tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_batches_hold_every_row_once_longest_first(batch_size):
    lengths = [3, 7, 3, 1, 7]
    batches = length_sorted_batches(lengths, batch_size)
    assert [row for batch in batches for row in batch] == [1, 4, 0, 2, 3]
    assert all(len(batch) <= batch_size for batch in batches)


def test_no_rows_make_no_batches():
    assert length_sorted_batches([], 4) == []
