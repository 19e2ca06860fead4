"""TF-IDF: classes that training lacks, and what its file would hold."""

import numpy as np

from distillscale.baselines import fit_tfidf

TEXTS = ["profit rises again", "profit rises sharply", "chief resigns today", "chief resigns now"]
LABELS = [2, 2, 0, 0]


def test_it_decides_and_gives_a_class_without_texts_no_chance():
    fitted = fit_tfidf(TEXTS, LABELS, classes=3)
    scores = fitted.log_probabilities(["profit rises", "the chief resigns", "chief resigns"])
    assert scores.shape == (3, 3)
    assert scores.argmax(axis=1).tolist() == [2, 0, 0]
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1)
    assert (np.exp(scores[:, 1]) < 1e-300).all()


def test_size_counts_numbers_and_words():
    fitted = fit_tfidf(TEXTS, LABELS, classes=3)
    words = len(fitted.vectorizer.vocabulary_)
    # two classes share one row of coefficients and one intercept
    assert fitted.params == 2 * words + 1
    letters = sum(map(len, fitted.vectorizer.vocabulary_))
    assert 4 * fitted.params + letters < fitted.file_bytes < 4 * fitted.params + letters + 1000


def test_rare_words_are_left_out_of_many_texts():
    many = [f"{text} only{row}" for row, text in enumerate(TEXTS * 300)]
    fitted = fit_tfidf(many, LABELS * 300, classes=3)
    assert not any(word.startswith("only") for word in fitted.vectorizer.vocabulary_)
