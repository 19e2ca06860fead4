"""Token sequences of unequal length, made into rectangular batches."""

from collections.abc import Sequence

import torch
from torch import Tensor


def length_sorted_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Group row numbers into batches of similar length, longest first; ties keep their order."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def pad(
    sequences: Sequence[Sequence[int]], pad_id: int, *, side: str = "right"
) -> tuple[Tensor, Tensor]:
    """Pad sequences to one length.

    Returns:
        Token ids and attention mask, both int64 of shape [batch, longest].
    """
    longest = max(len(sequence) for sequence in sequences)
    ids = torch.full((len(sequences), longest), pad_id, dtype=torch.long)
    mask = torch.zeros((len(sequences), longest), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        start = 0 if side == "right" else longest - len(sequence)
        ids[row, start : start + len(sequence)] = torch.tensor(sequence, dtype=torch.long)
        mask[row, start : start + len(sequence)] = 1
    return ids, mask
