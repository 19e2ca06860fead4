"""A two-dimensional view of texts, made without any download."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.manifold import TSNE


def embed(texts: Sequence[str], *, dimensions: int = 64, seed: int = 0) -> NDArray[np.float64]:
    """Unit-length vectors of texts: TF-IDF of words and word pairs, then truncated SVD.

    Returns:
        Array [texts, dimensions]; fewer dimensions where texts or vocabulary are fewer. A text
        without a word of two letters has the zero vector.
    """
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    if not any(map(vectorizer.build_analyzer(), texts)):
        return np.zeros((len(texts), 1))
    weights = vectorizer.fit_transform(texts)
    rank = min(dimensions, min(weights.shape) - 1)
    if rank < 1:
        return weights.toarray()
    vectors = TruncatedSVD(rank, random_state=seed).fit_transform(weights)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)


def flatten(vectors: NDArray[np.float64], *, seed: int = 0) -> NDArray[np.float64]:
    """Positions in the plane that keep neighbours together (t-SNE): array [texts, 2].

    Fewer than four texts or two dimensions have no neighbourhoods to keep: the first two
    dimensions are returned as they are.
    """
    if len(vectors) < 4 or vectors.shape[1] < 2:
        return np.pad(vectors, ((0, 0), (0, 2)))[:, :2]
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, metric="cosine")
    return np.asarray(tsne.fit_transform(vectors))
