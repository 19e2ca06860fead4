"""What makes a layer or a channel important: one entry a criterion, one function each.

A criterion sees what is known as functions, so that only what it asks for is computed. Scores are
compared within a layer (channels, groups, heads, experts) or within the model (layers, hidden
channels); higher is more important, the unit is the criterion's own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

LayerCriterionName = Literal[
    "block_influence", "angular_distance", "perplexity", "magnitude", "random"
]
ChannelCriterionName = Literal["mean_absolute", "l2", "contribution", "magnitude", "random"]


@dataclass(frozen=True)
class LayerEvidence:
    """What is known about the layers of a model; each function returns fp32 or fp64 tensors.

    Attributes:
        turns: 1 - E[cos(h_in, h_out)] of each layer, [layers].
        angles: mean angle between the hidden states before layers i and j, in half turns,
            [layers + 1, layers + 1].
        losses_without: mean next-token loss of the model without each layer, in nats, [layers].
        weight_norm: L2 norm of each layer's parameters, [layers].
        random: uniform numbers in [0, 1), [layers].
    """

    turns: Callable[[], Tensor]
    angles: Callable[[], Tensor]
    losses_without: Callable[[], Tensor]
    weight_norm: Callable[[], Tensor]
    random: Callable[[], Tensor]


@dataclass(frozen=True)
class ChannelEvidence:
    """What is known about channels; each function returns a tensor [..., channels].

    Channels are those that activations are measured at: of an MLP, of attention heads, of the
    hidden width behind a norm. An expert counts as one channel with its routing weight as its
    activation (0 where a token is not routed to it).

    Attributes:
        mean_absolute: mean over tokens of |a_c|.
        text_norm: L2 norm over calibration texts of the mean over a text's tokens of |a_c|.
        reader_norm: ||W_c||, L2 norm of the weights that read channel c.
        weight_norm: L2 norm of all weights of channel c, or of parts of it (a group's keys and
            values), which may be other in number than its channels.
        random: uniform numbers in [0, 1).
    """

    mean_absolute: Callable[[], Tensor]
    text_norm: Callable[[], Tensor]
    reader_norm: Callable[[], Tensor]
    weight_norm: Callable[[], Tensor]
    random: Callable[[], Tensor]


@dataclass(frozen=True)
class LayerCriterion:
    """How layers are scored.

    Attributes:
        score: the scores, [layers].
        statistic: what it needs of the calibration pass, if anything.
        in_blocks: whether it also judges blocks of consecutive layers, by `angles`.
    """

    score: Callable[[LayerEvidence], Tensor]
    statistic: Literal["turns", "angles"] | None = None
    in_blocks: bool = False


@dataclass(frozen=True)
class ChannelCriterion:
    """How channels, and structures of several channels, are scored.

    Attributes:
        score: the score of each channel, [..., channels].
        pool: the score of a structure from those of its channels, [..., channels] to [...].
        measured: whether activations on calibration data are needed.
    """

    score: Callable[[ChannelEvidence], Tensor]
    pool: Callable[[Tensor], Tensor]
    measured: bool


def block_influence(layers: LayerEvidence) -> Tensor:
    """1 - E[cos(h_in, h_out)], in [0, 2] up to rounding (ShortGPT, arXiv 2403.03853).

    0 is a layer that does not turn the hidden state.
    """
    return layers.turns()


def angular_distance(layers: LayerEvidence) -> Tensor:
    """arccos(cos(h_in, h_out)) / pi, in [0, 1] (Gromov et al., arXiv 2403.17887, eq. 4).

    The mean is over all tokens; the paper takes the last token of each text only, which for a
    short answer would be little more than its end mark.
    """
    return layers.angles().diagonal(offset=1)


def perplexity(layers: LayerEvidence) -> Tensor:
    """Mean next-token loss on the calibration data, in nats, if the layer is left out.

    The loss of the whole model is not subtracted and no exponential is taken: neither changes
    which layers matter most.
    """
    return layers.losses_without()


def layer_magnitude(layers: LayerEvidence) -> Tensor:
    """L2 norm of the layer's parameters: a control that looks at no data."""
    return layers.weight_norm()


def random_layers(layers: LayerEvidence) -> Tensor:
    """A control that knows nothing."""
    return layers.random()


def mean_absolute(channels: ChannelEvidence) -> Tensor:
    """Mean absolute activation E|a_c| over tokens (Minitron, arXiv 2407.14679, section 2.2)."""
    return channels.mean_absolute()


def l2(channels: ChannelEvidence) -> Tensor:
    """Minitron's choice: |a_c| averaged over each text, then the L2 norm over texts.

    The aggregation "batch = L2, sequence = mean" of arXiv 2407.14679, section 2.2. A text counts
    the same whatever its length, and texts that use a channel strongly count more.
    """
    return channels.text_norm()


def contribution(channels: ChannelEvidence) -> Tensor:
    """||W_c|| E|a_c|: bounds what the channel adds to the output that reads it."""
    return channels.reader_norm() * channels.mean_absolute()


def magnitude(channels: ChannelEvidence) -> Tensor:
    """L2 norm of the channel's weights: a control that looks at no data."""
    return channels.weight_norm()


def random(channels: ChannelEvidence) -> Tensor:
    """A control that knows nothing."""
    return channels.random()


def mean(scores: Tensor) -> Tensor:
    """Mean over channels, [..., channels] to [...]."""
    return scores.mean(dim=-1)


def total(scores: Tensor) -> Tensor:
    """Sum over channels, [..., channels] to [...]."""
    return scores.sum(dim=-1)


def norm(scores: Tensor) -> Tensor:
    """L2 norm over channels, [..., channels] to [...]."""
    return scores.norm(dim=-1)


LAYER_CRITERIA: Mapping[LayerCriterionName, LayerCriterion] = {
    "block_influence": LayerCriterion(block_influence, statistic="turns"),
    "angular_distance": LayerCriterion(angular_distance, statistic="angles", in_blocks=True),
    "perplexity": LayerCriterion(perplexity),
    "magnitude": LayerCriterion(layer_magnitude),
    "random": LayerCriterion(random_layers),
}

CHANNEL_CRITERIA: Mapping[ChannelCriterionName, ChannelCriterion] = {
    "mean_absolute": ChannelCriterion(mean_absolute, pool=mean, measured=True),
    "l2": ChannelCriterion(l2, pool=norm, measured=True),
    "contribution": ChannelCriterion(contribution, pool=total, measured=True),
    "magnitude": ChannelCriterion(magnitude, pool=norm, measured=False),
    "random": ChannelCriterion(random, pool=mean, measured=False),
}
