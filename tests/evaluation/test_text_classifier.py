"""Anything that scores texts is measured like a language model: same metrics, same resamples."""

import numpy as np
import pytest

from distillscale.errors import InputError
from distillscale.evaluation import evaluate_text_classifier
from distillscale.evaluation.metrics import closed_set_measurements

LABELS = ["a", "b", "c"]
TEXTS = [LABELS[n * n % 3] * (1 + n % 4) for n in range(70)]
GOLD = [LABELS[n % 3] for n in range(70)]


def first_letter(texts: list[str]) -> np.ndarray:
    return np.log(
        np.array([[0.8 if text[0] == name else 0.1 for name in LABELS] for text in texts])
    )


def test_metrics_are_those_of_the_scores_in_the_order_of_the_texts():
    found = evaluate_text_classifier(first_letter, TEXTS, GOLD, LABELS, replicates=50)
    gold = np.array([LABELS.index(label) for label in GOLD])
    expected = closed_set_measurements(first_letter(TEXTS), gold, replicates=50)
    assert found[: len(expected)] == expected
    times = {item.metric: item for item in found[len(expected) :]}
    assert list(times) == ["ms_per_example", "ms_per_example_batch_32", "examples_per_second"]
    assert times["ms_per_example_batch_32"].examples == times["examples_per_second"].examples == 32
    rate = times["examples_per_second"].value * times["ms_per_example_batch_32"].value
    assert rate == pytest.approx(1000)


def test_batches_are_of_32_and_as_many_are_timed_alone_as_asked():
    sizes = []

    def score(texts: list[str]) -> np.ndarray:
        sizes.append(len(texts))
        return first_letter(texts)

    evaluate_text_classifier(score, TEXTS, GOLD, LABELS, replicates=1, singles=2)
    assert sizes[:3] == [32, 32, 6]
    assert sizes[3:5] == [1, 1]
    assert set(sizes[5:]) == {32}


def test_a_label_that_is_no_class_is_refused():
    with pytest.raises(InputError, match="`d` of example 0"):
        evaluate_text_classifier(first_letter, TEXTS[:1], ["d"], LABELS)
