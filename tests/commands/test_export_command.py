"""`export` on a tiny model: graphs that ONNX Runtime runs, equal to torch, and int8, measured."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.metrics import f1_score
from tiny_deployment import LABELS, texts, write_tiny_deployment
from transformers import AutoModelForCausalLM

from distillscale.commands.export import ExportRequest, export
from distillscale.errors import InputError
from distillscale.evaluation import closed_set_scores
from distillscale.evaluation.token_tree import token_tree
from distillscale.models.batches import masked_batches, pad
from distillscale.models.checkpoint import load_model
from distillscale.serving.classifier import load_classifier
from distillscale.serving.onnx_scorer import OnnxScorer
from distillscale.tasks.prompt import encode_labels

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_deployment(tmp_path_factory.mktemp("deployed") / "model")


@pytest.fixture(scope="module")
def exported(deployed: Path) -> Path:
    out = deployed.parent / "made" / "onnx"
    export(ExportRequest(deployed, True, None, "text", "label"), out)
    assert [path.name for path in out.parent.iterdir()] == ["onnx"]
    return out


def prompts(deployed: Path) -> list[tuple[int, ...]]:
    classifier = load_classifier(deployed)
    return [classifier.prompt(text) for text in texts(9, seed=3)]


@pytest.mark.parametrize("rows", [1, 9])
def test_the_language_models_logits_are_those_of_plain_transformers(
    deployed: Path, exported: Path, rows: int
):
    ids, mask = pad(prompts(deployed)[:rows], 0)
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    (logits,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    with torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(deployed, dtype=torch.float32)
        wanted = model(input_ids=ids, attention_mask=mask).logits.numpy()
    real = mask.numpy() == 1
    np.testing.assert_allclose(logits[real], wanted[real], atol=1e-4)


def test_the_classifiers_logits_are_those_of_the_closed_set(deployed: Path, exported: Path):
    chosen = prompts(deployed)
    task, tokenizer = (load_classifier(deployed).deployment.task, load_classifier(deployed))
    labels = encode_labels(task, tokenizer.tokenizer)
    wanted = np.array(closed_set_scores(load_model(deployed), chosen, [labels] * len(chosen)))
    scores = OnnxScorer(exported / "classifier.onnx", labels)(chosen, batch_size=4)
    np.testing.assert_allclose(scores, wanted, atol=1e-4)


def test_the_report_holds_macro_f1_of_both_precisions(deployed: Path, exported: Path):
    report = json.loads((exported / "export.json").read_text())
    assert report["largest_difference"] <= 1e-4
    assert report["examples"] == 40
    rows = [json.loads(line) for line in (deployed / "test.jsonl").read_text().splitlines()]
    classifier = load_classifier(deployed)
    asked = [classifier.prompt(row["text"]) for row in rows]
    labels = encode_labels(classifier.deployment.task, classifier.tokenizer)
    for name in ("classifier.onnx", "classifier.int8.onnx"):
        places = OnnxScorer(exported / name, labels)(asked).argmax(axis=1)
        predicted = [classifier.deployment.task.labels[place] for place in places]
        wanted = f1_score([row["label"] for row in rows], predicted, average="macro", labels=LABELS)
        assert report["macro_f1"][name]["value"] == pytest.approx(wanted)
    assert report["bytes"]["classifier.int8.onnx"] < report["bytes"]["classifier.onnx"]


def test_what_a_batch_holds_counts_the_labels_tokens(deployed: Path, exported: Path, monkeypatch):
    classifier = load_classifier(deployed)
    labels = encode_labels(classifier.deployment.task, classifier.tokenizer)
    chosen, nodes = prompts(deployed), len(token_tree(labels).tokens)
    scorer = OnnxScorer(exported / "classifier.onnx", labels)
    masks: list[int] = []
    session = scorer._session

    class Watched:
        """The session itself, but for a look at what it is given."""

        def run(self, names, inputs):
            rows, length = inputs["input_ids"].shape
            masks.append(rows * (length + nodes) ** 2)
            return session.run(names, inputs)

    scorer._session = Watched()
    wanted = scorer(chosen)
    most = 3 * (max(map(len, chosen)) + nodes) ** 2
    assert masks[0] > most
    masks.clear()
    cut = partial(masked_batches, largest=most)
    monkeypatch.setattr("distillscale.serving.onnx_scorer.masked_batches", cut)
    np.testing.assert_allclose(scorer(chosen), wanted, atol=1e-5)
    assert len(masks) > 1
    assert max(masks) <= most


def test_a_control_token_in_a_text_is_plain_text_for_a_graph(exported: Path):
    classifier = load_classifier(exported)
    prompt = classifier.prompt("Novarix <end> rises<pad>")
    assert not set(prompt) & set(classifier.tokenizer.all_special_ids)
    assert "Novarix <end> rises<pad>" in classifier.tokenizer.decode(prompt)


def test_the_exported_folder_classifies_in_int8_where_it_holds_it(deployed: Path, exported: Path):
    torch_one, onnx_one = load_classifier(deployed), load_classifier(exported)
    assert (torch_one.backend, onnx_one.backend) == ("torch", "onnx int8")
    assert onnx_one.longest_prompt == torch_one.longest_prompt
    wanted = [one.probability for one in torch_one.classify(texts(20))]
    found = [one.probability for one in onnx_one.classify(texts(20))]
    assert found == pytest.approx(wanted, abs=0.2)
    assert found != pytest.approx(wanted, abs=1e-6)


def test_int8_without_test_texts_is_refused(deployed: Path, tmp_path: Path):
    without = tmp_path / "model"
    without.mkdir()
    for path in deployed.iterdir():
        if path.name != "test.jsonl":
            (without / path.name).symlink_to(path)
    with pytest.raises(InputError, match="name a labelled file with --test-data"):
        export(ExportRequest(without, True, None, "text", "label"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_test_file_with_another_label_is_refused(deployed: Path, tmp_path: Path):
    file = tmp_path / "test.csv"
    file.write_text("text,label\na,wins\nb,won\n")
    with pytest.raises(InputError, match=r"test.csv: row 2: `label` is `won`"):
        export(ExportRequest(deployed, True, file, "text", "label"), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.csv"]


def test_what_exists_is_not_overwritten(complaint, deployed: Path, exported: Path):
    assert "not empty" in complaint("export", deployed, "--out", exported)


def test_a_damaged_graph_is_refused(complaint, exported: Path, tmp_path: Path):
    for path in exported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "classifier.int8.onnx").write_bytes(b"\0" * 1000)
    assert "not a graph that `export` wrote" in complaint("classify", tmp_path, "a text")


def test_a_graph_of_a_model_that_reasons_is_refused(complaint, exported: Path, tmp_path: Path):
    for path in exported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    file = tmp_path / "distillscale.json"
    file.write_text(file.read_text().replace('"thinking": "none"', '"thinking": "full"'))
    assert "reasons before it answers" in complaint("classify", tmp_path, "a text")
