"""KL by segment against a direct computation."""

import copy

import numpy as np
import pytest
import torch

from distillscale.errors import InputError
from distillscale.evaluation.divergence import kl_by_segment
from distillscale.tasks.trace import Trace


class ModelLogits:
    """A teacher that computes its logits one trace at a time."""

    def __init__(self, teacher, traces):
        self.teacher, self.traces = teacher, traces

    @torch.no_grad()
    def logits(self, rows):
        return torch.cat([full_logits(self.teacher, self.traces[row]) for row in rows])


@torch.no_grad()
def full_logits(model, trace: Trace) -> torch.Tensor:
    ids = torch.tensor([[*trace.prompt_ids, *trace.completion_ids]])
    return model(input_ids=ids).logits[0, len(trace.prompt_ids) - 1 : -1]


def trace(prompt: int, completion: int, answer_start: int) -> Trace:
    generator = torch.Generator().manual_seed(100 * prompt + completion)
    tokens = torch.randint(3, 250, (prompt + completion,), generator=generator).tolist()
    return Trace(
        "t", tuple(tokens[:prompt]), tuple(tokens[prompt:]), answer_start, "", "label", "label"
    )


TRACES = [trace(5, 9, 6), trace(3, 4, 0), trace(8, 7, 5), trace(4, 5, 5)]


@pytest.fixture(scope="module")
def student(model):
    changed = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return changed


def by_name(measured) -> dict:
    return {item.metric: item for item in measured}


def test_a_teacher_does_not_diverge_from_itself(model):
    measured = by_name(kl_by_segment(model, TRACES, ModelLogits(model, TRACES)))
    assert measured["kl_answer"].value == pytest.approx(0, abs=1e-6)
    assert measured["kl_reasoning"].value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_values_are_means_over_the_segments_tokens(model, student, batch_size):
    answer, thought = [], []
    for item in TRACES:
        log_t = full_logits(model, item).double().log_softmax(-1)
        log_s = full_logits(student, item).double().log_softmax(-1)
        kl = torch.nn.functional.kl_div(log_s, log_t, reduction="none", log_target=True).sum(-1)
        thought += kl[: item.answer_start].tolist()
        answer += kl[item.answer_start :].tolist()
    measured = by_name(
        kl_by_segment(student, TRACES, ModelLogits(model, TRACES), batch_size=batch_size)
    )
    assert measured["kl_answer"].value == pytest.approx(np.mean(answer), rel=1e-4)
    assert measured["kl_reasoning"].value == pytest.approx(np.mean(thought), rel=1e-4)
    assert measured["kl_answer"].value > 0.01
    # a trace without the segment is no example of it
    assert measured["kl_answer"].examples == 3
    assert measured["kl_reasoning"].examples == 3
    assert len(measured["kl_answer"].replicates) == 200
    assert np.isfinite(measured["kl_answer"].replicates).all()


def test_an_empty_segment_is_missing(model, student):
    answers_only = [trace(5, 3, 0), trace(6, 4, 0)]
    measured = by_name(kl_by_segment(student, answers_only, ModelLogits(model, answers_only)))
    assert measured["kl_answer"].value > 0
    assert measured["kl_reasoning"].value is None
    assert measured["kl_reasoning"].examples == 0
    nothing = kl_by_segment(student, [], ModelLogits(model, []))
    assert [item.value for item in nothing] == [None, None]


def test_vocabularies_of_different_size_are_refused(student):
    class Wider:
        def logits(self, rows):
            return torch.zeros(sum(len(TRACES[row].completion_ids) for row in rows), 999)

    with pytest.raises(InputError, match="must share one vocabulary"):
        kl_by_segment(student, TRACES, Wider())
