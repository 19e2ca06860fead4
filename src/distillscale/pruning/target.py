"""Which shapes have a target size: found from a config alone, without weights or scores.

A study checks its schedules with it before anything is computed.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedConfig

from distillscale.errors import InputError
from distillscale.pruning.families import family_of
from distillscale.pruning.shape import AXIS_FIELD, PruningAxis, Shape, loadable, params_counter

TOLERANCE = 0.01
"""A plan's size is within this share of its target."""

_DIFFERENT = 0.05
"""Alternatives differ from one another by this share in at least one axis. Assumption: nearer
shapes of one size are worth the same."""

_ALIGNED: tuple[PruningAxis, ...] = ("mlp", "hidden")
"""The axes whose sizes are multiples of the alignment, or unchanged."""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Columns = Mapping[str, Integers]
"""Many shapes: an equally long column for each field of `Shape`."""


@dataclass(frozen=True)
class Reach:
    """The shapes that pruning may lead to.

    Attributes:
        config: of the teacher, or of a model pruned from it.
        before: the sizes that are cut; those of `config` or, in a chain of stages, smaller ones.
        original: shape of the teacher, that evenness and shares are judged against.
        axes: what may be cut.
        multiple: MLP and hidden widths are multiples of this, or unchanged.

    Raises:
        InputError: `axes` or `multiple` is out of range, or the family is not supported.
    """

    config: PreTrainedConfig
    before: Shape
    original: Shape
    axes: tuple[PruningAxis, ...]
    multiple: int

    def __post_init__(self) -> None:
        """Check the arguments."""
        family = family_of(self.config)
        known = get_args(PruningAxis)
        if not self.axes or any(axis not in known for axis in self.axes):
            raise InputError(
                f"pruning axes: {list(self.axes)} must name at least one of {', '.join(known)} "
                "and nothing else."
            )
        if "experts" in self.axes and family.experts is None:
            raise InputError(
                f"pruning axes: a {self.config.model_type} model has no experts to cut; leave "
                "`experts` out."
            )
        if self.multiple < 1:
            raise InputError(
                f"pruning multiple: {self.multiple} is not a whole number of at least 1."
            )

    @cached_property
    def count(self) -> Callable[[Shape], int]:
        """Non-embedding parameters of a shape; of many, where its fields are arrays."""
        return params_counter(self.config)

    def sizes(self, axis: PruningAxis) -> Integers:
        """The sizes that an axis may have, ascending; the last one is unchanged."""
        full = getattr(self.before, AXIS_FIELD[axis])
        step = self.multiple if axis in _ALIGNED else 1
        cut = range(step, full, step) if axis in self.axes else ()
        return np.array([*cut, full], dtype=np.int64)

    def widths(self) -> Integers:
        """The MLP widths of models that can be loaded, ascending."""
        widths = self.sizes("mlp")
        return widths[self._loadable({**asdict(self.before), "mlp": widths}, widths)]

    def combinations(self) -> Iterator[dict[str, Integers]]:
        """Every combination of sizes that can be loaded, without MLP widths; a block a depth."""
        axes = [axis for axis in get_args(PruningAxis) if axis not in ("depth", "mlp")]
        grid = np.meshgrid(*map(self.sizes, axes), indexing="ij")
        columns = {AXIS_FIELD[axis]: g.ravel() for axis, g in zip(axes, grid, strict=True)}
        fine = self._loadable({**asdict(self.before), **columns}, columns["hidden"])
        columns = {name: column[fine] for name, column in columns.items()}
        for depth in self.sizes("depth"):
            yield columns | {"layers": np.full_like(columns["hidden"], depth)}

    def _loadable(self, sizes: Mapping[str, Any], like: Integers) -> NDArray[np.bool_]:
        return np.broadcast_to(loadable(self.config, _shape(sizes)), like.shape)

    @property
    def compared(self) -> tuple[str, ...]:
        """The fields of `Shape` that are to be cut evenly: a size of 1 cannot be cut at all."""
        names = [AXIS_FIELD[axis] for axis in get_args(PruningAxis) if axis in self.axes]
        return tuple(name for name in names if getattr(self.original, name) > 1)

    def logarithms(self, columns: Columns) -> list[Floats]:
        """ln(kept / original) of shapes, for each of the compared fields that they have."""
        return [self.logarithm(name, columns[name]) for name in self.compared if name in columns]

    def logarithm(self, name: str, sizes: Integers) -> Floats:
        """ln(kept / original) of sizes along one field of `Shape`."""
        return np.log(sizes / getattr(self.original, name))


def shapes_of_size(reach: Reach, target_params: int, count: int = 1) -> tuple[Shape, ...]:
    """At most `count` shapes whose size is within 1 % of a target, the evenest first.

    The evenest shape has the smallest max - min of ln(kept / original) over the axes asked for
    (those that have anything to cut); of equally even ones the one nearest to the target comes
    first, then the shallower and narrower one. Each differs from all before it by at least 5 % in
    one axis. The unchanged shape is one of them only if its very size is the target.

    Every combination of the sizes other than the MLP width is looked at, and the widths that suit
    it are solved for: the number of parameters is linear in them. So the answer is exact, and
    quick where there are hundreds of thousands of combinations.

    Args:
        target_params: non-embedding parameters wanted.

    Raises:
        InputError: no shape is within 1 % of the target, or it is larger than the model (the
            message says what can be reached), or `count` is below 1.
    """
    if count < 1:
        raise InputError(f"pruning candidates: {count} is not a whole number of at least 1.")
    solved = [_Combinations.of(reach, columns) for columns in reach.combinations()]
    alternatives = _Alternatives.joined(
        [_within_tolerance(reach, block, target_params) for block in solved]
    )
    if target_params > reach.count(reach.before) or not len(alternatives.spread):
        raise InputError(_unreachable(reach, solved, target_params))
    return alternatives.distinct(count)


@dataclass(frozen=True)
class _Combinations:
    """Combinations of sizes, whose parameters are fixed + slope x MLP width."""

    columns: Columns
    widths: Integers
    fixed: Integers
    slope: Integers

    @staticmethod
    def of(reach: Reach, columns: dict[str, Integers]) -> "_Combinations":
        zero = np.zeros_like(columns["layers"])
        fixed = np.asarray(reach.count(_shape({**columns, "mlp": zero})))
        slope = np.asarray(reach.count(_shape({**columns, "mlp": zero + 1}))) - fixed
        return _Combinations(columns, reach.widths(), fixed, slope)

    def select(self, rows: NDArray[np.bool_]) -> "_Combinations":
        """Some of the combinations."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        return _Combinations(columns, self.widths, self.fixed[rows], self.slope[rows])

    def params(self, index: Integers) -> Integers:
        """Parameters at a width, given by its index, for every combination."""
        return self.fixed + self.slope * self.widths[index]

    def first(self, params: int) -> Integers:
        """Index of the smallest width with at least so many parameters."""
        least = -((self.fixed - params) // self.slope)  # rounds up
        return np.searchsorted(self.widths, least, side="left")

    def last(self, params: int) -> Integers:
        """Index of the largest width with at most so many parameters, -1 where there is none."""
        most = (params - self.fixed) // self.slope
        return np.searchsorted(self.widths, most, side="right") - 1

    def nearest(self, params: int) -> Integers:
        """Index of the width whose parameters are nearest, the narrower one of two."""
        below = np.maximum(self.last(params), 0)
        above = np.minimum(below + 1, len(self.widths) - 1)
        closer = self.params(above) - params < params - self.params(below)
        return np.where(closer, above, below)


@dataclass(frozen=True)
class _Alternatives:
    """Shapes that have the target size: [shapes, fields], their unevenness and distance."""

    sizes: Integers
    spread: Floats
    distance: Integers

    @staticmethod
    def joined(parts: list["_Alternatives"]) -> "_Alternatives":
        return _Alternatives(
            np.concatenate([part.sizes for part in parts]),
            np.concatenate([part.spread for part in parts]),
            np.concatenate([part.distance for part in parts]),
        )

    def distinct(self, count: int) -> tuple[Shape, ...]:
        """The best shapes that differ from one another, at most `count`."""
        chosen: list[Shape] = []
        left = np.arange(len(self.spread))
        while len(left) and len(chosen) < count:
            best = self.sizes[self._best(left)]
            chosen.append(Shape(*best.tolist()))
            apart = np.abs(np.log(self.sizes[left] / best)).max(axis=1)
            left = left[apart >= math.log1p(_DIFFERENT)]
        return tuple(chosen)

    def _best(self, rows: Integers) -> int:
        """The evenest one of some rows, ties to the nearest, then to the smaller sizes."""
        for values in (self.spread, self.distance):
            rows = rows[values[rows] == values[rows].min()]
        return int(rows[np.lexsort(self.sizes[rows].T[::-1])[0]])


def _within_tolerance(reach: Reach, block: _Combinations, target: int) -> _Alternatives:
    """Of each combination the widths that can be evenest among those within the tolerance.

    Unevenness is constant while the width's cut lies between the smallest and the largest one of
    the other axes, and grows to both sides. So three widths are enough: the one nearest to the
    target in between, the widest below and the narrowest above.
    """
    slack = TOLERANCE * target
    least, most = math.ceil(target - slack), math.floor(target + slack)
    whole = reach.count(reach.before)
    if target < whole:  # something is to be cut
        most = min(most, whole - 1)
    block = block.select(block.first(least) <= block.last(most))
    first, last = block.first(least), block.last(most)
    start, end = _between(reach, block)
    low, high = np.maximum(first, start), np.minimum(last, end)
    under, over = np.minimum(last, start - 1), np.maximum(first, end + 1)
    options = [
        (np.clip(block.nearest(target), low, np.maximum(low, high)), low <= high),
        (under, under >= first),
        (over, over <= last),
    ]
    parts = []
    for index, exists in options:
        chosen, width = block.select(exists), index[exists]
        columns = {**chosen.columns, "mlp": chosen.widths[width]}
        sizes = np.stack([columns[field.name] for field in fields(Shape)], axis=1)
        cuts = reach.logarithms(columns)
        spread = np.ptp(cuts, axis=0) if cuts else np.zeros(len(sizes))
        parts.append(_Alternatives(sizes, spread, np.abs(chosen.params(width) - target)))
    return _Alternatives.joined(parts)


def _between(reach: Reach, block: _Combinations) -> tuple[Integers, Integers]:
    """First and last index of the widths cut at least and at most as much as the other axes.

    There may be none: then the first comes after the last. All widths count where there is no other
    axis to be compared with, or the width is not cut.
    """
    cuts = reach.logarithms(block.columns)
    if "mlp" not in reach.compared or not cuts:
        return np.zeros_like(block.fixed), np.full_like(block.fixed, len(block.widths) - 1)
    own = reach.logarithm("mlp", block.widths)
    start = np.searchsorted(own, np.min(cuts, axis=0), side="left")
    return start, np.searchsorted(own, np.max(cuts, axis=0), side="right") - 1


def _unreachable(reach: Reach, solved: list[_Combinations], target: int) -> str:
    """The sentence about a target that has no shape, with the nearest sizes that have one."""
    whole = reach.count(reach.original)

    def size(params: int) -> str:
        return f"{params:,} ({params / whole:.2%} of the teacher)"

    below, above = _nearest_sizes(solved, target)
    if above is None:
        near = f"the largest size that can is {size(below or 0)}"
    elif below is None:
        near = f"the smallest size that can is {size(above)}"
    else:
        near = f"the nearest sizes that can are {size(below)} and {size(above)}"
    return (
        f"pruning target: {target:,} non-embedding parameters ({target / whole:.2%} of the "
        f"teacher) cannot be reached within {TOLERANCE:.0%} by cutting {', '.join(reach.axes)} "
        f"with widths in multiples of {reach.multiple}; {near}."
    )


def _nearest_sizes(solved: list[_Combinations], target: int) -> tuple[int | None, int | None]:
    """The largest size that is at most the target, and the smallest one above it."""
    below, above = [], []
    for block in solved:
        last = block.last(target)
        under, over = last >= 0, last + 1 < len(block.widths)
        below.append(block.select(under).params(last[under]))
        above.append(block.select(over).params(last[over] + 1))
    smaller, larger = np.concatenate(below), np.concatenate(above)
    return (
        int(smaller.max()) if len(smaller) else None,
        int(larger.min()) if len(larger) else None,
    )


def _shape(columns: Mapping[str, Any]) -> Shape:
    """Many shapes as one whose fields are columns, for counting them together."""
    return Shape(**columns)
