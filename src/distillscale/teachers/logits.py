"""The teacher's distribution at supervised positions, computed once and read by every stage.

There are two ways to keep it:

| | a position stores | gives |
|---|---|---|
| exact | its final hidden state, in the teacher's number format | `FullLogits` at any temperature |
| truncated | its k most likely tokens with the mass left over | `TopLogProbs` at one temperature |

Exact: the teacher's LM head, stored once, makes the full-vocabulary logits of a hidden state; the
teacher's own format keeps the logits that the teacher itself would give, to rounding.
Truncated: k tokens as int32 (vocabularies exceed int16) and k log-probabilities as fp32. Half
precision would save a quarter of the file and err by up to 2e-4 nats where a probability is high,
which is as much as the truncation that it would hide in.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from distillscale.errors import InputError
from distillscale.models.batches import length_sorted_batches
from distillscale.models.forward import Head
from distillscale.models.supervised import supervised_states
from distillscale.models.teacher_logits import FullLogits, TopLogProbs
from distillscale.models.top_log_probs import Truncation, top_log_probs
from distillscale.tasks import Trace
from distillscale.teachers.online import frozen_head
from distillscale.teachers.parts import PART_BYTES, PartReader, PartWriter

_HEAD = "head.safetensors"


@dataclass(frozen=True)
class CacheSummary:
    """What was cached: the number of positions, and where truncated the mean mass left over."""

    positions: int
    leftover_mass: float | None


class CachedTeacher:
    """Teacher logits of traces, read from a folder that `cache_teacher` wrote.

    Only the positions asked for are read, so the cache may be larger than memory.
    """

    def __init__(self, folder: Path, device: torch.device, *, temperature: float) -> None:
        """Open the cache.

        Args:
            temperature: that at which student and teacher are going to be compared.

        Raises:
            InputError: the cache is truncated at another temperature.
        """
        self._parts = PartReader(folder)
        self._traces = list(range(self._parts.traces))
        self._device = device
        metadata = self._parts.metadata
        self.vocabulary = int(metadata["vocabulary"])
        self.truncation = _truncation(metadata)
        if self.truncation and self.truncation.temperature != temperature:
            raise InputError(
                f"{folder}: the teacher's top {self.truncation.top_k} log-probabilities are those "
                f"at temperature {self.truncation.temperature:g} and the student's temperature is "
                f"{temperature:g}; cache the teacher anew at this temperature."
            )
        self._head = None if self.truncation else _read_head(folder, metadata).to(device)

    def select(self, rows: Sequence[int]) -> "CachedTeacher":
        """The same teacher for a choice of the traces, which are numbered anew from 0."""
        chosen = copy(self)
        chosen._traces = [self._traces[row] for row in rows]
        return chosen

    def at(self, rows: Sequence[int]) -> FullLogits | TopLogProbs:
        """What the teacher predicts at the supervised positions of these traces, end to end.

        Position `len(prompt) + j - 1` of a trace predicts its completion token j.
        """
        traces = [self._traces[row] for row in rows]
        if self._head:
            return FullLogits(self._read("hidden", traces), self._head)
        assert self.truncation is not None
        return TopLogProbs(
            tokens=self._read("tokens", traces).long(),
            log_probs=self._read("log_probs", traces),
            log_rest=self._read("log_rest", traces),
            temperature=self.truncation.temperature,
            vocabulary=self.vocabulary,
        )

    def _read(self, name: str, traces: list[int]) -> Tensor:
        return self._parts.read(name, traces).to(self._device)


@torch.no_grad()
def cache_teacher(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    folder: Path,
    *,
    pad_id: int,
    truncation: Truncation | None = None,
    batch_size: int = 64,
    part_bytes: int = PART_BYTES,
    progress: Callable[[float], None] = lambda _: None,
) -> CacheSummary:
    """Run the teacher over traces and store what it predicts at supervised positions.

    Args:
        truncation: how many tokens to keep, and at which temperature; None keeps all exactly.
        part_bytes: about the size of a file, and so of what is held in memory.

    Raises:
        InputError: the teacher has no more tokens than `truncation` keeps, or its head is of a
            kind that is not supported.
    """
    head = frozen_head(model)
    if truncation:
        truncation.check(head.vocabulary)
    else:
        _write_head(head, folder)
    writer = PartWriter(folder, len(traces), part_bytes)
    positions = done = 0
    leftover = 0.0
    for rows in length_sorted_batches([len(trace.token_ids) for trace in traces], batch_size):
        batch = [traces[row] for row in rows]
        full = FullLogits(supervised_states(model, batch, pad_id).final, head)
        stored = _stored(full, batch, truncation)
        if truncation:
            leftover += stored["log_rest"].double().exp().sum().item()
        _write_traces(writer, rows, batch, stored)
        positions += full.positions
        done += len(rows)
        progress(done / len(traces))
    writer.close(_metadata(head, truncation))
    return CacheSummary(positions, leftover / positions if truncation and positions else None)


def _stored(
    full: FullLogits, traces: Sequence[Trace], truncation: Truncation | None
) -> dict[str, Tensor]:
    """The tensors of a batch as they go to disk, one row a position."""
    if truncation is None:
        return {"hidden": full.hidden.cpu()}
    own = [token for trace in traces for token in trace.completion_ids]
    top = top_log_probs(full, torch.tensor(own, device=full.hidden.device), truncation)
    return {
        "tokens": top.tokens.int().cpu(),
        "log_probs": top.log_probs.cpu(),
        "log_rest": top.log_rest.cpu(),
    }


def _write_traces(
    writer: PartWriter, rows: Sequence[int], traces: Sequence[Trace], stored: Mapping[str, Tensor]
) -> None:
    lengths = [len(trace.completion_ids) for trace in traces]
    split = {name: tensor.split(lengths) for name, tensor in stored.items()}
    for place, row in enumerate(rows):
        writer.add(row, {name: blocks[place] for name, blocks in split.items()})


def _metadata(head: Head, truncation: Truncation | None) -> dict[str, str]:
    metadata = {"vocabulary": str(head.vocabulary)}
    if truncation:
        metadata |= {
            "top_k": str(truncation.top_k),
            "temperature": repr(truncation.temperature),
        }
    elif head.softcap is not None:
        metadata["softcap"] = repr(head.softcap)
    return metadata


def _truncation(metadata: Mapping[str, str]) -> Truncation | None:
    if "top_k" not in metadata:
        return None
    return Truncation(int(metadata["top_k"]), float(metadata["temperature"]))


def _write_head(head: Head, folder: Path) -> None:
    tensors = {"weight": head.weight.cpu().contiguous().clone()}  # tied weights are the model's own
    if head.bias is not None:
        tensors["bias"] = head.bias.cpu().clone()
    save_file(tensors, folder / _HEAD)


def _read_head(folder: Path, metadata: Mapping[str, str]) -> Head:
    with safe_open(folder / _HEAD, framework="pt") as file:
        bias = file.get_tensor("bias") if "bias" in file.keys() else None  # noqa: SIM118
        softcap = float(metadata["softcap"]) if "softcap" in metadata else None
        return Head(file.get_tensor("weight"), bias, softcap)
