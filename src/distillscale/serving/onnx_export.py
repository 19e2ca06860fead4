"""A deployed model as ONNX graphs, and their weights in int8.

Written by `torch.onnx.export` (the exporter that traces with `torch.export`): optimum-onnx, at
0.1.0, needs transformers below 4.58 (see `docs/dependencies.md`).
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from distillscale.errors import InputError
from distillscale.evaluation.closed_set import scores_trees
from distillscale.serving.classifier import CLASSIFIER_FILE, INT8_FILE
from distillscale.serving.onnx_graphs import ClassifierGraph, LanguageModelGraph

MODEL_FILE = "model.onnx"
OPSET = 20


def export_graphs(model: PreTrainedModel, label_ids: Sequence[Sequence[int]], folder: Path) -> None:
    """Write `model.onnx` (causal LM) and `classifier.onnx` (closed set) into a folder, in fp32.

    Args:
        model: in fp32 and evaluation mode, on the CPU.
        label_ids: token ids of each label as an answer.

    Raises:
        InputError: the family cannot be read as one tree, or the extra `onnx` is not installed.
    """
    if not scores_trees(model):
        raise InputError(
            f"config.json: a {model.config.model_type} model cannot be exported; the graph reads "
            "all labels in one pass, which its attention (a sliding window, a softcap, experts) "
            "does not allow."
        )
    require_onnx()
    _export(LanguageModelGraph(model), folder / MODEL_FILE)
    _export(ClassifierGraph(model, label_ids), folder / CLASSIFIER_FILE)


def quantize(folder: Path) -> None:
    """Write `classifier.int8.onnx` beside `classifier.onnx`.

    Dynamic quantization by ONNX Runtime: int8 weights of the matrix products, one scale an output
    channel; activations are quantized as they come, one scale a product. Embeddings stay fp32.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(
            folder / CLASSIFIER_FILE,
            folder / INT8_FILE,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
        )


def graph_bytes(folder: Path, name: str) -> int:
    """Bytes of a graph in a folder, the files that hold its weights apart included."""
    return sum(path.stat().st_size for path in folder.glob(f"{name}*"))


def require_onnx() -> None:
    """Make sure that the extra `onnx` is installed.

    Raises:
        InputError: it is not.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"{error.name} is not installed; install it with `pip install 'distillscale[onnx]'`."
        ) from error


def _export(graph: nn.Module, path: Path) -> None:
    """Trace a graph for any batch and length, and write it."""
    ids = torch.ones((2, 5), dtype=torch.long)  # batch and length of 1 would be taken for constants
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    sizes = {0: batch, 1: length}
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            graph.eval(),
            (ids, torch.ones_like(ids)),
            dynamo=True,
            opset_version=OPSET,
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes=(sizes, sizes),
            verbose=False,
        )
        assert program is not None
        program.save(str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the exporters' own log: deprecations and advice that a user can do nothing about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
