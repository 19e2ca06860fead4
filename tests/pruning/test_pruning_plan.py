import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen3Config

from distillscale.errors import InputError
from distillscale.pruning.importance import Importance
from distillscale.pruning.plan import PruningPlan, plan_pruning
from distillscale.pruning.shape import Shape, params_of, shape_of
from distillscale.pruning.surgery import pruned_config

CONFIG = Qwen3Config(
    vocab_size=100,
    hidden_size=64,
    intermediate_size=192,
    num_hidden_layers=8,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
)
FULL = params_of(CONFIG, shape_of(CONFIG))
INFLUENCE = (0.9, 0.2, 0.7, 0.1, 0.3, 0.6, 0.4, 0.8)
IMPORTANCE = Importance(
    layers=INFLUENCE,
    channels=tuple(tuple((layer + c * 37) % 192 / 192 for c in range(192)) for layer in range(8)),
    tokens=1000,
)


def plan_for(ratio: float, axes=("depth", "mlp"), multiple: int = 8) -> PruningPlan:
    return plan_pruning(
        CONFIG, IMPORTANCE, target_params=round(ratio * FULL), axes=axes, multiple=multiple
    )


def test_lowest_influence_layers_go():
    plan = plan_for(5.01 / 8, axes=("depth",))
    assert plan.after == Shape(layers=5, mlp=192)
    assert plan.kept_layers == (0, 2, 5, 6, 7)
    assert plan.kept_channels == (tuple(range(192)),) * 5


def test_first_and_last_layer_go_if_their_scores_say_so():
    scores = replace(IMPORTANCE, layers=(0.01, *INFLUENCE[1:-1], 0.05))
    target = params_of(CONFIG, Shape(6, 192))
    plan = plan_pruning(CONFIG, scores, target_params=target, axes=("depth",), multiple=8)
    assert plan.kept_layers == (1, 2, 3, 4, 5, 6)


def test_of_equal_layers_the_later_one_goes():
    scores = replace(IMPORTANCE, layers=(0.5,) * 8)
    target = params_of(CONFIG, Shape(6, 192))
    plan = plan_pruning(CONFIG, scores, target_params=target, axes=("depth",), multiple=8)
    assert plan.kept_layers == (0, 1, 2, 3, 4, 5)


def test_channels_of_highest_activation_stay_in_order():
    plan = plan_for(0.7, axes=("mlp",))
    assert plan.after.layers == 8
    assert plan.after.mlp % 8 == 0
    for layer, channels in zip(plan.kept_layers, plan.kept_channels, strict=True):
        scores = IMPORTANCE.channels[layer]
        gone = set(range(192)) - set(channels)
        assert list(channels) == sorted(channels)
        assert min(scores[c] for c in channels) >= max(scores[c] for c in gone)


def test_both_axes_are_cut_evenly():
    plan = plan_for(0.4, multiple=1)
    depth, width = plan.after.layers / 8, plan.after.mlp / 192
    assert abs(math.log(depth / width)) < 0.25
    assert plan.stage_ratio == pytest.approx(0.4, rel=0.01)


def all_shapes() -> list[Shape]:
    return [Shape(layers, mlp) for layers in range(1, 9) for mlp in range(8, 193, 8)]


@settings(max_examples=50)
@given(st.floats(0.05, 1.0))
def test_the_shape_is_within_a_percent_or_the_nearest_one(ratio: float):
    plan, target = plan_for(ratio), round(ratio * FULL)
    sizes = [params_of(CONFIG, shape) for shape in all_shapes()]
    nearest = min(abs(size - target) for size in sizes)
    assert abs(plan.params_after - target) <= max(0.01 * target, nearest)
    assert plan.after.layers <= 8
    assert plan.after.mlp <= 192
    assert plan.params_after == params_of(CONFIG, plan.after)


def test_among_shapes_of_the_right_size_the_most_even_wins():
    def imbalance(shape: Shape) -> float:
        return abs(math.log(shape.layers / 8) - math.log(shape.mlp / 192))

    target = round(0.3 * FULL)
    right = [s for s in all_shapes() if abs(params_of(CONFIG, s) - target) <= 0.01 * target]
    assert len(right) > 1
    assert imbalance(plan_for(0.3).after) == min(map(imbalance, right))


def test_width_that_is_no_multiple_may_stay_as_it_is():
    assert plan_for(0.5, axes=("depth",), multiple=128).after.mlp == 192
    assert plan_for(1.0, multiple=128).after == Shape(8, 192)


def test_the_size_at_hand_is_a_plan_that_removes_nothing():
    plan = plan_for(1.0)
    assert plan.before == plan.after
    assert plan.stage_ratio == 1.0
    assert plan.kept_layers == tuple(range(8))


@pytest.mark.parametrize("ratio", [1.001, 2.0, 0.001])
def test_unreachable_targets_say_what_is_reachable(ratio):
    smallest = params_of(CONFIG, Shape(1, 8))
    with pytest.raises(InputError, match=f"between {smallest:,} and {FULL:,}"):
        plan_for(ratio)


def test_reach_of_one_axis_is_its_own():
    with pytest.raises(InputError, match=f"between {params_of(CONFIG, Shape(8, 8)):,}"):
        plan_for(0.1, axes=("mlp",))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"axes": ()}, "axes"),
        ({"axes": ("width",)}, "depth, mlp"),
        ({"axes": ("mlp",), "multiple": 0}, "multiple"),
    ],
)
def test_bad_arguments_are_refused(arguments, named):
    with pytest.raises(InputError, match=named):
        plan_for(0.5, **arguments)


@pytest.mark.parametrize(
    "scores",
    [
        replace(IMPORTANCE, layers=INFLUENCE[:-1]),
        replace(IMPORTANCE, channels=IMPORTANCE.channels[:-1]),
        replace(IMPORTANCE, channels=((0.1, 0.2), *IMPORTANCE.channels[1:])),
    ],
)
def test_scores_of_another_model_are_refused(scores):
    with pytest.raises(InputError, match="importance"):
        plan_pruning(CONFIG, scores, target_params=FULL, axes=("depth",), multiple=8)


def test_planning_leaves_the_config_alone():
    before = CONFIG.to_dict()
    plan_for(0.3)
    assert CONFIG.to_dict() == before


def test_json_round_trip():
    plan = plan_for(0.3)
    assert PruningPlan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda text: text[:-5], "the text"),
        (lambda text: text.replace('"kept_layers":[', '"kept_layers":[99,'), "kept layers"),
        (lambda text: text.replace('"model_type"', '"model"'), "model_type"),
        (lambda text: text.replace('"mlp":192', '"mlp":"wide"', 1), "before.mlp"),
        (
            lambda text: text.replace('"kept_channels":[[', '"kept_channels":[[0],['),
            "kept_channels",
        ),
    ],
)
def test_damaged_json_is_refused(change, named):
    with pytest.raises(InputError, match=named):
        PruningPlan.from_json(change(plan_for(0.3).to_json()))


def test_rows_show_what_stays():
    plan = plan_for(5.01 / 8, axes=("depth",))
    rows = {row[0]: row[1:] for row in plan.rows()}
    assert rows["layers"] == ("8", "5", "62.5%")
    assert rows["MLP channels per layer"] == ("192", "192", "100.0%")
    assert rows["non-embedding parameters"][:2] == (f"{FULL:,}", f"{plan.params_after:,}")
    assert rows["layers removed"][1] == "1, 3, 4"


def test_schedules_to_one_size_end_in_one_shape():
    """Balance is judged against the teacher, so the way to a size does not decide its shape."""
    target = FULL // 4
    first = plan_for(0.7, axes=("mlp",), multiple=4)
    kept = tuple(row[: first.after.mlp] for row in IMPORTANCE.channels)
    at_once = plan_for(0.25, multiple=4)
    in_two = plan_pruning(
        pruned_config(CONFIG, first),
        replace(IMPORTANCE, channels=kept),
        target_params=target,
        axes=("depth", "mlp"),
        multiple=4,
        original=shape_of(CONFIG),
    )
    assert in_two.after == at_once.after
