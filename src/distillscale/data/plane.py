"""Texts on a plane, near ones together: UMAP where it is installed, else t-SNE."""

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from distillscale.data.embedding import flatten

_NEIGHBOURS = 15
"""Of UMAP; fewer texts than this have no structure that it could show better than t-SNE."""

_INSIDE = 0.8


def place(vectors: NDArray[np.floating], *, seed: int = 0) -> tuple[NDArray[np.float64], str]:
    """Positions of unit vectors in the plane, [texts, 2], and the name of the method."""
    umap = _umap() if len(vectors) > _NEIGHBOURS else None
    if umap is None:
        return flatten(vectors.astype(np.float64), seed=seed), "t-SNE"
    # One job: with several, UMAP's result would depend on their timing.
    reducer = umap.UMAP(
        n_neighbors=_NEIGHBOURS, metric="cosine", random_state=seed, n_jobs=1, init="pca",
        min_dist=0.5, negative_sample_rate=10,
    )  # fmt: skip
    return _drawn_nearer(np.asarray(reducer.fit_transform(vectors), np.float64)), "UMAP"


def _drawn_nearer(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The places with far islands drawn nearer to the middle, so that the rest gets room.

    A group of near-duplicates is joined to nothing else, so UMAP lets it drift off; how far means
    nothing. Beyond the radius q that holds four fifths of all, r becomes q (1 + ln(r/q)).
    """
    offsets = places - np.median(places, axis=0)
    radii = np.linalg.norm(offsets, axis=1)
    inner = max(float(np.quantile(radii, _INSIDE)), np.finfo(float).tiny)
    ratios = np.maximum(radii / inner, 1)
    return offsets * ((1 + np.log(ratios)) / ratios)[:, None]


def _umap() -> ModuleType | None:
    try:
        import umap
    except ImportError:
        return None
    return umap
