"""The exported graphs as torch modules, against transformers and the evaluation's own rule."""

import numpy as np
import pytest
import torch
from tiny_deployment import texts, tiny_model, tiny_task, tiny_tokenizer

from distillscale.errors import InputError
from distillscale.evaluation.closed_set import TREE_FAMILIES, closed_set_scores
from distillscale.models.batches import pad
from distillscale.serving.onnx_export import export_graphs, graph_bytes
from distillscale.serving.onnx_graphs import ClassifierGraph, LanguageModelGraph
from distillscale.tasks.prompt import encode_labels, encode_prompt

PROMPTS = [encode_prompt(tiny_task(), text, "none", tiny_tokenizer()) for text in texts(7)]
LABEL_IDS = encode_labels(tiny_task(), tiny_tokenizer())


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", sorted(TREE_FAMILIES))
def test_the_classifier_scores_as_the_evaluation_does(family: str, side: str):
    model = tiny_model(family, **{"sliding_window": None} if family != "gpt2" else {})
    wanted = np.array(closed_set_scores(model, PROMPTS, [LABEL_IDS] * len(PROMPTS)))
    with torch.no_grad():
        scores = ClassifierGraph(model, LABEL_IDS)(*pad(PROMPTS, 0, side=side)).numpy()
    np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-4)


def test_the_language_model_is_transformers_own():
    model = tiny_model()
    ids, mask = pad(PROMPTS, 0)
    with torch.no_grad():
        logits = LanguageModelGraph(model)(ids, mask)
        wanted = model(input_ids=ids, attention_mask=mask).logits
    real = mask.bool()
    np.testing.assert_allclose(logits[real], wanted[real], atol=1e-5)


def test_padding_does_not_change_a_row():
    graph = LanguageModelGraph(tiny_model())
    alone = torch.tensor([PROMPTS[1]])
    with torch.no_grad():
        wanted = graph(alone, torch.ones_like(alone))[0]
        for side, place in (("left", slice(-alone.shape[1], None)), ("right", alone.shape[1])):
            rows = graph(*pad(PROMPTS, 0, side=side))[1]
            found = rows[place if side == "left" else slice(None, place)]
            np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_family_whose_labels_cannot_be_read_in_one_pass_is_refused(tmp_path):
    with pytest.raises(InputError, match="gemma2 model cannot be exported"):
        export_graphs(tiny_model("gemma2"), LABEL_IDS, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_weights_apart_from_a_graph_are_counted_with_it(tmp_path):
    sizes = {"classifier.onnx": 1, "classifier.onnx.data": 20, "classifier.int8.onnx": 300}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
    assert graph_bytes(tmp_path, "classifier.onnx") == 21
    assert graph_bytes(tmp_path, "classifier.int8.onnx") == 300
