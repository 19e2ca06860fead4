"""The encoder learns, repeats itself from its seed, and is loaded from a folder like any other."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from distillscale.baselines import load_encoder, new_encoder, train_encoder
from distillscale.errors import InputError

TEXTS = [f"{word} number {n}" for n in range(12) for word in ("profit", "chief", "strike")]
LABELS = [n % 3 for n in range(36)]
NAMES = ("beat", "resigns", "walkout")


def trained(steps: int = 30, seed: int = 0):
    encoder = new_encoder(TEXTS, NAMES, seed)
    train_encoder(encoder, TEXTS, LABELS, steps=steps, batch_size=12, learning_rate=5e-4, seed=seed)
    return encoder


@pytest.fixture(scope="module")
def encoder():
    return trained()


def test_it_learns_the_labels(encoder):
    scores = encoder.log_probabilities(TEXTS)
    assert (scores.argmax(axis=1) == LABELS).mean() > 0.9
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1)
    assert not encoder.model.training


def test_scores_do_not_move_with_the_batch(encoder):
    together = encoder.log_probabilities(["strike", "a much longer profit of the chief number 3"])
    alone = encoder.log_probabilities(["strike"])
    np.testing.assert_allclose(together[:1], alone, atol=1e-5)


def test_a_text_stands_between_its_two_marks_in_lower_case(encoder):
    ids = encoder.tokenizer("Profit RISES")["input_ids"]
    assert encoder.tokenizer.convert_ids_to_tokens([ids[0], ids[-1]]) == ["[CLS]", "[SEP]"]
    assert ids == encoder.tokenizer("profit rises")["input_ids"]


def test_equal_seeds_give_equal_models():
    one, other, third = trained(3), trained(3), trained(3, seed=1)
    assert torch.equal(one.model.classifier.weight, other.model.classifier.weight)
    assert not torch.equal(one.model.classifier.weight, third.model.classifier.weight)


def test_a_folder_is_a_pretrained_encoder_for_other_labels(encoder, tmp_path):
    encoder.model.save_pretrained(tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    same = load_encoder(tmp_path, NAMES, seed=0)
    np.testing.assert_allclose(
        same.log_probabilities(TEXTS[:3]), encoder.log_probabilities(TEXTS[:3]), atol=1e-5
    )
    other = load_encoder(tmp_path, ("yes", "no"), seed=0)
    assert other.log_probabilities(TEXTS[:3]).shape == (3, 2)
    assert other.model.config.id2label == {0: "yes", 1: "no"}
    body = encoder.model.bert.encoder.layer[0].intermediate.dense.weight
    assert torch.equal(other.model.bert.encoder.layer[0].intermediate.dense.weight, body)
    again, third = (load_encoder(tmp_path, ("yes", "no"), seed=seed) for seed in (0, 1))
    heads = [loaded.model.classifier.weight for loaded in (other, again, third)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def without(weights, part):
    return {name: value for name, value in weights.items() if part not in name}


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (lambda w: without(w, "layer.2.output.dense"), "bert.encoder.layer.2.output.dense.bias"),
        (
            lambda w: {n: v[:7] if "LayerNorm.bias" in n else v for n, v in w.items()},
            "bert.embeddings.LayerNorm.bias",
        ),
    ],
)
def test_an_encoder_that_would_be_drawn_at_random_is_refused(encoder, tmp_path, change, first):
    encoder.model.save_pretrained(tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = {name: value.contiguous() for name, value in change(load_file(path)).items()}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=f"do not fit its config, the first is `{first}`"):
        load_encoder(tmp_path, NAMES, seed=0)


def test_only_the_head_and_the_pooler_may_be_new(encoder, tmp_path):
    body = without(encoder.model.state_dict(), "pooler")
    encoder.model.save_pretrained(tmp_path, state_dict=without(body, "classifier"))
    encoder.tokenizer.save_pretrained(tmp_path)
    loaded = load_encoder(tmp_path, NAMES, seed=0).model.bert.embeddings.word_embeddings.weight
    assert torch.equal(loaded, encoder.model.bert.embeddings.word_embeddings.weight)


def test_a_missing_encoder_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="no text classifier with safetensors weights"):
        load_encoder(tmp_path / "none", NAMES, seed=0)
