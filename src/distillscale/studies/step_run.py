"""What a step may read, and how: its parameters, models, examples and traces."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distillscale.models.checkpoint import load_model, load_tokenizer
from distillscale.models.top_log_probs import Truncation
from distillscale.studies.sources import Sources
from distillscale.tasks import Example, Task, Trace
from distillscale.tasks.records import read_records
from distillscale.tasks.task import task_from_dict

ORIGIN = "origin.json"
"""Which of the teacher's layers and channels a student consists of; handed on through a chain."""


@dataclass(frozen=True)
class StepRun:
    """All that a step may read, and the folder that it fills.

    `sources` tells where external inputs lie on this machine; they are named by digest in
    `params`, so a path is never part of an identity.
    """

    params: Mapping[str, Any]
    inputs: Mapping[str, Path]
    output: Path
    progress: Callable[[float], None]
    sources: Sources


def load(
    run: StepRun, role: str, *, dtype: torch.dtype | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model, in the teacher's number format unless it is to train.

    Weights that train are float32: an update is often smaller than bfloat16 can tell apart.
    """
    dtype = dtype or getattr(torch, run.params.get("dtype", "float32"))
    return load_model(run.inputs[role], dtype=dtype), load_tokenizer(run.inputs[role])


def task_of(run: StepRun) -> Task:
    """The task of a step's dataset."""
    return task_from_dict(json.loads((run.inputs["dataset"] / "task.json").read_text()))


def examples_of(run: StepRun, split: str) -> list[Example]:
    """The examples of one split of a step's dataset."""
    return read_records(run.inputs["dataset"] / f"{split}.parquet", Example)


def traces_of(run: StepRun) -> list[Trace]:
    """The traces that a step reads."""
    return read_records(run.inputs["traces"] / "traces.parquet", Trace)


def write_json(path: Path, content: Any) -> None:
    """Write a small JSON file of an artifact."""
    path.write_text(json.dumps(content, indent=1))


def truncation_of(run: StepRun) -> Truncation | None:
    """How the study cuts the teacher's distributions; None where it keeps them whole."""
    given = run.params.get("truncation")
    return Truncation(**given) if given else None
