"""`forward_kl` where probabilities are 0, against the formula in float64 over its finite terms."""

import pytest
import torch
from torch import Tensor

from distillscale.distillation.logit_rows import forward_kl

INF = torch.inf
BOTH_OUT = ([0.0, 1.0, -INF, 2.0], [1.0, 0.5, -INF, 0.0])
UNDERFLOW = ([0.0, 1.0, -INF, 2.0], [1.0, 0.5, -5000.0, 0.0])
TEACHER_OUT = ([0.0, 1.0, 3.0, 2.0], [1.0, 0.5, -INF, 0.0])
STUDENT_OUT = ([0.0, 1.0, -INF, 2.0], [1.0, 0.5, 0.0, 0.0])


def values(student: Tensor, teacher: Tensor) -> Tensor:
    return forward_kl(student.clone(), teacher.clone(), torch.empty_like(student))[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("logits", [BOTH_OUT, UNDERFLOW, TEACHER_OUT])
def test_terms_without_probability_are_0(logits, dtype):
    student, teacher = (torch.tensor([own, [0.0, 1.0, 2.0, 3.0]], dtype=dtype) for own in logits)
    log_s, log_t = student.double().log_softmax(-1), teacher.double().log_softmax(-1)
    terms = log_t.exp() * (log_t - log_s)
    wanted = torch.where(terms.isfinite(), terms, 0.0).sum(-1)
    torch.testing.assert_close(values(student, teacher), wanted.to(dtype))


def test_what_the_teacher_expects_and_the_student_rules_out_is_infinite():
    student, teacher = (torch.tensor([own]) for own in STUDENT_OUT)
    assert values(student, teacher).item() == INF


@pytest.mark.parametrize("side", [0, 1])
def test_logits_that_are_no_numbers_are_not_hidden(side):
    logits = [torch.zeros(1, 4), torch.zeros(1, 4)]
    logits[side][0, 2] = torch.nan
    assert values(*logits).isnan().all()
