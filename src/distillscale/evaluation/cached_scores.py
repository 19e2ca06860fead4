"""Scores of a closed set over the prompt's key/value cache, where trees cannot be packed.

The prompt is read once; its cache is repeated for each branch of the tree of choices, and the
branches are read over it as one batch. Prompts of a batch have equal lengths, so the cache holds
no padding, and sliding windows and learned positions are as in a plain pass.
"""

import inspect
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from distillscale.evaluation.slot_scores import scores_of_slots
from distillscale.evaluation.token_tree import TokenTree
from distillscale.models.batches import pad

_LARGEST_CACHE = 2**14
"""Tokens whose keys and values are held at once, where one prompt's branches do not need more.

Of a model as large as Qwen3-8B that is 2.25 GiB in bfloat16.
"""


def has_cache(model: PreTrainedModel) -> bool:
    """Whether a model keeps its past as keys and values; recurrent models keep a state instead."""
    return not model._is_stateful and "past_key_values" in _arguments(model)


def cache_batches(
    lengths: Sequence[int], trees: Sequence[TokenTree], batch_size: int
) -> list[list[int]]:
    """Rows in batches of prompts of one length, longest first, whose repeated cache stays small."""
    batches: list[list[int]] = []
    held = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        own = lengths[row] * len(trees[row].branches)
        fits = batches and len(batches[-1]) < batch_size and held + own <= _LARGEST_CACHE
        if fits and lengths[batches[-1][0]] == lengths[row]:
            batches[-1].append(row)
            held += own
        else:
            batches.append([row])
            held = own
    return batches


@torch.inference_mode()
def score_over_cache(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], trees: Sequence[TokenTree]
) -> list[NDArray[np.float64]]:
    """Scores of each prompt's choices, from one pass over the prompts and one over the branches.

    Args:
        prompts: of one length.
        trees: the choices of each prompt.
    """
    ids = torch.tensor(np.array(prompts), device=model.device)
    last = {"logits_to_keep": 1} if "logits_to_keep" in _arguments(model) else {}
    read = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=True, **last)
    first = read.logits[:, -1:]
    branches = [(row, branch) for row, tree in enumerate(trees) for branch in tree.branches]
    if not branches:  # every choice is one token
        return scores_of_slots(first.flatten(0, 1), trees)
    logits = _read_branches(model, read.past_key_values, ids, trees, branches)
    slots = [[own] for own in first]
    for row, places in enumerate(_places(trees, branches)):
        slots[row].append(logits[places])
    return scores_of_slots(torch.cat([part for own in slots for part in own]), trees)


def _read_branches(
    model: PreTrainedModel,
    cache: DynamicCache,
    prompts: Tensor,
    trees: Sequence[TokenTree],
    branches: Sequence[tuple[int, NDArray[np.int64]]],
) -> Tensor:
    """Logits behind every token of every branch, shape [branches, longest, vocabulary]."""
    owners = torch.tensor([row for row, _ in branches], device=model.device)
    cache.batch_select_indices(owners)
    ids, mask = pad([trees[row].tokens[branch].tolist() for row, branch in branches], pad_id=0)
    seen = torch.cat([torch.ones_like(prompts)[owners], mask.to(model.device)], dim=1)
    return model(
        input_ids=ids.to(model.device), attention_mask=seen, past_key_values=cache, use_cache=True
    ).logits


def _places(
    trees: Sequence[TokenTree], branches: Sequence[tuple[int, NDArray[np.int64]]]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For each tree the branch, and the place in it, at which each of its nodes is read."""
    found = [(np.zeros_like(tree.tokens), np.zeros_like(tree.tokens)) for tree in trees]
    for number, (row, branch) in enumerate(branches):
        branch_of, place_of = found[row]
        branch_of[branch], place_of[branch] = number, np.arange(len(branch))
    return found


def _arguments(model: PreTrainedModel) -> frozenset[str]:
    return frozenset(inspect.signature(model.forward).parameters)
