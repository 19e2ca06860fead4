"""Tensors of many traces in part files: written as they come, read memory-mapped by slices.

    part-00000.safetensors ...   the positions of some traces, end to end
    index.safetensors            for each trace its part, first position and end; and the metadata

Neither writing nor reading holds more than a part or what was asked for, so that a corpus may be
larger than memory. The index is written last.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

PART_BYTES = 2**26
"""A part is written when it holds this much: 64 MiB."""

_INDEX = "index.safetensors"
_SPAN = 3  # part, first position, end


class PartWriter:
    """Writes blocks of rows, one block a trace, in any order of the traces."""

    def __init__(self, folder: Path, traces: int, part_bytes: int = PART_BYTES) -> None:
        self._folder = folder
        self._part_bytes = part_bytes
        self._spans = torch.zeros((traces, _SPAN), dtype=torch.long)
        self._held: list[Mapping[str, Tensor]] = []
        self._part = self._positions = self._bytes = 0

    def add(self, trace: int, block: Mapping[str, Tensor]) -> None:
        """Take the tensors of a trace, each with one row a position; all blocks alike."""
        start = self._positions
        self._positions += len(next(iter(block.values())))
        self._spans[trace] = torch.tensor([self._part, start, self._positions])
        self._held.append(block)
        self._bytes += sum(tensor.nbytes for tensor in block.values())
        if self._bytes >= self._part_bytes:
            self._write_part()

    def close(self, metadata: Mapping[str, str]) -> None:
        """Write what is held, then the index."""
        if self._held:
            self._write_part()
        save_file({"spans": self._spans}, self._folder / _INDEX, dict(metadata))

    def _write_part(self) -> None:
        tensors = {name: torch.cat([block[name] for block in self._held]) for name in self._held[0]}
        save_file(tensors, self._folder / _part_name(self._part))
        self._held.clear()
        self._part += 1
        self._positions = self._bytes = 0


class PartReader:
    """Reads the tensors of chosen traces from a folder that `PartWriter` closed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[int, Any] = {}
        with safe_open(folder / _INDEX, framework="pt") as index:
            self._spans: list[list[int]] = index.get_tensor("spans").tolist()
            self.metadata: dict[str, str] = index.metadata() or {}

    @property
    def traces(self) -> int:
        """The number of traces."""
        return len(self._spans)

    def read(self, name: str, traces: list[int]) -> Tensor:
        """The tensor `name` of these traces, end to end; nothing else is read from disk."""
        return torch.cat([self._slice(name, *self._spans[trace]) for trace in traces])

    def _slice(self, name: str, part: int, start: int, end: int) -> Tensor:
        if part not in self._open:  # stays mapped: a map holds no memory by itself
            self._open[part] = safe_open(self._folder / _part_name(part), framework="pt")
        return self._open[part].get_slice(name)[start:end]


def _part_name(part: int) -> str:
    return f"part-{part:05d}.safetensors"
