"""Traces of random tokens, and what a model itself says about them, one trace at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from distillscale.tasks import Trace

SIZES = ((3, 5), (9, 2), (1, 1), (4, 12), (12, 4), (2, 7), (6, 3))
POSITIONS = sum(completion for _, completion in SIZES)


def random_traces(sizes: Sequence[tuple[int, int]] = SIZES) -> list[Trace]:
    """Traces of unequal prompts and completions, one of a single token each."""
    generator = torch.Generator().manual_seed(2)
    made = []
    for number, (prompt, completion) in enumerate(sizes):
        ids = torch.randint(2, 500, (prompt + completion,), generator=generator).tolist()
        made.append(
            Trace(f"e{number}", tuple(ids[:prompt]), tuple(ids[prompt:]), 0, "", "label", "label")
        )
    return made


@torch.no_grad()
def own_logits(model: PreTrainedModel, traces: Sequence[Trace]) -> list[Tensor]:
    """The model's own full logits at the positions that predict completion tokens."""
    return [
        model(torch.tensor([trace.prompt_ids + trace.completion_ids])).logits[
            0, len(trace.prompt_ids) - 1 : -1
        ]
        for trace in traces
    ]
