import sys

import numpy as np
import pytest

from distillscale.data.plane import place


def clusters(count=60):
    """Unit vectors in three clusters, and the cluster of each."""
    rng = np.random.default_rng(0)
    middles = rng.normal(size=(3, 16))
    own = np.arange(count) % 3
    vectors = middles[own] + 0.2 * rng.normal(size=(count, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), own


def neighbours_agree(places, own):
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return (own[distances.argmin(axis=1)] == own).mean()


def test_without_umap_it_is_tsne(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    vectors, own = clusters()
    places, method = place(vectors)
    assert method == "t-SNE"
    assert neighbours_agree(places, own) > 0.95


@pytest.mark.slow
def test_umap_keeps_neighbours_and_gives_the_same_again():
    pytest.importorskip("umap", reason="the `umap` extra is not installed")
    vectors, own = clusters()
    places, method = place(vectors)
    assert method == "UMAP"
    assert places.shape == (60, 2)
    assert neighbours_agree(places, own) > 0.95
    np.testing.assert_array_equal(place(vectors)[0], places)


def test_few_texts_need_no_umap():
    places, method = place(clusters(5)[0])
    assert (places.shape, method) == ((5, 2), "t-SNE")
