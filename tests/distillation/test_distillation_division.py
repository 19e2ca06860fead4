"""Dividing an optimizer step, recomputing or compiling layers: the same training up to rounding."""

import copy

import pytest
import torch
from tiny_distillation import make_trace

from distillscale.distillation.trainer import Distilled, distill


@pytest.fixture
def uneven():
    """Twelve traces whose supervised parts differ by up to forty times in length."""
    return [make_trace(i, 4, (1, 40, 6)[i % 3], (1, 1, 8)[i % 3]) for i in range(12)]


@pytest.fixture
def run(student, uneven, online, settings, tmp_path):
    def go(**changes) -> Distilled:
        return distill(
            copy.deepcopy(student),
            uneven,
            settings(**{"batch_size": 8, "steps": 5, **changes}),
            teacher_logits=online(uneven),
            pad_id=0,
            work_dir=tmp_path,
        )

    return go


def assert_alike(ours: Distilled, theirs: Distilled) -> None:
    for name in ("losses", "gradient_norms", "divergence_reasoning", "divergence_answer"):
        values = getattr(theirs.log, name)
        assert getattr(ours.log, name) == (
            values if None in values else pytest.approx(values, rel=2e-5)
        )
    for p, q in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"supervision": "label", "micro_batch_size": 2},
        {"supervision": "cot", "micro_batch_size": 2},
        {"supervision": "blended", "micro_batch_size": 1},
        {"supervision": "blended", "micro_batch_size": 3},
        {"method": "lora", "micro_batch_size": 2, "learning_rate": 1e-2},
    ],
)
def test_an_optimizer_step_is_the_same_in_one_part_or_several(run, changes):
    assert_alike(run(**changes), run(**changes | {"micro_batch_size": None}))


def test_a_micro_batch_is_no_larger_than_asked(run, student):
    sizes = []
    student.model.layers[0].register_forward_pre_hook(
        lambda _, inputs: sizes.append(inputs[0].shape[0])
    )
    run(micro_batch_size=3)
    assert max(sizes) <= 3
    assert sum(sizes) == 8 * 5


@pytest.mark.parametrize("method", ["logit", "lora"])
def test_gradient_checkpointing_changes_no_number(run, method):
    plain, twice = (run(method=method, gradient_checkpointing=on) for on in (False, True))
    assert_alike(twice, plain)
    assert not twice.model.is_activation_checkpointing


def test_gradient_checkpointing_runs_every_layer_twice(run, student):
    calls = []
    student.model.layers[1].input_layernorm.register_forward_hook(lambda *_: calls.append(1))
    run(gradient_checkpointing=True)
    assert len(calls) == 2 * 5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_compiling_changes_no_number(run):
    assert_alike(run(compile=True), run())
