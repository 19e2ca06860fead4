"""From the logits at a tree's slots to the scores of its choices."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distillscale.evaluation.token_tree import TokenTree

Floats = NDArray[np.float64]


def scores_of_slots(logits: Tensor, trees: Sequence[TokenTree]) -> list[Floats]:
    """Summed log-likelihood of each tree's choices, an array of shape [choices] a tree.

    Args:
        logits: at the slots of all trees, one tree after the other, shape [slots, vocabulary].
    """
    offsets = np.cumsum([0] + [len(tree.tokens) + 1 for tree in trees])
    rows = np.concatenate([tree.slots + o for tree, o in zip(trees, offsets, strict=False)])
    targets = np.concatenate([tree.targets for tree in trees])
    values = log_probability(logits, rows, targets)
    bounds = np.cumsum([len(tree.slots) for tree in trees])[:-1]
    return [
        np.bincount(tree.owners, weights=own, minlength=tree.choices).astype(np.float64)
        for tree, own in zip(trees, np.split(values, bounds), strict=True)
    ]


def log_probability(logits: Tensor, rows: NDArray[np.int64], tokens: NDArray[np.int64]) -> Floats:
    """log softmax(logits[row])[token] of each pair, for logits of shape [positions, vocabulary]."""
    logits = logits.float()
    normaliser = torch.logsumexp(logits, dim=-1)
    row, token = (torch.from_numpy(index).to(logits.device) for index in (rows, tokens))
    return (logits[row, token] - normaliser[row]).double().cpu().numpy()
