import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillscale.data import deduplicate as module
from distillscale.data.deduplicate import canonical_order, deduplicate
from distillscale.data.hashed_ngrams import hashed_vectors
from distillscale.data.near_duplicates import NearDuplicateIndex

THRESHOLD = 0.9


def vectors_of(seed, count, dimensions=3):
    """Unit vectors so crowded that chains of near-duplicates are common."""
    vectors = np.abs(np.random.default_rng(seed).normal(size=(count, dimensions)))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def greedy(vectors, priority, kept=()):
    """The definition, row by row: what is kept, and each dropped row's keeper."""
    kept, keepers = list(kept), {}
    for row in priority:
        cosines = [float(np.vecdot(vectors[row], vectors[other])) for other in kept]
        if cosines and max(cosines) >= THRESHOLD - 1e-6:
            keepers[row] = kept[int(np.argmax(cosines))]
        else:
            kept.append(row)
    return kept, keepers


@given(st.integers(0, 10_000), st.lists(st.integers(0, 40), min_size=1, max_size=3))
def test_a_run_of_batches_is_the_greedy_choice_in_the_order_of_priority(seed, sizes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FIRST_BLOCK", 4)
        patch.setattr(module, "_PART", 16)
        vectors = vectors_of(seed, sum(sizes))
        texts = [f"text {row}" for row in range(len(vectors))]
        index, kept, start = NearDuplicateIndex(3), [], 0
        for size in sizes:
            rows = np.arange(start, start + size)
            batch = [texts[row] for row in rows]
            decision = deduplicate(index, batch, vectors[rows], THRESHOLD)
            kept, keepers = greedy(vectors, rows[canonical_order(batch)], kept)
            assert rows[decision.kept].tolist() == kept[len(kept) - len(decision.kept) :]
            assert {
                int(row): kept[keeper]
                for row, keeper in zip(rows[decision.dropped], decision.keepers, strict=True)
            } == keepers
            start += size
        np.testing.assert_array_equal(index.vectors, vectors[kept])


@given(st.integers(0, 10_000), st.permutations(range(30)))
def test_what_is_kept_does_not_depend_on_the_order_in_a_batch(seed, order):
    vectors, texts = vectors_of(seed, 30), [f"text {row}" for row in range(30)]
    straight = deduplicate(NearDuplicateIndex(3), texts, vectors, THRESHOLD)
    shuffled = deduplicate(
        NearDuplicateIndex(3), [texts[row] for row in order], vectors[order], THRESHOLD
    )
    assert [order[place] for place in shuffled.kept] == straight.kept.tolist()
    audit = sorted(
        (order[place], order[shuffled.kept[keeper]], float(similarity))
        for place, keeper, similarity in zip(
            shuffled.dropped, shuffled.keepers, shuffled.similarities, strict=True
        )
    )
    keepers = straight.kept[straight.keepers]
    expected = zip(straight.dropped.tolist(), keepers.tolist(), straight.similarities, strict=True)
    assert audit == [(row, keeper, float(similarity)) for row, keeper, similarity in expected]


def test_every_place_is_kept_or_dropped_and_no_keeper_is_dropped():
    vectors = vectors_of(1, 3000)
    texts = [f"text {row}" for row in range(3000)]
    index = NearDuplicateIndex(3)
    decision = deduplicate(index, texts, vectors, THRESHOLD)
    assert sorted([*decision.kept, *decision.dropped]) == list(range(3000))
    keepers = vectors[decision.kept][decision.keepers]
    cosines = np.vecdot(vectors[decision.dropped], keepers)
    np.testing.assert_array_equal(np.minimum(cosines, 1), decision.similarities)
    assert (decision.similarities >= THRESHOLD - 1e-6).all()
    kept = vectors[decision.kept]
    assert (np.triu(kept @ kept.T, 1) < THRESHOLD).all()


def test_a_flood_of_copies_keeps_one():
    texts = ["Rates rise"] * 20_000 + ["profit falls at the plant"]
    index = NearDuplicateIndex(384)
    decision = deduplicate(index, texts, hashed_vectors(texts), THRESHOLD)
    assert len(decision.kept) == len(index) == 2
    assert len(decision.dropped) == 19_999
    assert (decision.similarities == 1).all()


def test_earlier_batches_win_over_later_ones():
    index = NearDuplicateIndex(384)
    for batch, kept in ((["rates rise"], 1), (["RATES rise!", "rates rise ."], 0)):
        decision = deduplicate(index, batch, hashed_vectors(batch), THRESHOLD)
        assert len(decision.kept) == kept
    assert decision.keepers.tolist() == [0, 0]


def test_the_canonical_order_looks_at_the_normalised_text_first():
    texts = ["Rates rise!", "rates rise", "profit falls", "zebra", "rates  rise"]
    order = canonical_order(texts).tolist()
    places = sorted(order.index(place) for place in (0, 1, 4))
    assert places[2] - places[0] == 2
    shuffled = [texts[place] for place in (3, 0, 4, 2, 1)]
    assert [shuffled[place] for place in canonical_order(shuffled)] == [texts[p] for p in order]


def test_an_empty_batch_changes_nothing():
    index = NearDuplicateIndex(384)
    decision = deduplicate(index, [], hashed_vectors([]), THRESHOLD)
    assert len(decision.kept) == len(decision.dropped) == len(index) == 0
