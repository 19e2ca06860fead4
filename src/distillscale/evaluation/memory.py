"""The most memory that a piece of work needs at once."""

import ctypes
import threading
from collections.abc import Callable
from pathlib import Path
from resource import getpagesize
from typing import TypeVar

import torch
from transformers import PreTrainedModel

_Result = TypeVar("_Result")
_STATM = Path("/proc/self/statm")
_SECONDS_BETWEEN_LOOKS = 0.002


def peak_memory(model: PreTrainedModel, work: Callable[[], _Result]) -> tuple[_Result, int | None]:
    """Do some work with a model, and measure the peak memory of model and work together, in bytes.

    On a GPU: the most that PyTorch's allocator gave out at once, weights included. On a CPU: the
    bytes of the weights plus the growth of this process's resident memory while it worked, looked
    at every two milliseconds, so that a shorter peak can be missed; memory that was freed before
    is given back to the system first, or its re-use would count as none. None where a system does
    not tell (other than Linux).
    """
    device = model.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return work(), torch.cuda.max_memory_allocated(device)
    if not _STATM.exists():
        return work(), None
    _give_back_free_memory()
    before, stop = _resident(), threading.Event()
    most = [before]

    def look() -> None:
        while not stop.wait(_SECONDS_BETWEEN_LOOKS):
            most[0] = max(most[0], _resident())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        result = work()
    finally:
        stop.set()
        watcher.join()
    return result, weight_bytes(model) + max(most[0], _resident()) - before


def weight_bytes(model: PreTrainedModel) -> int:
    """Bytes of a model's weights and buffers in memory; tied ones count once."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _resident() -> int:
    return int(_STATM.read_text().split()[1]) * getpagesize()


def _give_back_free_memory() -> None:
    """Only glibc keeps freed memory in a way that it can be asked to give back."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
