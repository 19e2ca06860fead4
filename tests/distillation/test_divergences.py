import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from distillscale.distillation.divergences import DIVERGENCES, Divergence, JensenShannon
from distillscale.errors import InputError

ALL = [(name, beta) for name in DIVERGENCES for beta in (0.1, 0.5, 0.9)]
seeds = st.integers(0, 2**31)
scales = st.sampled_from([0.01, 1.0, 10.0])


def made(name: str, beta: float = 0.5) -> Divergence:
    return DIVERGENCES[name](beta)


def value(divergence: Divergence, log_s: Tensor, log_t: Tensor) -> Tensor:
    return divergence.terms(log_s.clone(), log_s.exp(), log_t.clone())


def distributions(seed: int, scale: float = 1.0, shape=(4, 9)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda: scale * torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return draw().log_softmax(-1), draw().log_softmax(-1)


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def formula(name: str, beta: float, log_s: Tensor, log_t: Tensor) -> Tensor:
    """As it stands in the papers."""
    if name == "forward_kl":
        return kl(log_t, log_s)
    if name == "reverse_kl":
        return kl(log_s, log_t)
    log_m = (beta * log_t.exp() + (1 - beta) * log_s.exp()).log()
    return beta * kl(log_t, log_m) + (1 - beta) * kl(log_s, log_m)


@pytest.mark.parametrize(("name", "beta"), ALL)
def test_value_and_slopes_are_those_of_the_formula(name, beta):
    log_s, log_t = distributions(0, 3.0)
    free = log_s.clone().requires_grad_()
    expected = formula(name, beta, free, log_t)
    (slopes,) = torch.autograd.grad(expected.sum(), free)
    own = log_s.clone()
    got = made(name, beta).terms(own, log_s.exp(), log_t.clone())
    torch.testing.assert_close(got, expected.detach())
    torch.testing.assert_close(own, slopes)


@pytest.mark.parametrize(("name", "beta"), ALL)
def test_a_known_sum_of_slopes_is_that_sum(name, beta):
    divergence = made(name, beta)
    log_s, log_t = distributions(1, 3.0)
    divergence.terms(log_s, log_s.exp(), log_t)
    if divergence.slope_sum is not None:
        torch.testing.assert_close(log_s.sum(-1), torch.full_like(log_s[:, 0], -1.0))


def test_kl_by_hand():
    teacher = torch.tensor([[0.5, 0.5]], dtype=torch.float64).log()
    student = torch.tensor([[0.25, 0.75]], dtype=torch.float64).log()
    forward = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    reverse = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert value(made("forward_kl"), student, teacher).item() == pytest.approx(forward)
    assert value(made("reverse_kl"), student, teacher).item() == pytest.approx(reverse)


@given(seeds, scales, st.sampled_from(ALL))
def test_divergences_are_not_negative_and_zero_at_equality(seed, scale, choice):
    log_s, log_t = distributions(seed, scale)
    divergence = made(*choice)
    assert (value(divergence, log_s, log_t) >= -1e-12).all()
    assert value(divergence, log_t, log_t).abs().max() < 1e-12


@given(seeds, scales, st.floats(0.01, 0.99))
def test_jensen_shannon_is_bounded(seed, scale, beta):
    log_s, log_t = distributions(seed, scale)
    bound = -beta * math.log(beta) - (1 - beta) * math.log(1 - beta)
    assert (value(JensenShannon(beta), log_s, log_t) <= bound + 1e-12).all()


@given(seeds, scales)
def test_jensen_shannon_is_symmetric_at_one_half(seed, scale):
    log_s, log_t = distributions(seed, scale)
    half = JensenShannon(0.5)
    torch.testing.assert_close(value(half, log_s, log_t), value(half, log_t, log_s))


def test_jensen_shannon_tends_to_the_two_kls():
    log_s, log_t = distributions(2)
    small = 1e-6
    near = {"rtol": 1e-4, "atol": 0.0}
    forward = value(JensenShannon(small), log_s, log_t) / small
    torch.testing.assert_close(forward, kl(log_t, log_s), **near)
    reverse = value(JensenShannon(1 - small), log_s, log_t) / small
    torch.testing.assert_close(reverse, kl(log_s, log_t), **near)


@pytest.mark.parametrize("beta", [0.0, 1.0, -0.5, 2.0])
def test_jensen_shannon_without_a_mixture_is_refused(beta):
    with pytest.raises(InputError, match=r"beta is .* above 0 and below 1.*forward_kl"):
        DIVERGENCES["jensen_shannon"](beta)


@pytest.mark.parametrize(("name", "beta"), ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tokens_that_the_teacher_rules_out_stay_finite(name, beta, dtype):
    log_t = torch.tensor([[0.0, 1.0, -torch.inf]], dtype=dtype).log_softmax(-1)
    for student in ([1.0, 1.0, 1.0], [0.0, 300.0, -300.0]):
        log_s = torch.tensor([student], dtype=dtype).log_softmax(-1)
        assert value(made(name, beta), log_s, log_t).isfinite().all()
        own = log_s.clone()
        made(name, beta).terms(own, log_s.exp(), log_t.clone())
        assert own.isfinite().all()


def test_forward_kl_ignores_what_the_teacher_rules_out():
    log_t = torch.tensor([[0.0, 1.0, -torch.inf]], dtype=torch.float64).log_softmax(-1)
    log_s = torch.tensor([[0.5, 1.0, 2.0]], dtype=torch.float64).log_softmax(-1)
    expected = kl(log_t[:, :2], log_s[:, :2])
    torch.testing.assert_close(value(made("forward_kl"), log_s, log_t), expected)
