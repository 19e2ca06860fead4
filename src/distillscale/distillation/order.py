"""The order in which a run visits its rows: fixed in advance by the seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch

from distillscale.distillation.segments import SegmentTotals
from distillscale.errors import InputError
from distillscale.models.batches import length_sorted_batches

_POOL = 8
"""Batches sorted by length together. Our choice: large enough to save most padding, small enough
that a batch's content stays nearly random."""


@dataclass(frozen=True)
class MicroBatch:
    """The rows of one forward pass, and the totals of the optimizer step that it is a part of."""

    rows: tuple[int, ...]
    totals: SegmentTotals


@dataclass(frozen=True)
class Division:
    """How every optimizer batch is divided: `rounds` forward passes in each of the processes."""

    rounds: int
    processes: int = 1
    process: int = 0

    @classmethod
    def of(
        cls, batch_size: int, micro_batch_size: int | None, processes: int = 1, process: int = 0
    ) -> "Division":
        """The fewest forward passes of at most `micro_batch_size` rows (None: any number).

        Raises:
            InputError: some process would have no row in one of its forward passes.
        """
        share = -(-batch_size // processes)
        rounds = -(-share // (micro_batch_size or share))
        if rounds * processes > batch_size:
            raise InputError(
                f"batch_size: {batch_size} rows cannot be shared by {processes} processes in "
                f"{rounds} forward passes each; it must be at least {rounds * processes}."
            )
        return cls(rounds, processes, process)

    def own(self, batch: Sequence[int]) -> list[tuple[int, ...]]:
        """This process's parts of a batch, one a forward pass.

        Parts are runs of neighbours, so similar lengths stay together; they differ by at most one
        row in size. The processes' parts of the same forward pass are neighbours too.
        """
        parts = self.rounds * self.processes
        cuts = [len(batch) * part // parts for part in range(parts + 1)]
        return [
            tuple(batch[cuts[part] : cuts[part + 1]])
            for part in range(self.process, parts, self.processes)
        ]


def micro_batches(
    order: Sequence[Sequence[int]], row_totals: Sequence[SegmentTotals], division: Division
) -> list[MicroBatch]:
    """This process's micro-batches of all steps; the rows of a step are those of `order`.

    Args:
        order: row numbers of each step's batch.
        row_totals: supervised positions of each row.
    """
    return [
        MicroBatch(rows, totals)
        for batch in order
        for totals in [reduce(add, (row_totals[row] for row in batch))]
        for rows in division.own(batch)
    ]


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
