"""Hidden-state matching: the student's layers are drawn to the teacher layers that they came from.

A pruned student's residual stream is a selection of the teacher's channels, after a selection of
its layers, so the two can be compared without a learned projection (TinyBERT, arXiv 1909.10351,
needs one; Minitron, arXiv 2407.14679, adds such a term where many layers were cut).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from distillscale.distillation.segments import SegmentTotals
from distillscale.errors import InputError


@dataclass(frozen=True)
class LayerMap:
    """Where the student's structure comes from in the teacher.

    Student layer i (from 0) was teacher layer `layers[i]`; its hidden channel c was the teacher's
    channel `channels[c]`.
    """

    layers: tuple[int, ...]
    channels: tuple[int, ...]

    def check(self, student: PreTrainedModel) -> None:
        """Make sure that the map is about this student.

        Raises:
            InputError: its number of layers or channels is another.
        """
        config = student.config.get_text_config()
        for what, mapped, there in (
            ("layers", len(self.layers), config.num_hidden_layers),
            ("hidden channels", len(self.channels), config.hidden_size),
        ):
            if mapped != there:
                raise InputError(
                    f"The student's origin maps {mapped} {what} to the teacher's but it has "
                    f"{there}; it must be that of this very checkpoint."
                )


def matching_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    channels: Sequence[int],
    totals: SegmentTotals,
) -> Tensor:
    """Mean over positions t and layers l of ||s_tl - h_tl||^2 / ||h_tl||^2, a scalar.

    s are the student's hidden states after a layer and h the teacher's after the layer that it came
    from, at the kept channels. Each position is divided by the teacher's own square there, so that
    no layer and no token with massive activations outweighs the others, and so that the parts of
    micro-batches add up: the mean is over the positions of the whole optimizer step (`totals`).

    Args:
        student: states [P, H_S] after every layer.
        teacher: states [P, H_T] after the teacher layers behind them, in the same order.
        channels: the teacher's channel behind each of the student's.
    """
    kept = torch.tensor(channels, device=student[0].device)
    errors = torch.stack(
        [_relative_error(own, its[:, kept]) for own, its in zip(student, teacher, strict=True)]
    )
    return errors.sum() / (len(student) * max(totals.reasoning + totals.answer, 1))


def _relative_error(student: Tensor, teacher: Tensor) -> Tensor:
    student, teacher = student.float(), teacher.float()
    return (student - teacher).square().sum(-1) / teacher.square().sum(-1).clamp(min=1e-12)
