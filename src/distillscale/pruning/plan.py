"""What a pruning will do, as data that can be printed, stored and tested without weights."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from distillscale.errors import InputError
from distillscale.pruning.families import FAMILIES
from distillscale.pruning.shape import Shape

PLAN_COLUMNS = ("quantity", "before", "after", "kept")
"""Headings of `PruningPlan.rows`."""


@dataclass(frozen=True)
class KeptLayer:
    """What stays of one layer; every list is ascending.

    Attributes:
        layer: number of the layer before.
        channels: MLP channels that stay, one entry for each expert that stays (dense: one entry).
        groups: K/V groups that stay.
        heads: for each group that stays its query heads that stay, counted within the group.
        experts: experts that stay; (0,) in a dense model.
    """

    layer: int
    channels: tuple[tuple[int, ...], ...]
    groups: tuple[int, ...]
    heads: tuple[tuple[int, ...], ...]
    experts: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class PruningPlan:
    """Which layers and channels of a model stay.

    Attributes:
        model_type: the family, as in config.json.
        before: shape of the model that is pruned.
        after: shape of the result.
        params_before: non-embedding parameters of the model that is pruned.
        params_after: non-embedding parameters of the result.
        flops_before: operations per token of the model that is pruned (`flops_per_token`).
        flops_after: operations per token of the result.
        layers: the layers that stay, ascending.
        hidden: hidden channels that stay, ascending.
        norm_scales: a positive factor for each norm over the hidden width, by the norm's path in
            the model as named before; empty where no hidden channel goes. A norm divides by the
            root mean square over its channels, so its outputs grow or shrink when channels go;
            the factor makes good for that.

    Raises:
        InputError: what stays does not fit the shapes.
    """

    model_type: str
    before: Shape
    after: Shape
    params_before: int
    params_after: int
    flops_before: int
    flops_after: int
    layers: tuple[KeptLayer, ...]
    hidden: tuple[int, ...]
    norm_scales: Mapping[str, float]

    def __post_init__(self) -> None:
        """Check that what stays fits the shapes."""
        before, after = self.before, self.after
        _check_kept("layers", self.kept_layers, after.layers, before.layers)
        _check_kept("hidden channels", self.hidden, after.hidden, before.hidden)
        for layer in self.layers:
            _check_layer(layer, before, after)
        _check_norm_scales(self)

    @property
    def kept_layers(self) -> tuple[int, ...]:
        """Numbers of the layers that stay, ascending, as numbered before."""
        return tuple(layer.layer for layer in self.layers)

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
        mixture = self.before.experts > 1
        names = {
            "layers": "layers",
            "hidden": "hidden width",
            "groups": "K/V groups per layer",
            "heads": "query heads per group",
            "experts": "experts per layer" if mixture else "",
            "mlp": "MLP channels per expert" if mixture else "MLP channels per layer",
        }
        sizes = (
            _row(name, getattr(self.before, field), getattr(self.after, field))
            for field, name in names.items()
            if name
        )
        return (
            *sizes,
            _row("non-embedding parameters", self.params_before, self.params_after),
            _row("FLOPs per token", self.flops_before, self.flops_after),
            ("layers removed", "", ", ".join(removed) or "none", ""),
        )

    def to_json(self) -> str:
        """The plan as JSON; `from_json` reads it back."""
        return _PLAN.dump_json(self).decode()

    @staticmethod
    def from_json(text: str) -> "PruningPlan":
        """Read a plan that `to_json` wrote.

        Raises:
            InputError: the text is not JSON, or not a consistent plan.
        """
        return _read(_PLAN, text, "pruning plan")


@dataclass(frozen=True)
class Origin:
    """Where a pruned model's structure comes from in the teacher, through all stages.

    Attributes:
        layers: for each layer of the model its number in the teacher, ascending.
        hidden: for each hidden channel of the model its number in the teacher, ascending.
    """

    layers: tuple[int, ...]
    hidden: tuple[int, ...]

    @staticmethod
    def of(plan: PruningPlan) -> "Origin":
        """The origin of what a plan makes of the teacher."""
        return Origin(plan.kept_layers, plan.hidden)

    def after(self, plan: PruningPlan) -> "Origin":
        """The origin of what a plan makes of the model that has this origin.

        Raises:
            InputError: the plan is for a model of other sizes.
        """
        sizes = (len(self.layers), len(self.hidden))
        if sizes != (plan.before.layers, plan.before.hidden):
            raise InputError(
                f"pruning plan: made for {plan.before.layers} layers of hidden width "
                f"{plan.before.hidden}, but the stage before left {sizes[0]} of {sizes[1]}."
            )
        return Origin(
            tuple(self.layers[n] for n in plan.kept_layers),
            tuple(self.hidden[channel] for channel in plan.hidden),
        )

    def to_json(self) -> str:
        """The origin as JSON; `from_json` reads it back."""
        return _ORIGIN.dump_json(self).decode()

    @staticmethod
    def from_json(text: str) -> "Origin":
        """Read an origin that `to_json` wrote.

        Raises:
            InputError: the text is not JSON, or not an origin.
        """
        return _read(_ORIGIN, text, "origin of a pruned model")


T = TypeVar("T")

_PLAN = TypeAdapter(PruningPlan)
_ORIGIN = TypeAdapter(Origin)


def _read(adapter: TypeAdapter[T], text: str, what: str) -> T:
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the text"
        raise InputError(f"{what}: {field} is wrong ({first['msg']}).") from error


def _row(quantity: str, before: int, after: int) -> tuple[str, str, str, str]:
    return quantity, f"{before:,}", f"{after:,}", f"{after / before:.1%}"


def _check_layer(kept: KeptLayer, before: Shape, after: Shape) -> None:
    where = f"of layer {kept.layer}"
    _check_kept(f"experts {where}", kept.experts, after.experts, before.experts)
    _check_kept(f"groups {where}", kept.groups, after.groups, before.groups)
    _check_entries(f"channels {where}", kept.channels, after.experts)
    _check_entries(f"heads {where}", kept.heads, after.groups)
    for channels in kept.channels:
        _check_kept(f"channels {where}", channels, after.mlp, before.mlp)
    for heads in kept.heads:
        _check_kept(f"heads {where}", heads, after.heads, before.heads)


def _check_entries(what: str, entries: Sequence[tuple[int, ...]], count: int) -> None:
    if len(entries) != count:
        raise InputError(
            f"pruning plan: kept {what} have {len(entries)} entries, but must have {count}."
        )


def _check_kept(what: str, kept: tuple[int, ...], count: int, available: int) -> None:
    ascending = all(a < b for a, b in pairwise(kept))
    within = all(0 <= number < available for number in kept)
    if len(kept) != count or count < 1 or not (ascending and within):
        raise InputError(
            f"pruning plan: kept {what} must be {count} (at least one) ascending numbers "
            f"below {available}."
        )


def _check_norm_scales(plan: PruningPlan) -> None:
    family = FAMILIES.get(plan.model_type)
    if family is None:
        raise InputError(
            f"pruning plan: model_type {plan.model_type!r} is not one of {', '.join(FAMILIES)}."
        )
    cut = plan.after.hidden < plan.before.hidden
    needed = family.norm_paths(plan.kept_layers) if cut else ()
    missing = [norm for norm in needed if norm not in plan.norm_scales]
    if missing or (plan.norm_scales and not cut):
        raise InputError(
            f"pruning plan: norm_scales must have an entry for {missing[0]}, as hidden channels go."
            if missing
            else "pruning plan: norm_scales must be empty, as no hidden channel goes."
        )
    for norm, scale in plan.norm_scales.items():
        if not (math.isfinite(scale) and scale > 0):
            raise InputError(f"pruning plan: norm_scales of {norm} is {scale}, not positive.")
