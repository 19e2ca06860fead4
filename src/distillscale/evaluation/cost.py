"""What a model costs to use: time, memory, operations and bytes on disk."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distillscale.evaluation.in_domain import Completion, Prediction
from distillscale.evaluation.latency import BATCH_SIZE, measure_latency
from distillscale.evaluation.measurement import Measurement
from distillscale.evaluation.task_inputs import TaskInputs
from distillscale.evaluation.throughput import measure_throughput
from distillscale.evaluation.token_tree import TokenTree, token_tree
from distillscale.models.flops import Flops, flops_of


def measure_cost(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: TaskInputs,
    predictions: Sequence[Prediction],
    *,
    label_only_prompts: Sequence[Sequence[int]] = (),
    folder: Path | None = None,
    singles: int = 5,
) -> list[Measurement]:
    """Latency, throughput, peak memory, operations and file size of a model at a task.

    Takes a second or two of a small model (three where it reasons); of a large one the time of
    some two decisions on a batch of 32, three where it reasons.

    Args:
        predictions: what the model decided on `inputs`; tells how much it wrote.
        label_only_prompts: see `measure_latency`.
        folder: where the checkpoint lies; without it there is no `file_bytes`.
        singles: examples timed one at a time, at most.
    """
    size = []
    if folder is not None:
        size = [Measurement("file_bytes", float(file_bytes(folder)), None, 0)]
    return [
        *measure_latency(
            model,
            tokenizer,
            inputs.prompts,
            inputs.label_ids,
            reasoning=inputs.reasoning,
            label_only_prompts=label_only_prompts,
            singles=singles,
        ),
        *measure_throughput(model, inputs.prompts[:BATCH_SIZE]),
        measure_flops(model, inputs, predictions),
        *size,
    ]


def measure_flops(
    model: PreTrainedModel, inputs: TaskInputs, predictions: Sequence[Prediction]
) -> Measurement:
    """`flops_per_example`: mean floating-point operations of a decision made alone.

    Counted as `decide` works: the prompt and then the tree of the labels are read; a model that
    reasons first reads the prompt and its own tokens, one by one, and its whole text once more
    with the labels. Padding, and what a batch saves by reading a common beginning once, are left
    out.
    """
    flops, tree = flops_of(model), token_tree(inputs.label_ids)
    counts = [
        decision_flops(flops, len(prompt), tree, own.completion)
        for prompt, own in zip(inputs.prompts, predictions, strict=True)
    ]
    return Measurement("flops_per_example", float(np.mean(counts)), None, len(counts))


def decision_flops(
    flops: Flops, prompt: int, tree: TokenTree, completion: Completion | None
) -> int:
    """Operations of one decision after a prompt of so many tokens."""
    total, context = 0, prompt
    if completion is not None:
        total += flops.reading(prompt, logits=1)
        later = completion.written - 1  # the last token that is written is not read
        total += flops.reading(later, before=prompt, logits=later)
        context += len(completion.prefix_ids)
    return (
        total + flops.reading(context, logits=1) + flops.tree(tree.depths.tolist(), before=context)
    )


def file_bytes(folder: Path) -> int:
    """Bytes of a checkpoint's safetensors files."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
