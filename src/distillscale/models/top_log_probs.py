"""A next-token distribution cut to its k most likely tokens and the mass of all others."""

from dataclasses import dataclass

import torch
from torch import Tensor

from distillscale.errors import InputError
from distillscale.models.batches import position_chunks
from distillscale.models.teacher_logits import FullLogits, TopLogProbs


@dataclass(frozen=True)
class Truncation:
    """How a distribution is cut: to `top_k` tokens, at the `temperature` at which it is compared.

    The temperature belongs to it because the mass of what is left out cannot be rescaled later. At
    least 2 tokens are kept: the most likely one, and the trace's own where it is another.
    """

    top_k: int
    temperature: float

    def check(self, vocabulary: int) -> None:
        """Make sure that enough is kept and something is left out.

        Raises:
            InputError: `top_k` is below 2, or there are not more tokens than are kept.
        """
        if not 2 <= self.top_k < vocabulary:
            raise InputError(
                f"distillation.teacher_top_k is {self.top_k}: of a vocabulary of {vocabulary} "
                f"tokens 2 to {vocabulary - 1} can be kept; leave it out to keep all."
            )


def top_log_probs(full: FullLogits, own_tokens: Tensor, truncation: Truncation) -> TopLogProbs:
    """Cut the distributions of P positions; logits are computed for a chunk of them at a time.

    Args:
        own_tokens: the token [P] that the trace has at each position; it is always among those
            kept, in place of the least likely of the k where it is none of them.

    Raises:
        InputError: fewer than 2 tokens are kept, or there are not more than are kept.
    """
    truncation.check(full.vocabulary)
    chunks = [
        _cut(full.head.logits(full.hidden[chunk]), own_tokens[chunk], truncation)
        for chunk in position_chunks(full.positions, full.vocabulary)
    ]
    tokens, log_probs, log_rest = (torch.cat(parts) for parts in zip(*chunks, strict=True))
    return TopLogProbs(tokens, log_probs, log_rest, truncation.temperature, full.vocabulary)


@torch.no_grad()
def _cut(
    logits: Tensor, own_tokens: Tensor, truncation: Truncation
) -> tuple[Tensor, Tensor, Tensor]:
    scaled = logits.float() / truncation.temperature
    tokens = scaled.topk(truncation.top_k).indices
    missing = (tokens != own_tokens[:, None]).all(dim=-1)
    tokens[:, -1] = torch.where(missing, own_tokens, tokens[:, -1])  # still sorted: it is less
    kept = scaled.gather(-1, tokens)
    # Summed over what is left out: 1 minus the sum of the kept ones would cancel.
    rest = scaled.scatter_(-1, tokens, -torch.inf).logsumexp(dim=-1)
    total = torch.logaddexp(kept.logsumexp(dim=-1), rest)
    return tokens, kept - total[:, None], rest - total
