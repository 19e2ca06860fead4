"""`export`: a deployed student as ONNX graphs, checked against torch, and in int8, measured."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distillscale.commands.output import check_new_folder
from distillscale.commands.publication import TEST_FILE
from distillscale.data.labelled_file import read_labelled_file
from distillscale.errors import DistillscaleError, InputError
from distillscale.evaluation import closed_set_scores
from distillscale.evaluation.in_domain import reason
from distillscale.evaluation.metrics import closed_set_measurements
from distillscale.models.checkpoint import load_model, load_tokenizer
from distillscale.serving.classifier import CLASSIFIER_FILE, INT8_FILE, inputs_without_prompts
from distillscale.serving.deployment import Deployment, read_deployment, write_deployment
from distillscale.serving.onnx_export import export_graphs, graph_bytes, quantize, require_onnx
from distillscale.tasks.prompt import encode_prompt

TOLERANCE = 1e-4
REPORT_FILE = "export.json"
_SAMPLE_TEXTS = ("some text", "A longer text, with a number (12.5 %) and a name in it: Novarix.")
_CHECKED = 64
_BATCH = 32

Tokens = Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class ExportRequest:
    """What a user asks `export` for; see the command's help for each field."""

    folder: Path
    int8: bool
    test_data: Path | None
    text_column: str
    label_column: str


def export(request: ExportRequest, out: Path) -> None:
    """Write `model.onnx` and `classifier.onnx`, and `classifier.int8.onnx` where asked.

    The classifier's logits are compared with torch's on real prompts, and macro F1 is measured for
    both precisions where there are test texts. Everything is written to a temporary folder, which
    becomes `out` once all of it is there.

    Raises:
        InputError: the folder is not one that `compress` wrote, the model cannot be exported, the
            test file is wrong, int8 is asked for without test texts, or `out` holds something.
        DistillscaleError: the graph's logits are not torch's.
    """
    check_new_folder(out, "--out")
    deployment = read_deployment(request.folder)
    pairs = _test_texts(request, deployment)
    require_onnx()
    model = load_model(request.folder, device=torch.device("cpu"))
    tokenizer = load_tokenizer(request.folder)
    contexts = _contexts(model, tokenizer, deployment, [text for text, _ in pairs])
    label_ids = inputs_without_prompts(deployment, tokenizer).label_ids
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as name:
        folder = Path(name) / "export"
        folder.mkdir()
        export_graphs(model, label_ids, folder)
        tokenizer.save_pretrained(folder)
        shutil.copy(request.folder / "config.json", folder)
        write_deployment(deployment, folder)
        reference = np.array(closed_set_scores(model, contexts, [label_ids] * len(contexts)))
        gold = np.array([deployment.task.labels.index(label) for _, label in pairs], dtype=np.intp)
        report = {"largest_difference": _difference(folder, label_ids, contexts, reference)}
        report |= _measured(folder, label_ids, contexts, reference, gold, int8=request.int8)
        (folder / REPORT_FILE).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        folder.replace(out)
    print(_as_text(report, out))


def _test_texts(request: ExportRequest, deployment: Deployment) -> list[tuple[str, str]]:
    """Labelled texts to measure on; none where the user named none and the folder has none."""
    kept = request.folder / TEST_FILE
    if request.test_data is not None:
        file, columns = request.test_data, (request.text_column, request.label_column)
    elif kept.is_file():
        file, columns = kept, ("text", "label")
    elif request.int8:
        raise InputError(
            f"--int8: {request.folder} keeps no test texts to measure int8 weights on; name a "
            "labelled file with --test-data."
        )
    else:
        return []
    pairs = read_labelled_file(file, *columns)
    for number, (_, label) in enumerate(pairs, start=1):
        if label not in deployment.task.labels:
            raise InputError(
                f"{file}: row {number}: `{columns[1]}` is `{label}`, which is none of the "
                f"model's {len(deployment.task.labels)} classes."
            )
    return pairs


def _contexts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    deployment: Deployment,
    texts: Sequence[str],
) -> Tokens:
    """What the labels are scored behind: prompts, and what the model writes first if it reasons."""
    task, thinking = deployment.task, deployment.thinking
    texts = texts or _SAMPLE_TEXTS
    prompts = [tuple(encode_prompt(task, text, thinking, tokenizer)) for text in texts]
    reasoning = inputs_without_prompts(deployment, tokenizer).reasoning
    if reasoning is None:
        return prompts
    written = reason(model, tokenizer, prompts, reasoning, batch_size=_BATCH)
    return [prompt + own.prefix_ids for prompt, own in zip(prompts, written, strict=True)]


def _difference(
    folder: Path, label_ids: Tokens, contexts: Tokens, reference: NDArray[np.float64]
) -> float:
    """Largest difference of the classifier's logits from torch's, relative where they exceed 1.

    Raises:
        DistillscaleError: it is more than `TOLERANCE`.
    """
    from distillscale.serving.onnx_scorer import OnnxScorer

    logits = OnnxScorer(folder / CLASSIFIER_FILE, label_ids)(contexts[:_CHECKED])
    wanted = reference[:_CHECKED]
    difference = float((np.abs(logits - wanted) / np.maximum(1, np.abs(wanted))).max())
    if not difference <= TOLERANCE:
        raise DistillscaleError(
            f"{CLASSIFIER_FILE}: its logits differ from torch's by {difference:.2g}, more than "
            f"{TOLERANCE:g}; nothing was written."
        )
    return difference


def _measured(
    folder: Path,
    label_ids: Tokens,
    contexts: Tokens,
    reference: NDArray[np.float64],
    gold: NDArray[np.intp],
    *,
    int8: bool,
) -> dict[str, Any]:
    """Macro F1 and its interval, milliseconds a text and bytes, of each graph."""
    from distillscale.serving.onnx_scorer import OnnxScorer

    if int8:
        quantize(folder)
    graphs = [CLASSIFIER_FILE, *([INT8_FILE] if int8 else [])]
    sizes = {name: graph_bytes(folder, name) for name in graphs}
    if not len(gold):
        return {"bytes": sizes}
    scored = {name: _scored(OnnxScorer(folder / name, label_ids), contexts) for name in graphs}
    values = {name: _macro_f1(scores, gold) for name, (scores, _) in scored.items()}
    same = {name: _agreement(scores, reference) for name, (scores, _) in scored.items()}
    return {
        "bytes": sizes,
        "examples": len(gold),
        "macro_f1": {"torch": _macro_f1(reference, gold), **values},
        "same_decision_as_torch": same,
        "ms_per_text": {name: ms for name, (_, ms) in scored.items()},
    }


def _scored(
    scorer: Callable[[Tokens], NDArray[np.float64]], contexts: Tokens
) -> tuple[NDArray[np.float64], float]:
    """Scores, and milliseconds a text in batches, after a batch that warms up."""
    scorer(contexts[:_BATCH])
    started = time.perf_counter()
    scores = scorer(contexts)
    return scores, 1000 * (time.perf_counter() - started) / len(contexts)


def _macro_f1(scores: NDArray[np.float64], gold: NDArray[np.intp]) -> dict[str, float | None]:
    """The value, and the ends of its 90 % interval over test texts."""
    (found,) = [one for one in closed_set_measurements(scores, gold) if one.metric == "macro_f1"]
    low, high = np.quantile(found.replicates, [0.05, 0.95])
    return {"value": found.value, "low": float(low), "high": float(high)}


def _agreement(scores: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    return float((scores.argmax(axis=1) == reference.argmax(axis=1)).mean())


def _as_text(report: dict[str, Any], out: Path) -> str:
    lines = [f"logits equal torch's to {report['largest_difference']:.1g}"]
    for name, size in report["bytes"].items():
        line = f"{name}: {size:,} bytes"
        if "macro_f1" in report:
            f1 = report["macro_f1"][name]
            line += (
                f", macro F1 {f1['value']:.4f} ({f1['low']:.4f} to {f1['high']:.4f}), "
                f"{report['same_decision_as_torch'][name]:.1%} of decisions as torch, "
                f"{report['ms_per_text'][name]:.2f} ms a text"
            )
        lines.append(line)
    if "macro_f1" in report:
        torch_f1 = report["macro_f1"]["torch"]["value"]
        lines.append(f"torch: macro F1 {torch_f1:.4f}; {report['examples']:,} test texts")
    return "\n".join([*lines, f"exported: {out}; serve it: distillscale serve {out}"])
