"""`classifier.onnx` at work in ONNX Runtime, on the CPU."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from distillscale.errors import InputError
from distillscale.evaluation.token_tree import token_tree
from distillscale.models.batches import masked_batches, pad


class OnnxScorer:
    """Log-likelihoods of the labels, from the exported graph.

    ONNX Runtime gets as many threads as torch would take (`OMP_NUM_THREADS`, else the cores).
    """

    def __init__(self, path: Path, label_ids: Sequence[Sequence[int]]) -> None:
        """Load a graph.

        Args:
            path: what `export` wrote.
            label_ids: token ids of the labels that it scores.

        Raises:
            InputError: the extra `onnx` is not installed, or the file is no graph that `export`
                wrote.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(
                f"{path}: onnxruntime is not installed; install it with "
                "`pip install 'distillscale[onnx]'`."
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its classes of errors have no common base
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{path}: not a graph that `export` wrote ({reason}).") from error
        self._nodes = len(token_tree(label_ids).tokens)

    def __call__(
        self, prompts: Sequence[Sequence[int]], batch_size: int = 32
    ) -> NDArray[np.float64]:
        """The graph's `logits` of each prompt, shape [prompts, classes].

        The graph reads the tree of the labels behind each prompt, so that these tokens count too
        for the size of a batch's attention mask.
        """
        scores: list[NDArray[np.float64]] = [np.zeros(0)] * len(prompts)
        for rows in masked_batches([len(own) + self._nodes for own in prompts], batch_size):
            ids, mask = pad([prompts[row] for row in rows], pad_id=0)
            inputs = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
            (logits,) = self._session.run(["logits"], inputs)
            for row, own in zip(rows, logits, strict=True):
                scores[row] = own.astype(np.float64)
        return np.stack(scores)
