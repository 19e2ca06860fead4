"""The choice between plans of one size, by what each does to the model's predictions."""

from dataclasses import replace

import pytest
import torch
from random_plans import random_plan, silence

from distillscale.errors import DistillscaleError
from distillscale.pruning.search import Choice, choose_plan, mean_divergence
from distillscale.pruning.surgery import apply_plan


def reference(teacher, student, sequences) -> float:
    """Mean KL by the plain formula, one sequence at a time and all positions at once."""
    values = []
    for sequence in sequences:
        ids = torch.tensor([sequence])
        with torch.no_grad():
            log_teacher = teacher(ids).logits[0].log_softmax(-1)
            log_student = student(ids).logits[0].log_softmax(-1)
        values += (log_teacher.exp() * (log_teacher - log_student)).sum(-1).tolist()
    return sum(values) / len(values)


@pytest.mark.parametrize("family", ["qwen3", "gemma2"])
@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_divergence_is_the_mean_over_tokens(tiny_model, sequences, family, batch_size, monkeypatch):
    """Whatever the batches, the padding and the chunks of positions."""
    monkeypatch.setattr("distillscale.pruning.search._POSITIONS", 7)
    teacher = tiny_model(family)
    student = apply_plan(teacher, random_plan(teacher.config, mlp=8))
    found = mean_divergence(teacher, student, sequences, 0, batch_size)
    assert found == pytest.approx(reference(teacher, student, sequences), rel=1e-4)
    assert mean_divergence(teacher, student, sequences, 99, batch_size) == found


def test_a_model_does_not_diverge_from_itself(tiny_model, sequences):
    model = tiny_model()
    assert mean_divergence(model, model, sequences, 0, 4) == 0.0


def test_the_plan_that_changes_least_is_chosen(tiny_model, sequences):
    """One plan removes what does nothing."""
    model = tiny_model()
    harmless = random_plan(model.config, seed=1, layers=2, mlp=16)
    silence(model, harmless)
    plans = [random_plan(model.config, seed=seed, layers=2, mlp=16) for seed in (2, 3)]
    plans.insert(1, harmless)
    choice = choose_plan(model, plans, sequences, teacher=model, pad_id=0, batch_size=4)
    assert choice.plan is harmless
    assert choice.divergences[1] == pytest.approx(0, abs=1e-9)
    assert min(choice.divergences[0], choice.divergences[2]) > 1e-4
    for plan, divergence in zip(plans, choice.divergences, strict=True):
        alone = mean_divergence(model, apply_plan(model, plan), sequences, 0, 4)
        assert divergence == alone


def test_divergence_is_measured_to_the_teacher_not_to_the_model_at_hand(tiny_model, sequences):
    """A later stage's model may have moved; a plan that moves it back is the better one."""
    teacher = tiny_model()
    spoilt = tiny_model()
    with torch.no_grad():
        spoilt.model.layers[1].mlp.down_proj.weight[:, 0] += 3.0
        teacher.model.layers[1].mlp.down_proj.weight[:, 0] = 0.0

    def without(channel: int):
        plan = random_plan(teacher.config)
        kept = tuple(c for c in range(24) if c != channel)
        layers = tuple(replace(layer, channels=(kept,)) for layer in plan.layers)
        smaller = random_plan(teacher.config, mlp=23)
        return replace(smaller, layers=layers)

    plans = [without(5), without(0)]
    choice = choose_plan(spoilt, plans, sequences, teacher=teacher, pad_id=0, batch_size=4)
    assert choice.plan is plans[1]


def test_a_single_plan_is_not_scored(tiny_model):
    plan = random_plan(tiny_model().config, mlp=8)
    choice = choose_plan(tiny_model(), [plan], [], teacher=tiny_model(), pad_id=0, batch_size=4)
    assert choice == Choice(plan, ())


def test_of_equal_plans_the_first_is_chosen(tiny_model, sequences):
    model = tiny_model()
    plan = random_plan(model.config, mlp=8)
    twin = replace(plan)
    choice = choose_plan(model, [plan, twin], sequences, teacher=model, pad_id=0, batch_size=4)
    assert choice.plan is plan


def test_logits_that_are_not_finite_are_an_error(tiny_model, sequences):
    broken = tiny_model()
    with torch.no_grad():
        broken.model.norm.weight[0] = float("nan")
    with pytest.raises(DistillscaleError, match="not finite"):
        mean_divergence(tiny_model(), broken, sequences, 0, 4)
