"""What calibration data and weights say about the importance of everything that can be cut."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from distillscale.errors import DistillscaleError, InputError
from distillscale.pruning.criteria import (
    CHANNEL_CRITERIA,
    LAYER_CRITERIA,
    ChannelCriterion,
    ChannelCriterionName,
    LayerCriterion,
    LayerCriterionName,
)
from distillscale.pruning.evidence import Evidence
from distillscale.pruning.families import family_of
from distillscale.pruning.leave_one_out import losses_without
from distillscale.pruning.shape import PruningAxis
from distillscale.pruning.statistics import Statistic, collect


@dataclass(frozen=True)
class Importance:
    """Scores by the criteria of `criteria`; higher is more important.

    What was not asked for is empty. Scores are comparable within one list: channels of one expert
    of one layer, groups of one layer, heads of one group, and so on.

    Attributes:
        layers: score of each layer.
        blocks: blocks[n - 1][start] is the mean angle, in half turns, between the hidden states
            before layer `start` and after the n layers from it; None unless the criterion of
            layers judges blocks.
        channels: of each layer, of each expert (one in a dense model), each MLP channel's score.
        groups: of each layer each K/V group's score.
        heads: of each layer, of each group, each query head's score.
        experts: of each layer each expert's score.
        hidden: score of each hidden channel.
        norm_energy: for each norm over the hidden width, by its path in the model, the mean over
            tokens of x_c^2 / sum_c x_c^2 of its input x, for every channel c; sums to 1.
        tokens: calibration tokens behind the scores, without padding.
    """

    layers: tuple[float, ...] = ()
    blocks: tuple[tuple[float, ...], ...] | None = None
    channels: tuple[tuple[tuple[float, ...], ...], ...] = ()
    groups: tuple[tuple[float, ...], ...] = ()
    heads: tuple[tuple[tuple[float, ...], ...], ...] = ()
    experts: tuple[tuple[float, ...], ...] = ()
    hidden: tuple[float, ...] = ()
    norm_energy: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    tokens: int = 0

    def kept_layers(self, count: int) -> tuple[int, ...]:
        """The `count` layers that stay, ascending.

        Those of the highest scores, the earlier one of two equal ones; where blocks were judged,
        all but the consecutive layers of the least angle (Gromov et al., arXiv 2403.17887). If
        layers were not measured, none is cut and all `count` stay.

        Raises:
            InputError: there are fewer layers.
        """
        available = len(self.layers) or count
        if not 0 < count <= available:
            raise InputError(f"importance: {count} layers cannot stay of {available}.")
        if count == available:
            return tuple(range(count))
        if self.blocks is None:
            return tuple(sorted(sorted(range(available), key=lambda n: -self.layers[n])[:count]))
        removed = available - count
        angles = self.blocks[removed - 1]
        start = min(range(len(angles)), key=angles.__getitem__)
        return (*range(start), *range(start + removed, available))


@torch.no_grad()
def measure_importance(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    pad_id: int,
    batch_size: int,
    *,
    axes: Collection[PruningAxis] | None = None,
    layer_criterion: LayerCriterionName = "block_influence",
    channel_criterion: ChannelCriterionName = "mean_absolute",
    seed: int = 0,
) -> Importance:
    """Score what can be cut, in one streaming pass over token sequences.

    Padding enters no score and batching changes none beyond rounding; memory depends on the model
    and the batch, not on the number of sequences (see `statistics`). The model is left as it was.
    The layer criterion `perplexity` takes further passes; it and `angular_distance` hold the hidden
    states of all layers for one batch.

    Args:
        sequences: token ids, one sequence a calibration text.
        pad_id: any id of the vocabulary; it has no influence on the scores.
        axes: what to score; all axes that the model has, if left out. Each costs its own sums.
        layer_criterion: a name of LAYER_CRITERIA, for the axis depth.
        channel_criterion: a name of CHANNEL_CRITERIA, for all other axes.
        seed: of the criteria `random`; scores of an axis do not depend on the other axes.

    Raises:
        InputError: there is no calibration token, an axis or criterion is not known, or the family
            is not supported.
        DistillscaleError: the model's activations are not finite.
    """
    lengths = [len(sequence) for sequence in sequences]
    if not lengths or min(lengths) == 0:
        raise InputError(
            f"calibration sequences: {len(lengths)} given, {lengths.count(0)} of them without "
            "tokens; at least one is needed and every one needs a token."
        )
    chosen = _axes(model.config, axes)
    _check_known(LAYER_CRITERIA, layer_criterion, "layer_criterion")
    _check_known(CHANNEL_CRITERIA, channel_criterion, "channel_criterion")
    layers, channels = LAYER_CRITERIA[layer_criterion], CHANNEL_CRITERIA[channel_criterion]
    wanted = _statistics(chosen, layers, channels)
    evidence = Evidence(
        model,
        collect(model, sequences, pad_id, batch_size, wanted),
        partial(losses_without, model, sequences, pad_id, batch_size),
        seed,
    )
    scores = _layer_scores(evidence, layers) if "depth" in chosen else {}
    scores |= _channel_scores(evidence, channels, chosen)
    if "hidden" in chosen:
        scores |= _hidden_scores(evidence, channels)
    return Importance(**scores, tokens=sum(lengths))


_NEEDS: Mapping[PruningAxis, Statistic] = {
    "mlp": "mlp",
    "heads": "attention",
    "groups": "attention",
    "hidden": "norms",
    "experts": "routing",
}
"""What criteria that look at activations need to score an axis."""


def _statistics(
    axes: Collection[PruningAxis], layers: LayerCriterion, channels: ChannelCriterion
) -> set[Statistic]:
    """What the calibration pass must collect."""
    wanted = {_NEEDS[axis] for axis in axes if axis in _NEEDS} if channels.measured else set()
    if "depth" in axes and layers.statistic is not None:
        wanted.add(layers.statistic)
    if "hidden" in axes:
        wanted.add("norm_energy")
    return wanted


def _layer_scores(evidence: Evidence, criterion: LayerCriterion) -> dict[str, Any]:
    layers = evidence.layers()
    scores: dict[str, Any] = {"layers": _listed("layers", criterion.score(layers))}
    if criterion.in_blocks:
        angles = layers.angles()
        scores["blocks"] = tuple(
            _listed("layers", angles.diagonal(offset=number)) for number in range(1, len(angles))
        )
    return scores


def _channel_scores(
    evidence: Evidence, criterion: ChannelCriterion, axes: Collection[PruningAxis]
) -> dict[str, Any]:
    """Scores of what lies within layers, each tensor [layers, ...]."""
    scores: dict[str, Tensor] = {}
    if "mlp" in axes:
        scores["channels"] = criterion.score(evidence.mlp())
    if "groups" in axes:
        scores["groups"] = criterion.pool(criterion.score(evidence.groups()))
    if "heads" in axes:
        scores["heads"] = criterion.pool(criterion.score(evidence.heads()))
    if "experts" in axes:
        scores["experts"] = criterion.score(evidence.experts())
    return {name: _listed(name, values) for name, values in scores.items()}


def _hidden_scores(evidence: Evidence, criterion: ChannelCriterion) -> dict[str, Any]:
    """Scores of hidden channels, the mean over norms, and the channels' energy at norms."""
    scores = criterion.score(evidence.hidden()).mean(dim=0)
    energies = evidence.norm_energy()
    return {
        "hidden": _listed("hidden", scores),
        "norm_energy": {norm: _listed("hidden", energy) for norm, energy in energies.items()},
    }


def _listed(what: str, scores: Tensor) -> Any:
    """Scores as nested tuples.

    Raises:
        DistillscaleError: some are not finite.
    """
    finite = scores.isfinite()
    if not finite.all():
        where = "Some layer"
        if what != "hidden":
            where = f"Layer {int((~finite).nonzero()[0, 0])}"
        raise DistillscaleError(
            f"{where} of the model has activations or weights that are not finite on the "
            "calibration data, so nothing can be said about its importance."
        )
    return _tuples(scores.tolist())


def _tuples(values: list[Any]) -> tuple[Any, ...]:
    if values and isinstance(values[0], list):
        return tuple(_tuples(part) for part in values)
    return tuple(values)


def _axes(
    config: PreTrainedConfig, axes: Collection[PruningAxis] | None
) -> tuple[PruningAxis, ...]:
    """The axes to score, checked; all that the model has, if none are given."""
    available = [
        axis
        for axis in get_args(PruningAxis)
        if axis != "experts" or family_of(config).experts is not None
    ]
    for axis in axes or ():
        if axis not in available:
            raise InputError(
                f"axes: a {config.model_type} model has no {axis!r} to score; it has "
                f"{', '.join(available)}."
            )
    return tuple(available if axes is None else axes)


def _check_known(criteria: Collection[str], name: str, setting: str) -> None:
    if name not in criteria:
        raise InputError(f"{setting} {name!r} is not known; choose one of {', '.join(criteria)}.")
