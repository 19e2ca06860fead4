import numpy as np
import pytest

from distillscale.data.embedding import embed, flatten
from distillscale.lab.examples import lab_examples
from distillscale.lab.world import make_world

TEXTS = [
    "central bank lifts rates",
    "Central bank lifts rates!",
    "central bank lifts rates again",
    "firm recalls kettles after fire",
    "firm recalls kettles after a fire",
    "workers walk out at the plant",
]


@pytest.fixture(scope="module")
def headlines():
    made = lab_examples("fin-headlines", make_world(0), train=200, validation=0, test=0, seed=0)
    return [example.text for example in made]


def test_vectors_have_unit_length_and_the_dimensions_asked_for(headlines):
    vectors = embed(headlines, dimensions=16)
    assert vectors.shape == (200, 16)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(200))


def test_an_embedding_is_decided_by_texts_and_seed(headlines):
    np.testing.assert_array_equal(embed(headlines, seed=1), embed(headlines, seed=1))
    vectors = embed(headlines)
    np.testing.assert_array_equal(flatten(vectors, seed=1), flatten(vectors, seed=1))


def test_near_duplicates_are_close_and_other_texts_far():
    vectors = embed(TEXTS)
    cosines = vectors @ vectors.T
    assert cosines[0, 1] == pytest.approx(1)
    assert cosines[0, 2] > 0.7
    assert cosines[3, 4] > 0.7
    assert abs(cosines[0, 3]) < 0.1
    assert abs(cosines[4, 5]) < 0.1


def test_fewer_dimensions_where_the_vocabulary_is_smaller():
    assert embed(TEXTS, dimensions=64).shape[1] < 64
    for texts in (["one"], ["one", "one"], ["one", "two"], ["one two", "one"]):
        assert embed(texts).shape[0] == len(texts)
        assert np.isfinite(embed(texts)).all()


def test_a_text_without_words_is_the_zero_vector():
    vectors = embed([*TEXTS, "5 %"])
    assert not vectors[-1].any()
    assert not embed(["5 %", "!"]).any()


def test_the_plane_keeps_groups_together(headlines):
    blocks = np.repeat(np.eye(4), 25, axis=0)
    noise = np.random.default_rng(0).normal(scale=0.02, size=blocks.shape)
    places = flatten(blocks + noise)
    assert places.shape == (100, 2)
    centres = places.reshape(4, 25, 2).mean(axis=1)
    nearest = np.linalg.norm(places[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearest == np.repeat(np.arange(4), 25)).all()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_the_plane_of_very_few_texts(count):
    places = flatten(embed(TEXTS[:count]))
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
