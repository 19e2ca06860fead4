import copy

import pytest
import torch
from tiny_distillation import make_model

from distillscale.distillation.hidden_matching import LayerMap, matching_loss
from distillscale.distillation.segments import SegmentTotals
from distillscale.distillation.trainer import distill
from distillscale.errors import InputError
from distillscale.teachers.online import OnlineTeacher


def test_formula_by_hand():
    student = [torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 1.0]])]
    teacher = [torch.tensor([[9.0, 1.0, 3.0]]), torch.tensor([[9.0, 2.0, 0.0]])]
    totals = SegmentTotals(reasoning=1, answer=3)
    # Channels 1 and 2: ((0 + 1) / 10 + (4 + 1) / 4) over 2 layers x 4 positions.
    value = matching_loss(student, teacher, (1, 2), totals)
    assert value.item() == pytest.approx((0.1 + 1.25) / 8)


def test_parts_of_a_step_add_up():
    torch.manual_seed(0)
    student, teacher = ([torch.randn(6, 4) for _ in range(2)] for _ in range(2))
    totals = SegmentTotals(4, 2)
    whole = matching_loss(student, teacher, range(4), totals)
    parts = [
        matching_loss([s[part] for s in student], [t[part] for t in teacher], range(4), totals)
        for part in (slice(0, 1), slice(1, 6))
    ]
    torch.testing.assert_close(whole, sum(parts))


@pytest.fixture
def deep_teacher():
    return make_model(0, layers=4)


@pytest.fixture
def cut(deep_teacher):
    """The deep teacher without its layers 1 and 2, perturbed."""
    model = make_model(0)
    model.load_state_dict(deep_teacher.state_dict(), strict=False)
    model.model.layers[1].load_state_dict(deep_teacher.model.layers[3].state_dict())
    for parameter in model.parameters():
        parameter.data.mul_(1.1)
    return model


LAYERS = LayerMap(layers=(0, 3), channels=tuple(range(32)))


@pytest.fixture
def run(deep_teacher, cut, traces, settings, tmp_path):
    def go(layer_map=LAYERS, student=None, **changes):
        return distill(
            copy.deepcopy(student or cut),
            traces,
            settings(**{"steps": 30, "batch_size": 12, "learning_rate": 3e-3, **changes}),
            teacher_logits=OnlineTeacher(deep_teacher, traces, 0),
            pad_id=0,
            work_dir=tmp_path,
            layer_map=layer_map,
        )

    return go


def distance(model, teacher, traces) -> float:
    """How far the states after layer 0 lie from the teacher's."""
    ids = torch.tensor([traces[0].token_ids])
    states = [
        one(ids, output_hidden_states=True).hidden_states[1].detach() for one in (model, teacher)
    ]
    return ((states[0] - states[1]).square().sum() / states[1].square().sum()).item()


def test_matching_draws_hidden_states_to_the_teacher_s(run, cut, deep_teacher, traces):
    before = distance(cut, deep_teacher, traces)
    matched = distance(run(hidden_weight=10.0).model, deep_teacher, traces)
    assert matched < 0.3 * before
    assert matched < 0.5 * distance(run().model, deep_teacher, traces)


def test_the_first_loss_is_the_divergence_and_the_weighted_match(run):
    plain, light, heavy = (run(hidden_weight=w, steps=1).log.losses[0] for w in (0.0, 1.0, 3.0))
    assert light > plain
    assert heavy - plain == pytest.approx(3 * (light - plain), rel=1e-4)


def test_a_teacher_has_nothing_to_match_in_itself(run, deep_teacher):
    own = LayerMap((0, 1, 2, 3), tuple(range(32)))
    log = run(student=deep_teacher, layer_map=own, hidden_weight=5.0, steps=1).log
    assert log.losses[0] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("changes", [{"micro_batch_size": 5}, {"gradient_checkpointing": True}])
def test_matching_is_exact_in_parts_and_when_layers_run_twice(run, changes):
    whole, other = (run(hidden_weight=2.0, steps=4, **more).log for more in ({}, changes))
    assert other.losses == pytest.approx(whole.losses, rel=1e-5)
    assert other.gradient_norms == pytest.approx(whole.gradient_norms, rel=1e-4)


def test_adapters_by_cross_entropy_can_match_too(run):
    log = run(method="lora", hidden_weight=2.0, steps=3).log
    assert log.losses[0] > run(method="lora", steps=3).log.losses[0]
    assert log.divergence_answer == (None,) * 3


def test_a_teacher_that_only_stored_predictions_is_refused(
    cut, traces, logits_of, settings, tmp_path
):
    with pytest.raises(InputError, match=r"hidden_weight is 1\.0: it needs a teacher that runs"):
        distill(
            cut, traces, settings(hidden_weight=1.0), teacher_logits=logits_of(traces), pad_id=0,
            work_dir=tmp_path, layer_map=LAYERS,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "what"),
    [(LayerMap((0,), tuple(range(32))), "1 layers"), (LayerMap((0, 3), (1,)), "1 hidden channels")],
)
def test_the_map_of_another_student_is_refused(run, wrong, what):
    with pytest.raises(InputError, match=what):
        run(layer_map=wrong, hidden_weight=1.0)
