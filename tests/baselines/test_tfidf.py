"""TF-IDF: classes that training lacks, and what its file would hold."""

import numpy as np
import pytest

from distillscale.baselines import fit_tfidf, load_tfidf, save_tfidf
from distillscale.errors import InputError

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


@pytest.mark.parametrize("classes", [2, 3])
def test_what_is_written_decides_alike_and_has_the_size_that_was_told(tmp_path, classes):
    """Of two labels there is one row of coefficients, of three there are three."""
    texts = [*TEXTS, "a strike goes on", "a strike ends"][: 2 * classes]
    fitted = fit_tfidf(texts, [2, 2, 0, 0, 3, 3][: 2 * classes], classes=4)
    save_tfidf(fitted, tmp_path)
    loaded = load_tfidf(tmp_path)
    asked = [*texts, "the chief rises", "strike", ""]
    np.testing.assert_allclose(
        np.exp(loaded.log_probabilities(asked)), np.exp(fitted.log_probabilities(asked)), atol=1e-6
    )
    assert (loaded.params, loaded.terms) == (fitted.params, fitted.terms)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) == fitted.file_bytes


def test_characters_are_counted_again_as_they_were(tmp_path):
    fitted = fit_tfidf(["利润", "主席"], [0, 1], classes=2)
    save_tfidf(fitted, tmp_path)
    found = load_tfidf(tmp_path).log_probabilities(["利", "席"])
    np.testing.assert_allclose(found, fitted.log_probabilities(["利", "席"]), atol=1e-6)


def test_rare_words_are_left_out_of_many_texts():
    many = [f"{text} only{row}" for row, text in enumerate(TEXTS * 300)]
    fitted = fit_tfidf(many, LABELS * 300, classes=3)
    assert not any(word.startswith("only") for word in fitted.vectorizer.vocabulary_)


def test_texts_without_spaces_are_told_apart_by_their_characters():
    many = [
        f"利润{chr(0x3400 + row)}增" if row % 2 else f"主席{chr(0x3400 + row)}辞"
        for row in range(1000)
    ]
    fitted = fit_tfidf(many, [row % 2 for row in range(1000)], classes=2)
    assert fitted.log_probabilities(["利润大增", "主席已辞"]).argmax(axis=1).tolist() == [1, 0]
    assert "characters" in fitted.terms
    assert "word" in fit_tfidf(TEXTS, LABELS, classes=3).terms


@pytest.mark.parametrize(
    ("texts", "labels", "sentence"),
    [
        (TEXTS, [1, 1, 1, 1], "all 4 training texts have the same label"),
        (["", ""], [0, 1], "none of the 2 training texts has a character"),
    ],
)
def test_what_cannot_be_told_apart_is_one_sentence(texts, labels, sentence):
    with pytest.raises(InputError, match=sentence):
        fit_tfidf(texts, labels, classes=3)
