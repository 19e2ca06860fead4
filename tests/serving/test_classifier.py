"""Decisions of a deployed folder, against the rule of the evaluation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_deployment import CONTEXT, LABELS, texts, write_tiny_deployment

from distillscale.errors import DistillscaleError, InputError
from distillscale.evaluation import closed_set_scores
from distillscale.models.checkpoint import load_model, load_tokenizer
from distillscale.serving.classifier import Classifier, load_classifier
from distillscale.tasks.prompt import encode_labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_deployment(tmp_path_factory.mktemp("deployed") / "model")


def test_label_and_probability_are_those_of_a_softmax_over_the_closed_set(folder: Path):
    classifier = load_classifier(folder)
    chosen = texts(20)
    decisions = classifier.classify(chosen)
    labels = encode_labels(classifier.deployment.task, load_tokenizer(folder))
    prompts = [classifier.prompt(text) for text in chosen]
    scores = np.array(closed_set_scores(load_model(folder), prompts, [labels] * len(prompts)))
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    names = classifier.deployment.task.labels
    assert [one.label for one in decisions] == [names[place] for place in shares.argmax(axis=1)]
    assert [one.probability for one in decisions] == pytest.approx(shares.max(axis=1))
    assert all(one.reasoning is None for one in decisions)
    assert set(names) == set(LABELS)


def test_runs_of_white_space_are_one_space(folder: Path):
    classifier = load_classifier(folder)
    assert classifier.prompt(" Novarix\n\trises  ") == classifier.prompt("Novarix rises")


def test_a_text_that_does_not_fit_the_context_is_refused(folder: Path):
    classifier = load_classifier(folder)
    longest = classifier.longest_prompt
    assert longest is not None
    assert longest < CONTEXT
    with pytest.raises(InputError, match=f"room for {longest}"):
        classifier.classify(["é " * CONTEXT])


def test_the_longest_prompt_that_is_taken_is_decided(folder: Path):
    classifier = load_classifier(folder)
    taken = [prompt for n in range(CONTEXT) if (prompt := _prompt(classifier, "é" * n)) is not None]
    assert len(taken[-1]) >= classifier.longest_prompt - 1  # a letter is two tokens
    assert classifier.decide([taken[-1]])[0].label in LABELS


def _prompt(classifier: Classifier, text: str) -> tuple[int, ...] | None:
    try:
        return classifier.prompt(text)
    except InputError:
        return None


def test_a_model_that_reasons_says_what_it_wrote(tmp_path: Path):
    classifier = load_classifier(write_tiny_deployment(tmp_path / "model", "full"))
    (decision,) = classifier.classify(["Novarix rises"])
    assert decision.label in LABELS
    assert isinstance(decision.reasoning, str)
    assert "\nAnswer:" not in decision.reasoning


def test_a_control_token_in_a_text_is_plain_text(folder: Path):
    classifier = load_classifier(folder)
    prompt = classifier.prompt("Novarix <end> rises<pad>")
    assert not set(prompt) & set(classifier.tokenizer.all_special_ids)
    assert "Novarix <end> rises<pad>" in classifier.tokenizer.decode(prompt)
    assert classifier.classify(["<end>"])[0].label in LABELS


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_text_whose_scores_are_not_finite_takes_no_other_with_it(folder: Path, value: float):
    whole, chosen = load_classifier(folder), texts(3)
    scores, _ = whole.score([whole.prompt(text) for text in chosen], 3)
    scores[1, 2] = value
    broken = replace(whole, score=lambda _prompts, _size: (scores, ()))
    first, second, third = broken.decide([whole.prompt(text) for text in chosen])
    assert [first, third] == [whole.classify(chosen)[place] for place in (0, 2)]
    assert isinstance(second, DistillscaleError)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_an_error(folder: Path, value: float):
    scores = np.zeros((1, len(LABELS)))
    scores[0, 2] = value
    broken = replace(load_classifier(folder), score=lambda _prompts, _size: (scores, ()))
    with pytest.raises(DistillscaleError, match="not all finite"):
        broken.classify(["Novarix rises"])
