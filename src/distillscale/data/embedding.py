"""Vectors of texts: embedders by name, and a two-dimensional view made without any download."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.manifold import TSNE

from distillscale.data.hashed_ngrams import DIMENSIONS, hashed_vectors
from distillscale.errors import InputError

_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Embedder:
    """Turns texts into float32 vectors [texts, dimensions] of unit length, or zero.

    A text's vector does not depend on the texts that it is embedded with, so an index can grow.
    """

    name: str
    dimensions: int
    encode: Callable[[Sequence[str]], NDArray[np.float32]]


def load_embedder(name: str) -> Embedder:
    """The embedder of a name: `hashed`, or a model of sentence-transformers (hub name or folder).

    Raises:
        InputError: the `embeddings` extra is not installed, or there is no such model.
    """
    if name == "hashed":
        return Embedder(name, DIMENSIONS, hashed_vectors)
    library = _sentence_transformers()
    try:
        model = library.SentenceTransformer(name, device="cpu")
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"embedder `{name}`: neither `hashed` nor a model that sentence-transformers can load "
            f"({reason[:200]})."
        ) from error

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, dimensions), np.float32)
        vectors = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return _checked(np.asarray(vectors, np.float32), name)

    dimensions = int(model.encode(["text"]).shape[1])
    return Embedder(name, dimensions, encode)


def _sentence_transformers() -> ModuleType:
    try:
        import sentence_transformers
    except ImportError as error:
        raise InputError(
            "an embedder other than `hashed` needs an extra package; install it with "
            "`pip install 'distillscale[embeddings]'`."
        ) from error
    return sentence_transformers


def _checked(vectors: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1)
    if not (np.abs(lengths - 1) < _UNIT_TOLERANCE).all():
        raise InputError(f"embedder `{name}`: it gave a vector that is not finite, or is zero.")
    return vectors


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
