"""Choices of a closed set, merged by their common beginnings into one tree of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distillscale.errors import InputError


@dataclass(frozen=True)
class TokenTree:
    """The tokens that must be read, and the predictions that must be looked up, to score choices.

    A node is a proper prefix of a choice; it is read once, however many choices share it. The last
    token of a choice is never read, only predicted. A *slot* is a place that predicts a token:
    slot 0 is the prompt's last token, slot i + 1 is node i.

    Attributes:
        tokens: token of each node, shape [nodes]; a parent stands before its children.
        depths: 0 for the first token after the prompt, shape [nodes].
        sees: whether node i may attend to node j, its ancestor or itself, shape [nodes, nodes].
        slots: for each token of each choice the slot that predicts it, shape [steps].
        targets: the token predicted there, shape [steps].
        owners: the choice that the step belongs to, shape [steps].
        choices: number of choices.
    """

    tokens: NDArray[np.int64]
    depths: NDArray[np.int64]
    sees: NDArray[np.bool_]
    slots: NDArray[np.int64]
    targets: NDArray[np.int64]
    owners: NDArray[np.int64]
    choices: int

    @property
    def branches(self) -> list[NDArray[np.int64]]:
        """The nodes of each path from the prompt to a leaf, in reading order; every node is in one.

        These are the fewest plain sequences that read the whole tree.
        """
        leaves = np.flatnonzero(self.sees.sum(axis=0) == 1)
        return [np.flatnonzero(self.sees[leaf]) for leaf in leaves]


def token_tree(choices: Sequence[Sequence[int]]) -> TokenTree:
    """Merge choices, given as token ids, by their common beginnings.

    Raises:
        InputError: a choice has no token, so there is nothing to score.
    """
    paths = [tuple(choice) for choice in choices]
    if () in paths:
        raise InputError(
            f"choice {paths.index(())} of a closed set has no token of its own; every choice must "
            "add text to the prompt."
        )
    nodes: dict[tuple[int, ...], int] = {}
    for path in paths:
        for end in range(1, len(path)):
            nodes.setdefault(path[:end], len(nodes))
    sees = np.zeros((len(nodes), len(nodes)), dtype=np.bool_)
    for path, node in nodes.items():
        sees[node, [nodes[path[:end]] for end in range(1, len(path) + 1)]] = True
    slot_of = {(): 0} | {path: node + 1 for path, node in nodes.items()}
    steps = [
        (slot_of[path[:i]], path[i], c) for c, path in enumerate(paths) for i in range(len(path))
    ]
    slots, targets, owners = np.array(steps, dtype=np.int64).reshape(-1, 3).T
    return TokenTree(
        tokens=np.array([path[-1] for path in nodes], dtype=np.int64),
        depths=np.array([len(path) - 1 for path in nodes], dtype=np.int64),
        sees=sees,
        slots=slots,
        targets=targets,
        owners=owners,
        choices=len(paths),
    )
