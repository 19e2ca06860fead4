"""On-policy distillation: the student's own completions of a batch's prompts, scored by a teacher.

Generalized knowledge distillation (Agarwal et al., arXiv 2306.13649): in a share of the optimizer
steps the prompts are completed by the student, by sampling at temperature 1, and the loss compares
student and teacher on that text. What the student wrote is no target: cross-entropy terms pass
their weight to the divergence there, and nothing is mixed towards the tokens.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distillscale.distillation.objectives import PositionWeights
from distillscale.distillation.segments import Batch, SegmentTotals, collate, lay_out
from distillscale.models.generate import generate
from distillscale.tasks.prompt import find_answer
from distillscale.tasks.trace import Trace


@dataclass(frozen=True)
class Rollouts:
    """Where a run's rollouts come from: the student, on the prompts of the run's traces.

    `share` is that of the optimizer steps, `seed` the run's; with `bf16` the student generates in
    bfloat16, as it trains.
    """

    student: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    traces: Sequence[Trace]
    share: float
    seed: int
    bf16: bool = False

    def wanted(self, step: int) -> bool:
        """Whether the optimizer step (from 0) is on-policy: a share of them is, evenly spread."""
        return math.floor((step + 1) * self.share) > math.floor(step * self.share)

    def batches(self, batches: Sequence[Batch], step: int, process: int) -> list[Batch]:
        """One process's batches of a step with completions by the student in place of the traces'.

        The same step, process and weights give the same rollouts, so that a resumed run repeats
        them. The `totals` are those of the given batches together.
        """
        asked = [self.traces[row] for batch in batches for row in batch.trace_rows]
        written = self._complete(asked, f"{self.seed} {step} {process}")
        rows = [lay_out(trace) for trace in written]
        totals = SegmentTotals.of(torch.cat([row.segments for row in rows]))
        made: list[Batch] = []
        start = 0
        for batch in batches:
            own = range(start, start + len(batch.trace_rows))
            start = own.stop
            new = collate(rows, own, self.tokenizer.pad_token_id, totals)
            traces = tuple(written[own.start : own.stop])
            made.append(replace(new, trace_rows=batch.trace_rows, rollouts=traces))
        return made

    def _complete(self, traces: Sequence[Trace], seed: str) -> list[Trace]:
        """The longest completion of the traces is the budget of the student's."""
        training = self.student.training
        self.student.eval()
        with torch.autocast(self.student.device.type, torch.bfloat16, enabled=self.bf16):
            completions = generate(
                self.student,
                self.tokenizer,
                [trace.prompt_ids for trace in traces],
                max_new_tokens=max(len(trace.completion_ids) for trace in traces),
                temperature=1.0,
                seed=int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7]),
                batch_size=len(traces),
            )
        self.student.train(training)
        return [
            rollout(trace, completion, self.tokenizer)
            for trace, completion in zip(traces, completions, strict=True)
        ]


def rollout(trace: Trace, completion: tuple[int, ...], tokenizer: PreTrainedTokenizerBase) -> Trace:
    """The trace with another completion of its prompt, by the student.

    Its answer segment begins after the marker that closes the reasoning, whether or not the answer
    is a class of the task: a wrong answer is what the teacher shall correct. Without a marker all
    is reasoning. Where the trace has no reasoning, all is the answer.
    """
    start = 0
    if trace.answer_start > 0:
        found = find_answer(completion, tokenizer)
        start = len(completion) if found is None else found
    text = tokenizer.decode(completion, skip_special_tokens=True)
    return replace(
        trace, completion_ids=completion, answer_start=start, completion=text, label=None
    )


def divergence_alone(weights: PositionWeights) -> PositionWeights:
    """The weights on rollouts: what an objective gives to cross-entropy goes to the divergence."""
    together = weights.divergence + weights.cross_entropy
    return PositionWeights(together, torch.zeros_like(together))
