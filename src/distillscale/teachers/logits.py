"""The teacher's distribution at supervised positions, computed once and read by every stage.

What is stored is the final hidden state of each supervised position. The teacher's LM head, which
stays frozen, turns it into the exact full-vocabulary logits: for a narrow model and a large
vocabulary this is far smaller than the logits, and nothing is truncated.
"""

from collections.abc import Callable, Sequence
from copy import copy
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from distillscale.models.batches import length_sorted_batches, pad
from distillscale.models.forward import hidden_states
from distillscale.tasks import Trace

_FILE = "teacher_logits.safetensors"


class CachedTeacher:
    """Teacher logits of traces, read from a folder that `cache_teacher` wrote."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        with safe_open(folder / _FILE, framework="pt") as file:
            self._hidden = file.get_tensor("hidden")
            self._head = file.get_tensor("head").to(device)
            starts = file.get_tensor("starts").tolist()
        self._spans = list(pairwise(starts))

    def select(self, rows: Sequence[int]) -> "CachedTeacher":
        """The same teacher for a choice of the traces, which are numbered anew from 0."""
        chosen = copy(self)
        chosen._spans = [self._spans[row] for row in rows]
        return chosen

    def logits(self, rows: Sequence[int]) -> Tensor:
        """Logits at the supervised positions of these traces, end to end: [positions, vocabulary].

        Position `len(prompt) + j - 1` of a trace predicts its completion token j.
        """
        hidden = torch.cat([self._hidden[slice(*self._spans[row])] for row in rows])
        return hidden.to(self._head.device) @ self._head.T

    @property
    def vocabulary(self) -> int:
        """Number of logits a position has."""
        return self._head.shape[0]


@torch.no_grad()
def cache_teacher(
    model: PreTrainedModel,
    traces: Sequence[Trace],
    folder: Path,
    *,
    pad_id: int,
    batch_size: int = 64,
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Run the teacher over traces and store its hidden states at supervised positions."""
    lengths = [len(trace.prompt_ids) + len(trace.completion_ids) for trace in traces]
    kept: list[Tensor] = [torch.empty(0)] * len(traces)
    done = 0
    for rows in length_sorted_batches(lengths, batch_size):
        ids, mask = pad([(*traces[r].prompt_ids, *traces[r].completion_ids) for r in rows], pad_id)
        hidden = hidden_states(model, ids.to(model.device), mask.to(model.device)).cpu()
        for place, row in enumerate(rows):
            first = len(traces[row].prompt_ids) - 1
            kept[row] = hidden[place, first : first + len(traces[row].completion_ids)].clone()
        done += len(rows)
        progress(done / len(traces))
    starts = torch.tensor([0, *(len(states) for states in kept)]).cumsum(0)
    head = model.get_output_embeddings().weight.detach().cpu().clone()
    save_file({"hidden": torch.cat(kept), "head": head, "starts": starts}, folder / _FILE)
