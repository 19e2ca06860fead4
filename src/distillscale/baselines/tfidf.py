"""TF-IDF of words and word pairs with logistic regression: the classifier that costs nothing."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from distillscale.errors import InputError

_MANY_TEXTS = 1000
_NEVER = float(np.log(np.finfo(np.float64).tiny))
"""Log-probability of a class that no training text had."""
_NUMBERS, _TERMS, _KNOWN = "tfidf.safetensors", "terms.json", "known_classes"


@dataclass(frozen=True)
class TfidfClassifier:
    """A fitted pair; `classes` is the number of labels, of which training may have had fewer.

    `terms` says what is counted in a text: words, or characters where it has no words.
    """

    vectorizer: TfidfVectorizer
    regression: LogisticRegression
    classes: int
    terms: str

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Log-probability of each label, shape [texts, classes]."""
        known = self.regression.predict_log_proba(self.vectorizer.transform(texts))
        scores = np.full((len(texts), self.classes), _NEVER)
        scores[:, self.regression.classes_] = np.maximum(known, _NEVER)
        return scores

    @property
    def params(self) -> int:
        """Numbers that were fitted: coefficients, intercepts and inverse document frequencies."""
        return sum(array.size for array in self._arrays.values())

    @property
    def file_bytes(self) -> int:
        """Bytes of the files that `save_tfidf` writes: numbers in single precision, and terms."""
        return len(self._numbers) + len(self._terms)

    @property
    def _arrays(self) -> dict[str, NDArray[np.float64]]:
        return {
            "coefficients": self.regression.coef_,
            "intercepts": self.regression.intercept_,
            "idf": self.vectorizer.idf_,
        }

    @property
    def _numbers(self) -> bytes:
        # safetensors writes memory as it lies; scikit-learn's coefficients lie by column.
        single = {name: array.astype(np.float32, order="C") for name, array in self._arrays.items()}
        return save({**single, _KNOWN: np.asarray(self.regression.classes_, dtype=np.int32)})

    @property
    def _terms(self) -> bytes:
        """The terms in the order of their columns, and how they are counted."""
        how = {name: getattr(self.vectorizer, name) for name in ("analyzer", "ngram_range")}
        content = {
            "terms": self.terms, "classes": self.classes, **how,
            "vocabulary": sorted(self.vectorizer.vocabulary_),
        }  # fmt: skip
        return json.dumps(content, ensure_ascii=False).encode()


def save_tfidf(classifier: TfidfClassifier, folder: Path) -> None:
    """Write a classifier as safetensors and JSON; numbers are rounded to single precision."""
    (folder / _NUMBERS).write_bytes(classifier._numbers)
    (folder / _TERMS).write_bytes(classifier._terms)


def load_tfidf(folder: Path) -> TfidfClassifier:
    """Read what `save_tfidf` wrote."""
    content, arrays = json.loads((folder / _TERMS).read_bytes()), load_file(folder / _NUMBERS)
    vectorizer = TfidfVectorizer(
        analyzer=content["analyzer"],
        ngram_range=tuple(content["ngram_range"]),
        sublinear_tf=True,
        vocabulary=content["vocabulary"],
    )
    vectorizer.idf_ = arrays["idf"].astype(np.float64)
    regression = LogisticRegression()
    regression.classes_ = arrays[_KNOWN]
    regression.coef_ = arrays["coefficients"].astype(np.float64)
    regression.intercept_ = arrays["intercepts"].astype(np.float64)
    return TfidfClassifier(vectorizer, regression, content["classes"], content["terms"])


def fit_tfidf(texts: Sequence[str], labels: Sequence[int], classes: int) -> TfidfClassifier:
    """Fit on texts with the numbers of their labels.

    C is 10 and classes are weighted by the inverse of their frequency; nothing is tuned. Of a
    thousand texts and more, words that only one of them has are left out. Where that leaves no
    word, as in a script without spaces, characters and their pairs and triples are counted.

    Raises:
        InputError: the texts have one label only, or no characters.
    """
    if len(set(labels)) < 2:
        raise InputError(
            f"all {len(labels)} training texts have the same label; a classifier needs at least "
            "two different ones."
        )
    vectorizer, counts, terms = _count_terms(texts)
    regression = LogisticRegression(max_iter=1000, C=10, class_weight="balanced")
    regression.fit(counts, np.asarray(labels))
    return TfidfClassifier(vectorizer, regression, classes, terms)


def _count_terms(texts: Sequence[str]) -> tuple[TfidfVectorizer, Any, str]:
    """The vectorizer, its sparse matrix [texts, terms], and the name of what it counts."""
    rarest = 2 if len(texts) >= _MANY_TEXTS else 1
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=rarest)
    characters = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    for vectorizer, terms in (
        (words, "words and word pairs"),
        (characters, "characters, their pairs and triples"),
    ):
        try:
            return vectorizer, vectorizer.fit_transform(texts), terms
        except ValueError:  # scikit-learn's word for a vocabulary without a term
            continue
    raise InputError(f"none of the {len(texts)} training texts has a character; one is needed.")
