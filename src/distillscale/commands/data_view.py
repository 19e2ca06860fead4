"""`data view`: look at a corpus, as an HTML page and as pictures."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from distillscale import __version__
from distillscale.commands.output import check_new_folder
from distillscale.data.embedding import Embedder, embed, load_embedder
from distillscale.data.examples import SPLITS, read_table
from distillscale.data.leakage import encode_all
from distillscale.data.near_duplicates import check_threshold
from distillscale.data.plane import place
from distillscale.data.similarity import nearest_cosines
from distillscale.data.split import normalised
from distillscale.report.dataset import MOST_POINTS
from distillscale.report.dataset_page import VIEW_PAGE, CorpusView, render_view

_EMBEDDED = 100_000
_COMPARED = 5000
"""Texts that are embedded, and of these whose nearest neighbour is looked for; for time's sake."""


def view_corpus(corpus: Path, threshold: float, embedder_name: str, seed: int, out: Path) -> None:
    """Write `view.html` and each figure as PNG and SVG into a new folder.

    Raises:
        InputError: an option, the corpus or the folder is wrong.
    """
    check_new_folder(out, "--out")
    check_threshold(threshold)
    examples = read_table(corpus).to_pandas()
    embedder = load_embedder(embedder_name)
    command = (
        f"distillscale data view {corpus.name} --threshold {threshold:g} --embedder "
        f"{embedder_name} --seed {seed} --out FOLDER"
    )
    view = _view(corpus, examples, embedder, threshold, seed, command)
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".view-") as name:
        folder = Path(name) / "view"
        folder.mkdir()
        render_view(view, folder)
        folder.replace(out)
    for fact, value in view.facts.items():
        print(f"{fact}: {value}")
    print(f"page: {out / VIEW_PAGE}, with each figure as .png and .svg beside it")


def _view(
    corpus: Path,
    examples: pd.DataFrame,
    embedder: Embedder,
    threshold: float,
    seed: int,
    command: str,
) -> CorpusView:
    rng = np.random.default_rng(seed)
    embedded = examples.iloc[_sample(len(examples), _EMBEDDED, rng)].reset_index(drop=True)
    vectors = encode_all(embedded["text"].tolist(), embedder)
    mapped = _sample(len(embedded), MOST_POINTS, rng)
    points = embedded.iloc[mapped][["label", "category", "text"]]
    map_vectors: NDArray[np.floating] = vectors[mapped]
    map_kind = f"{embedder.name} vectors"
    if embedder.name == "hashed":  # it weighs a frequent word like a telling one; TF-IDF does not
        map_vectors, map_kind = embed(points["text"].tolist(), seed=seed), "TF-IDF vectors"
    places, method = place(map_vectors, seed=seed)
    similarities = nearest_cosines(vectors, _sample(len(embedded), _COMPARED, rng))
    lengths = examples["text"].str.len().value_counts().rename_axis("characters")
    return CorpusView(
        title=f"Corpus {corpus.name}",
        facts=_facts(corpus, examples, len(embedded), f"{method} of {map_kind}", embedder.name),
        labels=examples.groupby(["label", "category"]).size().reset_index(name="count"),
        lengths=lengths.reset_index(name="count"),
        points=points.assign(x=places[:, 0], y=places[:, 1]),
        texts=len(examples),
        method=f"{method} of {map_kind}",
        similarities=similarities,
        compared=len(embedded),
        threshold=threshold,
        embedder=embedder.name,
        command=command,
    )


def _facts(
    corpus: Path, examples: pd.DataFrame, embedded: int, method: str, embedder: str
) -> dict[str, str]:
    counts = examples["split"].value_counts()
    repeated = len(examples) - examples["text"].map(normalised).nunique()
    sample = "" if embedded == len(examples) else f", of a random sample of {embedded:,}"
    return {
        "Corpus": f"{corpus.name}: {len(examples):,} examples",
        "Splits": ", ".join(f"{counts[name]:,} {name}" for name in SPLITS if name in counts),
        "Classes": f"{examples['label'].nunique():,} in {examples['category'].nunique():,} "
        "categories",
        "Repeated": f"{repeated:,} texts are the same as another but for case, punctuation and "
        "links",
        "Vectors": f"{embedder}{sample}; map by {method}",
        "Version": f"distillscale {__version__}",
    }


def _sample(total: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of at most `most` of `total` rows, drawn at random, rising."""
    if total <= most:
        return np.arange(total)
    return np.sort(rng.choice(total, most, replace=False))
