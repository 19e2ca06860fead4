import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillscale.data import inverted_lists, near_duplicates
from distillscale.data.inverted_lists import draw_lists
from distillscale.data.near_duplicates import (
    NearDuplicateIndex,
    near_duplicate_pairs,
    pairs_between,
)
from distillscale.errors import DamagedArtifact, InputError


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def planted(count, *, dimensions=64, share=0.3, seed=0):
    """Groups of unit vectors; a share of the rows is another row turned by up to 32 degrees."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(20, dimensions))
    vectors = unit(
        centres[generator.integers(0, 20, count)] + generator.normal(size=(count, dimensions))
    )
    copies = int(count * share)
    sources = vectors[generator.integers(0, count - copies, copies)]
    steps = generator.normal(size=sources.shape)
    steps = unit(steps - (steps * sources).sum(1, keepdims=True) * sources)
    cosines = generator.uniform(0.85, 1, (copies, 1))
    vectors[count - copies :] = unit(cosines * sources + np.sqrt(1 - cosines**2) * steps)
    return vectors[generator.permutation(count)]


def brute_force(queries, rows, threshold):
    cosines = queries.astype(float) @ rows.T.astype(float)
    return set(zip(*map(np.ndarray.tolist, np.nonzero(cosines >= threshold)), strict=True))


def found(pairs):
    return set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))


@pytest.fixture
def early_lists(monkeypatch):
    """Draw lists from 256 rows on, and visit few, so that small tests meet what large data does."""
    monkeypatch.setattr(near_duplicates, "_EXACT", 256)
    monkeypatch.setattr(near_duplicates, "_ROWS_A_LIST", 16)


def filled(vectors, batch):
    index = NearDuplicateIndex(vectors.shape[1])
    for start in range(0, len(vectors), batch):
        index.add(vectors[start : start + batch])
    return index


def test_a_small_index_finds_exactly_what_brute_force_finds():
    vectors = planted(1200)
    pairs = filled(vectors, 500).search(vectors, 0.9)
    assert found(pairs) == brute_force(vectors, vectors, 0.9)
    cosines = (vectors[pairs.left].astype(float) * vectors[pairs.right]).sum(1)
    assert pairs.similarity == pytest.approx(cosines, abs=1e-6)
    assert np.lexsort((pairs.right, pairs.left)).tolist() == list(range(len(pairs.left)))


@pytest.mark.parametrize("threshold", [0.85, 0.9, 0.97, 1.0])
def test_an_index_with_lists_misses_almost_nothing_and_invents_nothing(early_lists, threshold):
    vectors = planted(6000)
    index = filled(vectors, 700)
    assert len(index._lists) > 200
    expected = brute_force(vectors, vectors, threshold - 1e-6)
    pairs = found(index.search(vectors, threshold))
    assert pairs <= expected | {(row, row) for row in range(6000)}
    assert len(pairs & expected) >= 0.999 * len(expected)


def test_with_full_reach_nothing_is_missed(early_lists, monkeypatch):
    """Only what the reach leaves out can be missed: the bound of the planes is certain."""
    monkeypatch.setattr(inverted_lists, "_REACH", 8.0)  # the square root of the dimensions
    monkeypatch.setattr(inverted_lists, "_MOST_PROBES", 10_000)
    vectors = planted(3000)
    index = filled(vectors, 700)
    _, lists = index._lists.visits(vectors, 0.9)
    assert len(lists) < 0.9 * 3000 * len(index._lists)
    assert found(index.search(vectors, 0.9)) == brute_force(vectors, vectors, 0.9)


def test_the_bound_of_prefixes_is_never_below_the_cosine():
    vectors = planted(2000, dimensions=128)
    prefixes = draw_lists(vectors, 50, seed=0).prefixes(vectors)
    assert prefixes.shape[1] == 97
    assert (prefixes @ prefixes.T >= vectors @ vectors.T - 1e-5).all()


def test_every_row_is_in_the_list_of_its_nearest_centre(early_lists):
    vectors = planted(1500)
    index = filled(vectors, 300)
    nearest = (vectors @ index._lists.centres.T).argmax(1)
    assert (index._list_of[:1500] == nearest).mean() > 0.999  # ties may fall otherwise


def test_an_index_grown_in_batches_answers_as_one_made_at_once(early_lists):
    vectors = planted(2500)
    pairs = [found(filled(vectors, batch).search(vectors, 0.9)) for batch in (100, 2500)]
    assert len(pairs[0] ^ pairs[1]) <= 0.002 * len(pairs[0])


def test_the_same_calls_give_the_same_answers(early_lists):
    vectors = planted(1500)
    first, second = (filled(vectors, 400).search(vectors, 0.88) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_nearest_is_the_most_similar_row_and_of_equal_ones_the_first(early_lists):
    vectors = planted(1500)
    index = filled(np.concatenate([vectors[:700], vectors]), 500)
    everything, nearest = index.search(vectors, 0.85), index.nearest(vectors, 0.85)
    assert (np.diff(nearest.left) > 0).all()
    assert set(nearest.left.tolist()) == set(everything.left.tolist())
    for query, row, similarity in zip(*nearest, strict=True):
        own = everything.left == query
        best = everything.similarity[own].max()
        assert similarity == best
        assert row == everything.right[own][everything.similarity[own] == best].min()


def test_pairs_among_vectors_come_once_and_in_order(early_lists):
    vectors = planted(1000)
    pairs = near_duplicate_pairs(vectors, 0.9)
    assert found(pairs) == {(a, b) for a, b in brute_force(vectors, vectors, 0.9) if a < b}


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3))
def test_comparing_all_with_all_is_exact_with_and_without_a_bound(queries, rows, seed):
    generator = np.random.default_rng(seed)
    vectors = unit(np.abs(generator.normal(size=(queries + rows + 20, 5))))
    lists = draw_lists(vectors, 3, seed=0)
    left, right = vectors[:queries], vectors[queries : queries + rows]
    for bound in (None, lists):
        assert found(pairs_between(left, right, 0.8, bound)) == brute_force(left, right, 0.8)


def test_zero_vectors_are_similar_to_nothing(early_lists):
    vectors = planted(600)
    vectors[::50] = 0
    index = filled(vectors, 200)
    assert not set(index.search(vectors, 1e-3).left.tolist()) & set(range(0, 600, 50))


def test_an_empty_index_and_an_empty_query():
    index = NearDuplicateIndex(64)
    assert len(index.search(planted(10), 0.5).left) == 0
    assert len(index.nearest(planted(10), 0.5).left) == 0
    index.add(planted(10))
    assert len(index.search(planted(10)[:0], 0.5).left) == 0
    assert index.add(planted(10)[:0]) == range(10, 10)


@pytest.mark.parametrize("threshold", [0, -0.5, 1.1, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(InputError, match="over 0 and at most 1"):
        NearDuplicateIndex(64).search(planted(10), threshold)


def test_vectors_that_are_not_unit_vectors_are_refused():
    index = NearDuplicateIndex(64)
    for wrong in (2 * planted(10), planted(10).astype(float), planted(10)[:, :32]):
        with pytest.raises(ValueError, match="vectors"):
            index.add(wrong)
    with pytest.raises(ValueError, match="unit length"):
        index.add(np.full((1, 64), np.nan, np.float32))


@pytest.mark.parametrize("count", [100, 2000])
def test_a_saved_index_goes_on_as_if_it_had_never_stopped(early_lists, tmp_path, count):
    vectors = planted(count + 1000)
    kept = filled(vectors[:count], 300)
    kept.save(tmp_path)
    loaded = NearDuplicateIndex.load(tmp_path)
    for index in (kept, loaded):
        index.add(vectors[count:])
    np.testing.assert_array_equal(kept.vectors, loaded.vectors)
    for one, other in zip(kept.search(vectors, 0.9), loaded.search(vectors, 0.9), strict=True):
        np.testing.assert_array_equal(one, other)


def test_saving_again_writes_only_new_rows_and_the_state_before_stays_readable(tmp_path):
    vectors = planted(900)
    index = NearDuplicateIndex(64)
    for start in (0, 300, 600):
        index.add(vectors[start : start + 300])
        index.save(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "lists-000000600.safetensors",
        "lists-000000900.safetensors",
        *(f"rows-{start:09d}.safetensors" for start in (0, 300, 600)),
    ]
    np.testing.assert_array_equal(NearDuplicateIndex.load(tmp_path).vectors, vectors)
    before = NearDuplicateIndex.load(tmp_path, 600)
    np.testing.assert_array_equal(before.vectors, vectors[:600])


def test_going_on_from_an_earlier_state_overwrites_the_later_one(tmp_path):
    vectors = planted(900)
    index = NearDuplicateIndex(64)
    for start in (0, 300):
        index.add(vectors[start : start + 300])
        index.save(tmp_path)
    again = NearDuplicateIndex.load(tmp_path, 300)
    again.add(vectors[800:])
    again.save(tmp_path)
    np.testing.assert_array_equal(
        NearDuplicateIndex.load(tmp_path).vectors, np.concatenate([vectors[:300], vectors[800:]])
    )


def test_a_damaged_or_missing_state_is_noticed(tmp_path):
    with pytest.raises(InputError, match="no index of near-duplicates"):
        NearDuplicateIndex.load(tmp_path)
    filled(planted(50), 50).save(tmp_path)
    rows = tmp_path / "rows-000000000.safetensors"
    content = bytearray(rows.read_bytes())
    content[-5] ^= 1
    rows.write_bytes(content)
    with pytest.raises(DamagedArtifact, match="not what was written"):
        NearDuplicateIndex.load(tmp_path)
    rows.write_bytes(content[:100])
    with pytest.raises(DamagedArtifact, match="cannot be read"):
        NearDuplicateIndex.load(tmp_path)
    rows.unlink()
    with pytest.raises(DamagedArtifact, match="cannot be read"):
        NearDuplicateIndex.load(tmp_path)
