"""One way through supervised positions in chunks: logits, their gradient, and its products.

A chunk's logits (and the teacher's) are all that is held of positions x vocabulary. The vocabulary
is whole where at least `_FEW` positions of it fit the budget, else it is cut into tiles: that costs
a second projection (a third with some divergences) and fits any budget.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from distillscale.distillation.comparison import (
    Comparison,
    FullComparison,
    Positions,
    Terms,
    TopComparison,
)
from distillscale.distillation.objectives import PositionWeights
from distillscale.models.batches import slices
from distillscale.models.forward import Head
from distillscale.models.teacher_logits import FullLogits, TopLogProbs

_FEW, _MANY = 32, 1024
"""Positions in a product: with fewer than the first, reading the head's weights dominates; with
tiles, at most the second share one way through them. Measured on two CPU cores."""
_CPU_BLOCK, _GPU_BLOCK = 2**20, 2**24
"""Logits that elementwise work takes at a time, so that its temporaries stay small: as many as a
CPU's cache holds; enough to hide a GPU's launches. Our choice."""
_SLICE = 2**14
"""Rows of a product in reduced precision that are made before they are added to a sum."""

_Step = Callable[[Tensor, Tensor | None, int], None]
"""A method of a comparison that takes a tile."""


@dataclass(frozen=True)
class LossInputs:
    """What the loss of P positions depends on besides what it is differentiated by.

    `gold_mixing` is the lambda of `supervised_loss`; `budget` is in bytes; `autocast` is the type
    of matrix products where autocast is on, else None.
    """

    teacher: FullLogits | TopLogProbs | None
    targets: Tensor
    weights: PositionWeights
    gold_mixing: Tensor | None
    terms: Terms
    budget: int
    autocast: torch.dtype | None


class _Side:
    """A model's hidden states [p, H] and head in the type of products, and room for logits."""

    def __init__(self, hidden: Tensor, head: Head, product_type: torch.dtype) -> None:
        self.hidden = hidden.to(product_type)
        self.weight, self.bias = head.weight.to(product_type), head.bias
        self.room = torch.empty(0)

    def logits(self, rows: slice, tile: slice) -> Tensor:
        """Logits, before the softcap, of some positions and tokens; valid until the next call."""
        hidden, weight = self.hidden[rows], self.weight[tile].t()
        out = self.room[: hidden.shape[0] * weight.shape[1]].view(hidden.shape[0], -1)
        if out.dtype == hidden.dtype:
            torch.mm(hidden, weight, out=out)
        else:
            out.copy_(hidden @ weight)
        return out if self.bias is None else out.add_(self.bias[tile])


class Sweep:
    """The way through the positions that have a weight."""

    def __init__(
        self, hidden: Tensor, head: Head, inputs: LossInputs, needed: Sequence[bool]
    ) -> None:
        """Prepare it; `needed` says whether hidden states, head weight and bias need gradients."""
        a, c = inputs.weights.divergence, inputs.weights.cross_entropy
        self.inputs, self.total = inputs, len(hidden)
        self.chosen = ((a != 0) | (c != 0)).nonzero().squeeze(-1)
        self.a, self.c = (w[self.chosen].to(_sum_type(hidden)) for w in (a, c))
        self.values = self.a.new_zeros(2, len(self.chosen))
        self.positions = Positions(
            inputs.targets[self.chosen],
            self.a * inputs.terms.temperature,
            self.c,
            self.values[0],
            self.values[1],
            None if inputs.gold_mixing is None else inputs.gold_mixing[self.chosen].to(self.a),
        )
        self.student = _Side(hidden[self.chosen], head, inputs.autocast or hidden.dtype)
        self.teacher: _Side | None = None
        if isinstance(inputs.teacher, FullLogits):
            own = inputs.teacher.head
            own_type = inputs.autocast or own.weight.dtype
            self.teacher = _Side(inputs.teacher.hidden[self.chosen], own, own_type)
        self.vocabulary = head.vocabulary
        self.originals = (hidden, head.weight, head.bias)
        self.sums = [
            self._sum_like(original) if needs and original is not None else None
            for original, needs in zip(
                (self.student.hidden, *self.originals[1:]), needed, strict=True
            )
        ]
        self.chunk, self.tile = self._make_room()
        self.block = self._block()
        with_teacher = self.block * self.tile if self.teacher else 0
        self.spare = self.values.new_empty(with_teacher)

    def run(self) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the loss, and tau^2 D_t and CE_t of all positions [P].

        The latter two are 0 where both weights of a position are: nothing is computed there.
        """
        for rows in slices(len(self.chosen), self.chunk):
            self._chunk(rows)
        self.values[0].mul_(self.inputs.terms.temperature**2)
        everywhere = self.values.new_zeros(2, self.total)
        everywhere[:, self.chosen] = self.values
        loss = self.a @ self.values[0] + self.c @ self.values[1]
        return loss, everywhere[0], everywhere[1]

    def gradients(self) -> list[Tensor | None]:
        """Those of hidden states [P, H], head weight and bias, in their types; None: not needed."""
        hidden, weight, bias = self.sums
        if hidden is not None:
            everywhere = hidden.new_zeros(self.originals[0].shape)
            hidden = everywhere.index_copy_(0, self.chosen, hidden)
        return [
            None if total is None or original is None else total.to(original.dtype)
            for total, original in zip((hidden, weight, bias), self.originals, strict=True)
        ]

    def _make_room(self) -> tuple[int, int]:
        """Positions in a chunk and tokens in a tile, with memory for their logits."""
        sides = [side for side in (self.student, self.teacher) if side]
        logit_bytes = sum(self.values.itemsize for _ in sides)
        # A product in another type is whole before it is converted.
        logit_bytes += max(
            side.weight.itemsize * (side.weight.dtype != self.values.dtype) for side in sides
        )
        chunk, tile = plan(len(self.chosen), self.vocabulary, self.inputs.budget // logit_bytes)
        for side in sides:
            side.room = self.values.new_empty(chunk * tile)
        return chunk, tile

    def _chunk(self, rows: slice) -> None:
        """Values and gradients of some positions."""
        blocks = self._blocks(rows)
        tiles = slices(self.vocabulary, self.tile)
        if len(tiles) > 1:
            for tile in tiles:
                self._take(tile, rows, blocks, lambda comparison: comparison.observe)
            if any(comparison.needs_weighing for _, comparison in blocks):
                for tile in tiles:
                    self._take(tile, rows, blocks, lambda comparison: comparison.weigh)
        for tile in tiles:
            gradient = self._take(tile, rows, blocks, lambda comparison: comparison.differentiate)
            self._multiply(gradient, rows, tile)

    def _blocks(self, rows: slice) -> list[tuple[slice, Comparison]]:
        """The positions of a chunk in blocks (numbered within it), and their comparisons."""
        return [
            (part, self._comparison(slice(rows.start + part.start, rows.start + part.stop)))
            for part in slices(rows.stop - rows.start, self.block)
        ]

    def _block(self) -> int:
        """Positions that elementwise work takes at a time."""
        on_cpu = self.values.device.type == "cpu"
        most = min(_CPU_BLOCK if on_cpu else _GPU_BLOCK, self.chunk * self.tile // 8)
        # A softmax on a CPU gives each thread rows of its own.
        least = torch.get_num_threads() if on_cpu else 1
        return min(max(most // max(self.tile, 1), least), self.chunk)

    def _comparison(self, rows: slice) -> Comparison:
        positions, terms = self.positions.at(rows), self.inputs.terms
        teacher, whole = self.inputs.teacher, self.tile == self.vocabulary
        if teacher is None:
            return Comparison(positions, terms, whole=whole)
        if isinstance(teacher, FullLogits):
            return FullComparison(positions, terms, whole=whole, spare=self.spare)
        own = teacher.select(self.chosen[rows])
        return TopComparison(positions, terms, whole=whole, teacher=own)

    def _take(
        self,
        tile: slice,
        rows: slice,
        blocks: list[tuple[slice, Comparison]],
        step: Callable[[Comparison], _Step],
    ) -> Tensor:
        """Let comparisons take in a tile's logits; what they leave in the student's place."""
        student = self.student.logits(rows, tile)
        teacher = self.teacher.logits(rows, tile) if self.teacher else None
        for part, comparison in blocks:
            own = None if teacher is None else teacher[part]
            step(comparison)(student[part], own, tile.start)
        return student

    def _multiply(self, gradient: Tensor, rows: slice, tile: slice) -> None:
        """Add what a gradient with respect to raw logits gives the hidden states and the head."""
        hidden, weight, bias = self.sums
        factor = gradient.to(self.student.hidden.dtype)
        first_chunk, first_tile = rows.start == 0, tile.start == 0
        if hidden is not None:
            _add_product(hidden[rows], factor, self.student.weight[tile], first=first_tile)
        if weight is not None:
            own = self.student.hidden[rows]
            _add_product(weight[tile], factor.t(), own, first=first_chunk)
        if bias is not None:
            total = gradient.sum(0)
            bias[tile] = total if first_chunk else bias[tile] + total

    def _sum_like(self, original: Tensor) -> Tensor:
        """Room for a gradient: what comes first overwrites it, unless nothing comes."""
        make = torch.empty_like if len(self.chosen) else torch.zeros_like
        return make(original, dtype=self.values.dtype)


def plan(positions: int, vocabulary: int, logits: int) -> tuple[int, int]:
    """Positions in a chunk and tokens in a tile, even parts of all, for a number of logits held."""
    whole = logits // vocabulary
    if whole >= max(min(positions, _FEW), 1):
        return _even_part(positions, whole), vocabulary
    chunk = _even_part(positions, _MANY)
    return chunk, _even_part(vocabulary, logits // chunk)


def _even_part(total: int, most: int) -> int:
    """The size of the fewest parts, of at most `most` (at least 1), that make up a total."""
    return ceil(total / ceil(total / max(most, 1))) if total else 1


def _add_product(total: Tensor, left: Tensor, right: Tensor, *, first: bool) -> None:
    """total += left @ right, or = if it is the first; added up in the total's own precision."""
    if total.dtype == left.dtype:
        total.addmm_(left, right, beta=0 if first else 1)
        return
    for part in slices(len(total), _SLICE):
        product = left[part] @ right
        total[part] = product if first else total[part] + product


def _sum_type(hidden: Tensor) -> torch.dtype:
    return torch.float64 if hidden.dtype == torch.float64 else torch.float32
