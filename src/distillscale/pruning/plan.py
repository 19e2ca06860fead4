"""What a pruning will do, as data that can be printed, stored and tested without weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from pydantic import TypeAdapter, ValidationError
from transformers import PreTrainedConfig

from distillscale.errors import InputError
from distillscale.pruning.importance import Importance
from distillscale.pruning.shape import Shape, params_counter, shape_of

PruningAxis = Literal["depth", "mlp"]
"""What can be cut: whole layers, or MLP channels within every layer."""

TOLERANCE = 0.01
"""Sizes within this share of the target count as equally good; the balance decides among them."""

PLAN_COLUMNS = ("quantity", "before", "after", "kept")
"""Headings of `PruningPlan.rows`."""


@dataclass(frozen=True)
class PruningPlan:
    """Which layers and channels of a model stay.

    Attributes:
        model_type: the family, as in config.json.
        before: shape of the model that is pruned.
        after: shape of the result.
        params_before: non-embedding parameters of the model that is pruned.
        params_after: non-embedding parameters of the result.
        kept_layers: numbers of the layers that stay, ascending, as numbered before.
        kept_channels: for each layer that stays, its MLP channels that stay, ascending.

    Raises:
        InputError: layers or channels do not fit the shapes.
    """

    model_type: str
    before: Shape
    after: Shape
    params_before: int
    params_after: int
    kept_layers: tuple[int, ...]
    kept_channels: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        """Check that layers and channels fit the shapes."""
        _check_kept("layers", self.kept_layers, self.after.layers, self.before.layers)
        if len(self.kept_channels) != self.after.layers:
            raise InputError(
                f"pruning plan: kept_channels has {len(self.kept_channels)} entries, "
                f"but {self.after.layers} layers stay; give one for each of them."
            )
        for layer, channels in zip(self.kept_layers, self.kept_channels, strict=True):
            _check_kept(f"channels of layer {layer}", channels, self.after.mlp, self.before.mlp)

    @property
    def stage_ratio(self) -> float:
        """Share of the pruned model's non-embedding parameters that stays.

        It equals the prune ratio where that model is the teacher; in a chain of stages the prune
        ratio is the product of the stages' ratios.
        """
        return self.params_after / self.params_before

    def rows(self) -> tuple[tuple[str, str, str, str], ...]:
        """The plan as a table to print, with the headings PLAN_COLUMNS."""
        removed = [str(n) for n in range(self.before.layers) if n not in self.kept_layers]
        return (
            _row("layers", self.before.layers, self.after.layers),
            _row("MLP channels per layer", self.before.mlp, self.after.mlp),
            _row("non-embedding parameters", self.params_before, self.params_after),
            ("layers removed", "", ", ".join(removed) or "none", ""),
        )

    def to_json(self) -> str:
        """The plan as JSON; `from_json` reads it back."""
        return _ADAPTER.dump_json(self).decode()

    @staticmethod
    def from_json(text: str) -> "PruningPlan":
        """Read a plan that `to_json` wrote.

        Raises:
            InputError: the text is not JSON, or not a consistent plan.
        """
        try:
            return _ADAPTER.validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the text"
            raise InputError(f"pruning plan: {field} is wrong ({first['msg']}).") from error


_ADAPTER = TypeAdapter(PruningPlan)


def plan_pruning(
    config: PreTrainedConfig,
    importance: Importance,
    *,
    target_params: int,
    axes: tuple[PruningAxis, ...],
    multiple: int,
    original: Shape | None = None,
) -> PruningPlan:
    """Choose the shape closest to a target size, and what stays in it.

    Among the shapes whose size is within 1 % of the target (or, where there is none, the nearest)
    the one is taken that cuts depth and width most evenly: least |ln(L/L0) - ln(W/W0)|, L0 and W0
    being those of the teacher, so that different schedules to one size end alike. Assumption: the
    paper (arXiv 2606.24747) does not say, in the material we have, how it balances the two.

    Layers of lowest block influence go, the first and the last of the model like any other, the
    later one of two equal ones; then in each remaining layer the channels of lowest activation.
    What stays keeps its order.

    Args:
        config: of the model to prune; it is not changed.
        importance: scores of the same model.
        target_params: non-embedding parameters wanted.
        axes: what may be cut.
        multiple: MLP widths are multiples of this (hardware prefers 8 to 256), or unchanged.
        original: shape of the teacher; left out where the model at hand is the teacher.

    Raises:
        InputError: the target cannot be reached (the message says what can), the scores are those
            of another model, an argument is out of range, or the family is not supported.
    """
    before = shape_of(config)
    _check_arguments(axes, multiple)
    _check_scores(importance, before)
    params = params_counter(config)
    sizes = {shape: params(shape) for shape in _candidates(before, axes, multiple)}
    after = _choose(sizes, before, original or before, target_params)
    kept_layers = _highest(importance.layers, after.layers)
    return PruningPlan(
        model_type=config.model_type,
        before=before,
        after=after,
        params_before=sizes[before],
        params_after=sizes[after],
        kept_layers=kept_layers,
        kept_channels=tuple(_highest(importance.channels[n], after.mlp) for n in kept_layers),
    )


def _candidates(before: Shape, axes: tuple[PruningAxis, ...], multiple: int) -> list[Shape]:
    """Every shape within reach, the unchanged one last."""
    depths = range(1, before.layers) if "depth" in axes else ()
    widths = range(multiple, before.mlp, multiple) if "mlp" in axes else ()
    return [
        Shape(depth, mlp) for depth in (*depths, before.layers) for mlp in (*widths, before.mlp)
    ]


def _choose(sizes: dict[Shape, int], before: Shape, original: Shape, target: int) -> Shape:
    smallest, largest = min(sizes.values()), sizes[before]
    if target > largest or smallest > target * (1 + TOLERANCE):
        raise InputError(
            f"pruning target: {target:,} non-embedding parameters cannot be reached; this model "
            f"can be pruned to between {smallest:,} and {largest:,}."
        )
    distance = {shape: abs(size - target) for shape, size in sizes.items()}
    reach = max(TOLERANCE * target, min(distance.values()))
    close = [shape for shape in sizes if distance[shape] <= reach]
    return min(close, key=lambda shape: (_imbalance(shape, original), distance[shape]))


def _imbalance(shape: Shape, original: Shape) -> float:
    return abs(math.log(shape.layers / original.layers) - math.log(shape.mlp / original.mlp))


def _highest(scores: Sequence[float], count: int) -> tuple[int, ...]:
    """Positions of the highest scores, ascending; of equal scores the earlier one counts more."""
    ranked = sorted(range(len(scores)), key=lambda position: -scores[position])
    return tuple(sorted(ranked[:count]))


def _row(quantity: str, before: int, after: int) -> tuple[str, str, str, str]:
    return quantity, f"{before:,}", f"{after:,}", f"{after / before:.1%}"


def _check_kept(what: str, kept: tuple[int, ...], count: int, available: int) -> None:
    ascending = all(a < b for a, b in pairwise(kept))
    within = all(0 <= number < available for number in kept)
    if len(kept) != count or count < 1 or not (ascending and within):
        raise InputError(
            f"pruning plan: kept {what} must be {count} (at least one) ascending numbers "
            f"below {available}."
        )


def _check_arguments(axes: tuple[PruningAxis, ...], multiple: int) -> None:
    known = get_args(PruningAxis)
    if not axes or any(axis not in known for axis in axes):
        raise InputError(
            f"pruning axes: {list(axes)} must name at least one of {', '.join(known)} "
            "and nothing else."
        )
    if multiple < 1:
        raise InputError(f"pruning multiple: {multiple} is not a whole number of at least 1.")


def _check_scores(importance: Importance, shape: Shape) -> None:
    widths = {len(channels) for channels in importance.channels}
    layers = {len(importance.layers), len(importance.channels)}
    if layers != {shape.layers} or widths != {shape.mlp}:
        raise InputError(
            f"importance: scores for {len(importance.layers)} layers do not fit a model of "
            f"{shape.layers} layers with {shape.mlp} MLP channels; measure them on that model."
        )
