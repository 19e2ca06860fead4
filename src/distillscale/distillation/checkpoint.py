"""What a training is resumed from, in files that do not depend on how many processes wrote them.

Weights that train and the optimizer's state of each are gathered whole, weight by weight, and
written by the first process as safetensors; the schedule is JSON.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

WEIGHTS, OPTIMIZER, SCHEDULE = "model.safetensors", "optimizer.safetensors", "schedule.json"
"""The files in a checkpoint's folder."""

PROCESSES = "processes"
"""Of the optimizer's file: the key of its metadata under which the number of writers stands."""


def whole(value: Tensor) -> Tensor:
    """A tensor that may be sharded, whole; all processes take part."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def write_weights(model: nn.Module, folder: Path, *, writes: bool) -> None:
    """Write the weights that train; all processes take part, and one of them `writes`."""
    kept = {}
    for name, weight in _trained(model).items():
        value = whole(weight.detach())
        if writes:
            kept[name] = value.cpu().contiguous()
    if writes:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(kept, folder / WEIGHTS, {"format": "pt"})


def write_optimizer(
    model: nn.Module,
    optimizer: Optimizer,
    schedule: LRScheduler,
    folder: Path,
    *,
    writes: bool,
    processes: int,
) -> None:
    """Write the optimizer's state and the schedule's likewise."""
    kept = {}
    for name, weight in _trained(model).items():
        for field, value in sorted(optimizer.state[weight].items()):
            full = whole(value)
            if writes:
                kept[f"{name}/{field}"] = full.cpu().contiguous()
    if writes:
        save_file(kept, folder / OPTIMIZER, {PROCESSES: str(processes)})
        (folder / SCHEDULE).write_text(json.dumps(schedule.state_dict()), encoding="utf-8")


@torch.no_grad()
def read_weights(model: nn.Module, folder: Path) -> None:
    """Give a model, whole or sharded, the weights of a checkpoint."""
    with safe_open(folder / WEIGHTS, framework="pt") as stored:
        for name, weight in _trained(model).items():
            weight.copy_(_as_is(stored.get_tensor(name), weight))


def read_optimizer(
    model: nn.Module, optimizer: Optimizer, schedule: LRScheduler, folder: Path
) -> None:
    """Give an optimizer and a schedule the state of a checkpoint.

    Read weight by weight, so that no process ever holds a sharded model's whole state.
    """
    with safe_open(folder / OPTIMIZER, framework="pt") as stored:
        fields: dict[str, list[str]] = {}
        for key in stored.keys():  # noqa: SIM118 (a file of tensors is no mapping)
            name, _, field = key.rpartition("/")
            fields.setdefault(name, []).append(field)
        for name, weight in _trained(model).items():
            if name in fields:
                optimizer.state[weight] = {
                    field: _as_is(stored.get_tensor(f"{name}/{field}"), weight)
                    for field in fields[name]
                }
    state: dict[str, Any] = json.loads((folder / SCHEDULE).read_text(encoding="utf-8"))
    schedule.load_state_dict(state)
    for group, rate in zip(optimizer.param_groups, schedule.get_last_lr(), strict=True):
        group["lr"] = rate


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that train by name, tied ones once, in an order that all processes share."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _as_is(value: Tensor, weight: Tensor) -> Tensor:
    """A value on the device of a weight, sharded as the weight where it has its shape."""
    value = value.to(weight.device)
    if isinstance(weight, DTensor) and value.shape == weight.shape:
        return distribute_tensor(value, weight.device_mesh, weight.placements)
    return value
