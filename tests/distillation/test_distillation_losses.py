import math

import pytest
import torch

from distillscale.distillation.losses import (
    OBJECTIVES,
    LossWeights,
    Predictions,
    token_cross_entropy,
    token_kl,
)
from distillscale.distillation.segments import ANSWER, REASONING
from distillscale.errors import InputError

SEGMENTS = {
    "both": [REASONING, REASONING, ANSWER, REASONING, ANSWER],
    "no reasoning": [ANSWER] * 5,
    "no answer": [REASONING] * 5,
}


def predictions(segments: list[int], seed: int = 0, vocabulary: int = 7) -> Predictions:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda: 2 * torch.randn(len(segments), vocabulary, generator=generator)  # noqa: E731
    targets = torch.randint(vocabulary, (len(segments),), generator=generator)
    return Predictions(draw().requires_grad_(), draw(), targets, torch.tensor(segments))


def naive_kl(p: Predictions, t: int, tau: float) -> torch.Tensor:
    """tau^2 sum over the vocabulary of p_T (log p_T - log p_S), spelled out."""
    p_student = (p.student[t] / tau).exp() / (p.student[t] / tau).exp().sum()
    p_teacher = (p.teacher[t] / tau).exp() / (p.teacher[t] / tau).exp().sum()
    return tau**2 * sum(q * (q.log() - s.log()) for q, s in zip(p_teacher, p_student, strict=True))


def naive_ce(p: Predictions, t: int) -> torch.Tensor:
    return -(p.student[t].exp() / p.student[t].exp().sum())[p.targets[t]].log()


def naive_mean(values: list[torch.Tensor]) -> torch.Tensor:
    return sum(values) / len(values) if values else torch.tensor(0.0)


def naive_objective(name: str, p: Predictions, w: LossWeights) -> torch.Tensor:
    places = range(len(p.targets))
    reasoning = [t for t in places if p.segments[t] == REASONING]
    answer = [t for t in places if p.segments[t] == ANSWER]
    kl = lambda chosen: naive_mean([naive_kl(p, t, w.temperature) for t in chosen])  # noqa: E731
    ce = lambda chosen: naive_mean([naive_ce(p, t) for t in chosen])  # noqa: E731
    if name == "label":
        return kl(answer)
    if name == "cot":
        return kl(places)
    if name == "cross_entropy":
        return ce(places)
    b_r, b_a = w.reasoning_anchor, w.answer_anchor
    in_reasoning = (1 - b_r) * kl(reasoning) + b_r * ce(reasoning)
    in_answer = (1 - b_a) * kl(answer) + b_a * ce(answer)
    return (1 - w.answer_weight) * in_reasoning + w.answer_weight * in_answer


def gradient(value: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    if not value.requires_grad:
        return torch.zeros_like(of)
    return torch.autograd.grad(value, of)[0]


@pytest.mark.parametrize("segments", SEGMENTS.values(), ids=SEGMENTS.keys())
@pytest.mark.parametrize(
    "weights", [LossWeights(), LossWeights(2.5, 0.8, 0.1, 0.3)], ids=["default", "other"]
)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective_equals_its_formula_in_value_and_gradient(name, weights, segments):
    p = predictions(segments)
    value = OBJECTIVES[name](p, weights).value
    reference = naive_objective(name, p, weights)
    torch.testing.assert_close(value, reference)
    torch.testing.assert_close(
        gradient(value, p.student), gradient(reference, p.student), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("segments", SEGMENTS.values(), ids=SEGMENTS.keys())
def test_no_objective_gives_nan_for_an_empty_segment(name, segments):
    p = predictions(segments)
    value = OBJECTIVES[name](p, LossWeights()).value
    value.backward()
    assert value.isfinite()
    assert p.student.grad.isfinite().all()


def test_kl_by_hand():
    teacher = torch.tensor([[0.5, 0.5]]).log()
    student = torch.tensor([[0.25, 0.75]]).log()
    expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert token_kl(student, teacher, 1.0).item() == pytest.approx(expected)


def test_cross_entropy_by_hand():
    student = torch.tensor([[0.25, 0.75]]).log()
    assert token_cross_entropy(student, torch.tensor([0])).item() == pytest.approx(math.log(4))


def test_kl_of_a_distribution_to_itself_is_zero():
    logits = 5 * torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    for temperature in (0.5, 1.0, 4.0):
        assert token_kl(logits, logits, temperature).abs().max() < 1e-5


def test_tau_squared_keeps_the_gradient_s_size():
    """For a high temperature the gradient tends to (z_S - z_T) / V for centred logits, any tau."""
    p = predictions([ANSWER], vocabulary=9)
    student, teacher = p.student.detach().requires_grad_(), p.teacher
    centred = (student - student.mean()) - (teacher - teacher.mean())
    for temperature in (300.0, 600.0):
        (grad,) = torch.autograd.grad(token_kl(student, teacher, temperature).sum(), student)
        torch.testing.assert_close(grad, centred.detach() / 9, atol=2e-2, rtol=0)


def test_tokens_that_the_teacher_rules_out_do_not_break_kl():
    teacher = torch.tensor([[0.0, 1.0, -torch.inf]])
    student = torch.zeros(1, 3, requires_grad=True)
    kl = token_kl(student, teacher, 1.0).sum()
    kl.backward()
    assert kl.isfinite()
    assert student.grad.isfinite().all()


def test_half_precision_logits_are_compared_in_full_precision():
    p = predictions(SEGMENTS["both"])
    half = Predictions(p.student.half(), p.teacher.half(), p.targets, p.segments)
    value = OBJECTIVES["blended"](half, LossWeights()).value
    assert value.dtype == torch.float32
    torch.testing.assert_close(
        value, OBJECTIVES["blended"](p, LossWeights()).value, atol=1e-2, rtol=1e-2
    )


def test_answer_weight_and_not_length_balances_the_blend():
    """Repeating every reasoning position tenfold leaves `blended` alone but moves `cot`."""
    p = predictions(SEGMENTS["both"])
    repeats = torch.where(p.segments == REASONING, 10, 1)
    longer = Predictions(
        *(tensor.repeat_interleave(repeats, 0) for tensor in (p.student, p.teacher)),
        p.targets.repeat_interleave(repeats),
        p.segments.repeat_interleave(repeats),
    )
    weights = LossWeights()
    blended, cot = OBJECTIVES["blended"], OBJECTIVES["cot"]
    torch.testing.assert_close(blended(p, weights).value, blended(longer, weights).value)
    assert not torch.isclose(cot(p, weights).value, cot(longer, weights).value)


@pytest.mark.parametrize("name", ["label", "cot", "blended"])
def test_kl_by_segment_is_recorded_without_gradient(name):
    p = predictions(SEGMENTS["both"])
    loss = OBJECTIVES[name](p, LossWeights(temperature=2.0))
    kl = token_kl(p.student, p.teacher, 2.0)
    torch.testing.assert_close(loss.kl_reasoning, kl[p.segments == REASONING].mean().detach())
    torch.testing.assert_close(loss.kl_answer, kl[p.segments == ANSWER].mean().detach())
    assert not loss.kl_answer.requires_grad


def test_kl_of_a_missing_segment_is_missing_in_the_record():
    loss = OBJECTIVES["cot"](predictions(SEGMENTS["no reasoning"]), LossWeights())
    assert loss.kl_reasoning.isnan()
    assert loss.kl_answer.isfinite()


def test_vocabularies_of_different_size_are_one_clear_sentence():
    p = predictions(SEGMENTS["both"])
    padded = Predictions(p.student, torch.zeros(5, 8), p.targets, p.segments)
    with pytest.raises(InputError, match=r"student predicts 7 tokens .* cover 8"):
        OBJECTIVES["cot"](padded, LossWeights())


def test_objectives_on_distributions_ask_for_the_teacher():
    p = predictions(SEGMENTS["both"])
    with pytest.raises(ValueError, match="teacher"):
        OBJECTIVES["cot"](Predictions(p.student, None, p.targets, p.segments), LossWeights())
