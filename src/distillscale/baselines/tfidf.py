"""TF-IDF of words and word pairs with logistic regression: the classifier that costs nothing."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

_MANY_TEXTS = 1000
_NEVER = float(np.log(np.finfo(np.float64).tiny))
"""Log-probability of a class that no training text had."""


@dataclass(frozen=True)
class TfidfClassifier:
    """A fitted pair; `classes` is the number of labels, of which training may have had fewer."""

    vectorizer: TfidfVectorizer
    regression: LogisticRegression
    classes: int

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
        """Bytes of these numbers in single precision as safetensors, and of the words as JSON."""
        single = {name: array.astype(np.float32) for name, array in self._arrays.items()}
        words = sorted(self.vectorizer.vocabulary_)
        return len(save(single)) + len(json.dumps(words, ensure_ascii=False).encode())

    @property
    def _arrays(self) -> dict[str, NDArray[np.float64]]:
        return {
            "coefficients": self.regression.coef_,
            "intercepts": self.regression.intercept_,
            "idf": self.vectorizer.idf_,
        }


def fit_tfidf(texts: Sequence[str], labels: Sequence[int], classes: int) -> TfidfClassifier:
    """Fit on texts with the numbers of their labels, at least two different ones.

    C is 10 and classes are weighted by the inverse of their frequency; nothing is tuned. Of a
    thousand texts and more, words that only one of them has are left out.
    """
    rarest = 2 if len(texts) >= _MANY_TEXTS else 1
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=rarest)
    regression = LogisticRegression(max_iter=1000, C=10, class_weight="balanced")
    regression.fit(vectorizer.fit_transform(texts), np.asarray(labels))
    return TfidfClassifier(vectorizer, regression, classes)
