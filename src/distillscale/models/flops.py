"""Floating-point operations of reading tokens, counted from a model's weights without running it.

Two for each multiply-accumulate of a matrix product (Kaplan et al., arXiv 2001.08361): the
projections of every layer, the products of queries with keys and of attention with values, and the
LM head where logits are wanted. Norms, biases, softmax, activations and look-ups are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel


@dataclass(frozen=True)
class Flops:
    """What a model computes for a token, by kind of work.

    Attributes:
        token: projections of all layers, once for each token that is read.
        seen: queries, keys and values, once for each token that a token sees, itself included.
            Of a sliding window the whole context is counted, too much there.
        logits: the LM head, once for each position whose logits are wanted.
    """

    token: int
    seen: int
    logits: int

    def reading(self, tokens: int, *, before: int = 0, logits: int = 0) -> int:
        """Operations of tokens read one after the other, each seeing those before it.

        Args:
            tokens: how many are read.
            before: tokens whose keys and values are there already.
            logits: positions whose logits are computed.
        """
        pairs = tokens * before + tokens * (tokens + 1) // 2
        return self.token * tokens + self.seen * pairs + self.logits * logits

    def tree(self, depths: Sequence[int], *, before: int) -> int:
        """Operations of a tree of continuations: each token sees the context and its ancestors.

        Args:
            depths: of each token how many of the tree lie above it; logits are computed for all.
            before: tokens of the context.
        """
        pairs = sum(before + depth + 1 for depth in depths)
        return (self.token + self.logits) * len(depths) + self.seen * pairs


def flops_of(model: PreTrainedModel) -> Flops:
    """Operations of a causal LM.

    Every matrix that is neither an embedding nor the LM head multiplies each token once; of a
    stack of experts [experts, ...] a token goes through `num_experts_per_tok`.
    """
    config = model.config.get_text_config()
    head = model.get_output_embeddings().weight
    tables = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    outside = {id(head), *(id(table.weight) for table in tables)}
    products = sum(
        _multiplied(parameter, config)
        for parameter in model.parameters()
        if parameter.ndim > 1 and id(parameter) not in outside
    )
    seen = 4 * config.num_hidden_layers * _query_channels(config)
    return Flops(2 * products, seen, 2 * head.numel())


def _multiplied(weight: nn.Parameter, config: Any) -> int:
    """Multiply-accumulates of a weight for one token."""
    active = getattr(config, "num_experts_per_tok", None)
    if weight.ndim == 3 and active is not None:
        return weight[0].numel() * int(active)
    return weight.numel()


def _query_channels(config: Any) -> int:
    """Channels of all query heads together."""
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(config.num_attention_heads * width)
