"""Several processes: what FSDP2 needs around a training."""

from typing import Any

from accelerate import Accelerator, DistributedType
from accelerate.utils import FullyShardedDataParallelPlugin
from torch import nn

from distillscale.distillation.checkpoint import whole

FSDP2: dict[str, Any] = {"version": 2, "reshard_after_forward": True}
"""Weights, gradients and optimizer state are sharded; one layer's weights are gathered at a time.
"""


def shard_on_cpu(accelerator: Accelerator, options: dict[str, Any]) -> None:
    """Let an accelerator shard models on CPUs too.

    accelerate 1.15 takes its FSDP plugin into its state for every kind of device except CPUs, and
    trains with DDP there without a word; everything behind that switch works on them (gloo).
    """
    if accelerator.distributed_type == DistributedType.MULTI_CPU:
        accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(**options)
        accelerator.state.distributed_type = DistributedType.FSDP


def gather_into(plain: nn.Module, sharded: nn.Module) -> None:
    """Give a plain copy the weights that the sharded module has now; all processes take part."""
    plain.load_state_dict({name: whole(value) for name, value in sharded.state_dict().items()})
