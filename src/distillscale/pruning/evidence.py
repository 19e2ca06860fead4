"""What the criteria see of each axis: statistics of the calibration pass and norms of weights."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from distillscale.pruning.criteria import ChannelEvidence, LayerEvidence
from distillscale.pruning.families import Weight, WeightAxis, family_of, head_width
from distillscale.pruning.shape import Shape, shape_of
from distillscale.pruning.statistics import Places, Statistics
from distillscale.pruning.weight_norms import (
    hidden_norms,
    layer_norms,
    norms_along,
    reader_norms,
    reads,
)


@dataclass(frozen=True)
class Evidence:
    """All that is known about a model; gives each axis its own view.

    Attributes:
        statistics: those that the criteria need.
        losses_without: mean loss of the model without each layer, see `leave_one_out`.
        seed: of random scores.
    """

    model: PreTrainedModel
    statistics: Statistics
    losses_without: Callable[[], Tensor]
    seed: int

    def layers(self) -> LayerEvidence:
        """Of layers, [layers]."""
        return LayerEvidence(
            turns=lambda: self.statistics.turns / self.statistics.tokens,
            angles=lambda: self.statistics.angles / self.statistics.tokens,
            losses_without=self.losses_without,
            weight_norm=lambda: layer_norms(self.model),
            random=lambda: self._uniform("depth", (self._shape.layers,)),
        )

    def mlp(self) -> ChannelEvidence:
        """Of MLP channels, [layers, experts, channels]."""
        shape = self._shape
        size = (shape.layers, shape.experts, shape.mlp)
        axes: tuple[WeightAxis, ...] = ("expert", "mlp") if self._has_experts else ("mlp",)
        return self._channels(
            "mlp",
            size,
            reader_norm=lambda: self._along(axes, lambda w: reads("mlp", w)).view(size),
            weight_norm=lambda: self._along(axes).view(size),
            random=lambda: self._uniform("mlp", size),
        )

    def heads(self) -> ChannelEvidence:
        """Of the channels of query heads, [layers, groups, heads, channels of a head]."""
        shape = self._shape
        size = (shape.layers, shape.groups, shape.heads, head_width(self.model.config))
        return self._channels(
            "attention",
            size,
            reader_norm=lambda: self._along(("query",), lambda w: reads("query", w)).view(size),
            weight_norm=lambda: self._along(("query",)).view(size),
            random=lambda: self._uniform("heads", size),
        )

    def groups(self) -> ChannelEvidence:
        """Of the query channels of K/V groups, [layers, groups, channels of all its heads]."""
        shape = self._shape
        size = (shape.layers, shape.groups, shape.heads * head_width(self.model.config))
        by_group = (shape.layers, shape.groups, -1)
        return self._channels(
            "attention",
            size,
            reader_norm=lambda: self._along(("query",), lambda w: reads("query", w)).view(size),
            weight_norm=lambda: torch.cat(
                [self._along((axis,)).view(by_group) for axis in ("query", "key_value")], dim=-1
            ),
            random=lambda: self._uniform("groups", size),
        )

    def experts(self) -> ChannelEvidence:
        """Of experts, [layers, experts]: an expert is a channel activated by its routing weight."""
        size = (self._shape.layers, self._shape.experts)
        return self._channels(
            "routing",
            size,
            reader_norm=lambda: self._along(("expert",), lambda w: reads("mlp", w)),
            weight_norm=lambda: self._along(("expert",)),
            random=lambda: self._uniform("experts", size),
        )

    def hidden(self) -> ChannelEvidence:
        """Of hidden channels behind each norm that projections read, [norms, hidden].

        Weights and random numbers belong to no norm: [1, hidden].
        """
        return self._channels(
            "norms",
            None,
            reader_norm=lambda: reader_norms(self.model),
            weight_norm=lambda: hidden_norms(self.model)[None],
            random=lambda: self._uniform("hidden", (1, self._shape.hidden)),
        )

    def norm_energy(self) -> dict[str, Tensor]:
        """Share of each channel in the energy at a norm's input, [hidden], by the norm's path."""
        norms = family_of(self.model.config).norm_paths(range(self._shape.layers))
        energy = self.statistics.norm_energy / self.statistics.tokens
        return dict(zip(norms, energy, strict=True))

    @property
    def _shape(self) -> Shape:
        return shape_of(self.model.config)

    @property
    def _has_experts(self) -> bool:
        return family_of(self.model.config).experts is not None

    def _channels(
        self,
        name: Places,
        size: tuple[int, ...] | None,
        *,
        reader_norm: Callable[[], Tensor],
        weight_norm: Callable[[], Tensor],
        random: Callable[[], Tensor],
    ) -> ChannelEvidence:
        def sized(values: Tensor) -> Tensor:
            return values if size is None else values.view(size)

        collected, tokens = self.statistics.channels, self.statistics.tokens
        return ChannelEvidence(
            mean_absolute=lambda: sized(collected[name].absolute / tokens),
            text_norm=lambda: sized(collected[name].text_norm()),
            reader_norm=reader_norm,
            weight_norm=weight_norm,
            random=random,
        )

    def _along(
        self, axes: tuple[WeightAxis, ...], only: Callable[[Weight], bool] | None = None
    ) -> Tensor:
        return norms_along(self.model, axes, only)

    def _uniform(self, axis: str, size: tuple[int, ...]) -> Tensor:
        """Uniform numbers in [0, 1), independent of what else is drawn."""
        seed = zlib.crc32(f"{self.seed}/{axis}".encode())
        return torch.rand(size, generator=torch.Generator().manual_seed(seed))
