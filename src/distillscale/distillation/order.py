"""The order in which a run visits its rows: fixed in advance by the seed."""

from collections.abc import Sequence

import torch

from distillscale.models.batches import length_sorted_batches

_POOL = 8
"""Batches sorted by length together. Our choice: large enough to save most padding, small enough
that a batch's content stays nearly random."""


def batch_order(
    lengths: Sequence[int], *, steps: int, batch_size: int, seed: int
) -> list[list[int]]:
    """Row numbers of each step's batch; rows of similar length share a batch.

    The rows are shuffled anew for every round over them. All batches are full (`batch_size` rows,
    or all rows where there are fewer) and no row is twice in one: the few rows that do not fill a
    batch at a round's end sit that round out, others each time.
    """
    generator = torch.Generator().manual_seed(seed)
    size = min(batch_size, len(lengths))
    batches: list[list[int]] = []
    while len(batches) < steps:
        shuffled = torch.randperm(len(lengths), generator=generator).tolist()
        full = len(lengths) - len(lengths) % size
        for start in range(0, full, _POOL * size):
            pool = shuffled[start : min(start + _POOL * size, full)]
            groups = length_sorted_batches([lengths[row] for row in pool], size)
            order = torch.randperm(len(groups), generator=generator).tolist()
            batches += [[pool[place] for place in groups[group]] for group in order]
    return batches[:steps]
