"""KL by segment against a direct computation."""

import copy

import numpy as np
import pytest
import torch

from distillscale.errors import InputError
from distillscale.evaluation.divergence import kl_by_segment
from distillscale.models.forward import Head
from distillscale.models.teacher_logits import FullLogits
from distillscale.models.top_log_probs import Truncation
from distillscale.tasks.trace import Trace


class ModelLogits:
    """A teacher that computes its logits one trace at a time."""

    def __init__(self, teacher, traces):
        self.teacher, self.traces = teacher, traces

    @torch.no_grad()
    def at(self, rows):
        logits = torch.cat([full_logits(self.teacher, self.traces[row]) for row in rows])
        return FullLogits(logits, Head(torch.eye(logits.shape[1])))


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
        def at(self, rows):
            positions = sum(len(TRACES[row].completion_ids) for row in rows)
            return FullLogits(torch.zeros(positions, 8), Head(torch.zeros(999, 8)))

    with pytest.raises(InputError, match="must share one vocabulary"):
        kl_by_segment(student, TRACES, Wider())


def hidden_by_truncation(model, student, truncation: Truncation) -> dict[str, float]:
    """Exact KL less the KL of distributions whose other tokens are one, by the plain formulas."""
    found: dict[str, list[float]] = {"answer": [], "reasoning": []}
    for item in TRACES:
        p, q = (
            (full_logits(side, item).double() / truncation.temperature).softmax(-1)
            for side in (model, student)
        )
        for place, token in enumerate(item.completion_ids):
            kept = p[place].topk(truncation.top_k).indices.tolist()
            if token not in kept:
                kept[-1] = token
            cut_p, cut_q = (
                torch.cat([side[place, kept], 1 - side[place, kept].sum(0, keepdim=True)])
                for side in (p, q)
            )
            exact = (p[place] * (p[place] / q[place]).log()).sum()
            cut = (cut_p * (cut_p / cut_q).log()).sum()
            segment = "answer" if place >= item.answer_start else "reasoning"
            found[segment].append((exact - cut).item())
    return {segment: float(np.mean(values)) for segment, values in found.items()}


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("top_k", [2, 20, 200])
def test_the_truncation_error_is_what_the_merged_tokens_hide(model, student, top_k, temperature):
    cut = Truncation(top_k, temperature)
    expected = hidden_by_truncation(model, student, cut)
    teacher = ModelLogits(model, TRACES)
    plain = by_name(kl_by_segment(student, TRACES, teacher))
    measured = by_name(kl_by_segment(student, TRACES, teacher, truncation=cut))
    for segment in ("answer", "reasoning"):
        error = measured[f"kl_truncation_error_{segment}"]
        assert error.value == pytest.approx(expected[segment], rel=1e-3)
        assert error.value > 0
        assert min(error.replicates) >= 0
        assert measured[f"kl_{segment}"] == plain[f"kl_{segment}"]
        if temperature == 1:
            assert error.value < measured[f"kl_{segment}"].value


def test_fewer_tokens_hide_more_and_all_but_one_hide_nothing(model, student):
    vocabulary = model.config.vocab_size
    errors = [
        by_name(
            kl_by_segment(
                student, TRACES, ModelLogits(model, TRACES), truncation=Truncation(top_k, 1.0)
            )
        )["kl_truncation_error_answer"].value
        for top_k in (2, 10, 100, vocabulary - 1)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == pytest.approx(0, abs=1e-7)
    assert errors[0] > 1e-3


def test_positions_are_compared_in_chunks_of_any_size(model, student, monkeypatch):
    def chunks_of_two(positions, vocabulary):
        return (slice(at, min(at + 2, positions)) for at in range(0, positions, 2))

    def measured():
        teacher = ModelLogits(model, TRACES)
        found = kl_by_segment(student, TRACES, teacher, truncation=Truncation(9, 1.0))
        return [item.value for item in found]

    whole = measured()
    monkeypatch.setattr("distillscale.evaluation.divergence.position_chunks", chunks_of_two)
    monkeypatch.setattr("distillscale.models.top_log_probs.position_chunks", chunks_of_two)
    assert measured() == pytest.approx(whole, rel=1e-5)
