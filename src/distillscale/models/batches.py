"""Token sequences of unequal length made into rectangular batches, positions cut into chunks."""

from collections.abc import Sequence

import torch
from torch import Tensor

_LARGEST_LOGITS = 2**24
"""Logits held at once where positions are worked through in chunks: 64 MiB in fp32.

Blocks of half of that and less come from glibc's heap, where chunk after chunk they left holes:
4 GB of them were measured with 2**23 at a vocabulary of 151,936, against 0.3 GB with 2**24.
"""

_LARGEST_MASK = 2**26
"""Entries of the attention mask of a batch, unless one sequence alone needs more: 256 MiB in fp32.

A batch of 32 is cut from 1,449 tokens on.
"""


def slices(total: int, part: int) -> list[slice]:
    """Consecutive parts of 0 ... total - 1; the last may be shorter."""
    return [slice(start, min(start + part, total)) for start in range(0, total, part)]


def position_chunks(positions: int, vocabulary: int, largest: int = _LARGEST_LOGITS) -> list[slice]:
    """Cut positions into chunks whose logits are at most `largest` numbers (one position least)."""
    return slices(positions, max(1, largest // vocabulary))


def length_sorted_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Group row numbers into batches of similar length, longest first; ties keep their order."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def masked_batches(
    lengths: Sequence[int], batch_size: int, largest: int = _LARGEST_MASK
) -> list[list[int]]:
    """Batches as `length_sorted_batches`, cut where rows x longest^2 would exceed `largest`.

    For passes whose attention mask has an entry for every pair of tokens.
    """
    batches: list[list[int]] = []
    for rows in length_sorted_batches(lengths, batch_size):
        most = max(1, largest // max(1, lengths[rows[0]]) ** 2)
        batches += [rows[part] for part in slices(len(rows), most)]
    return batches


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
