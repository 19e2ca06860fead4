"""What stays in a shape: the most important of everything, in order, and how norms make up."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, PreTrainedConfig, Qwen3Config

from distillscale.errors import InputError
from distillscale.pruning.families import family_of
from distillscale.pruning.importance import Importance
from distillscale.pruning.plan import PruningPlan
from distillscale.pruning.shape import PruningAxis, Shape, flops_per_token, params_of, shape_of
from distillscale.pruning.solver import plan_candidates, plan_pruning

CONFIG = Qwen3Config(
    vocab_size=100,
    hidden_size=64,
    intermediate_size=192,
    num_hidden_layers=8,
    num_attention_heads=6,
    num_key_value_heads=2,
    head_dim=16,
)
WHOLE = shape_of(CONFIG)
FULL = params_of(CONFIG, WHOLE)
INFLUENCE = (0.9, 0.2, 0.7, 0.1, 0.3, 0.6, 0.4, 0.8)
BOTH: tuple[PruningAxis, ...] = ("depth", "mlp")


def scores_of(config: PreTrainedConfig, seed: int = 0) -> Importance:
    """Random scores of everything that a model has, some of them equal."""
    draw, shape = random.Random(seed), shape_of(config)

    def scores(count: int) -> tuple[float, ...]:
        return tuple(draw.randrange(1, 50) / 50 for _ in range(count))

    def shares(count: int) -> tuple[float, ...]:
        parts = scores(count)
        return tuple(part / sum(parts) for part in parts)

    layers = range(shape.layers)
    norms = family_of(config).norm_paths(layers)
    return Importance(
        layers=scores(shape.layers),
        blocks=None,
        channels=tuple(tuple(scores(shape.mlp) for _ in range(shape.experts)) for _ in layers),
        groups=tuple(scores(shape.groups) for _ in layers),
        heads=tuple(tuple(scores(shape.heads) for _ in range(shape.groups)) for _ in layers),
        experts=tuple(scores(shape.experts) for _ in layers),
        hidden=scores(shape.hidden),
        norm_energy={norm: shares(shape.hidden) for norm in norms},
        tokens=1000,
    )


IMPORTANCE = replace(scores_of(CONFIG), layers=INFLUENCE)


def plan_for(after: Shape, *axes: PruningAxis, scores: Importance = IMPORTANCE) -> PruningPlan:
    """The plan to a shape that can be reached by these axes alone."""
    target = params_of(CONFIG, after)
    plan = plan_pruning(CONFIG, scores, target_params=target, axes=axes, multiple=1)
    assert plan.after == after
    return plan


def highest(scores: tuple[float, ...], count: int) -> tuple[int, ...]:
    ranked = sorted(range(len(scores)), key=lambda position: (-scores[position], position))
    return tuple(sorted(ranked[:count]))


def test_lowest_influence_layers_go():
    plan = plan_for(replace(WHOLE, layers=5), "depth")
    assert plan.kept_layers == (0, 2, 5, 6, 7)
    assert all(layer.channels == (tuple(range(192)),) for layer in plan.layers)


def test_first_and_last_layer_go_if_their_scores_say_so():
    scores = replace(IMPORTANCE, layers=(0.01, *INFLUENCE[1:-1], 0.05))
    plan = plan_for(replace(WHOLE, layers=6), "depth", scores=scores)
    assert plan.kept_layers == (1, 2, 3, 4, 5, 6)


def test_of_equal_layers_the_later_one_goes():
    scores = replace(IMPORTANCE, layers=(0.5,) * 8)
    plan = plan_for(replace(WHOLE, layers=6), "depth", scores=scores)
    assert plan.kept_layers == (0, 1, 2, 3, 4, 5)


def test_layers_go_in_a_block_where_blocks_were_judged():
    angles = tuple(tuple(1.0 for _ in range(8 - n)) for n in range(8))
    angles = (angles[0], (1.0, 1.0, 1.0, 0.1, 1.0, 1.0, 1.0), *angles[2:])
    scores = replace(IMPORTANCE, blocks=angles)
    plan = plan_for(replace(WHOLE, layers=6), "depth", scores=scores)
    assert plan.kept_layers == (0, 1, 2, 5, 6, 7)


def test_channels_of_highest_score_stay_in_each_layer():
    plan = plan_for(replace(WHOLE, mlp=100), "mlp")
    assert plan.kept_layers == tuple(range(8))
    for layer in plan.layers:
        assert layer.channels == (highest(IMPORTANCE.channels[layer.layer][0], 100),)


def test_heads_are_ranked_within_their_group():
    plan = plan_for(replace(WHOLE, heads=2), "heads")
    for layer in plan.layers:
        assert layer.groups == (0, 1)
        scores = IMPORTANCE.heads[layer.layer]
        assert layer.heads == tuple(highest(scores[group], 2) for group in (0, 1))


def test_a_group_goes_with_its_heads():
    plan = plan_for(replace(WHOLE, groups=1), "groups")
    for layer in plan.layers:
        assert layer.groups == highest(IMPORTANCE.groups[layer.layer], 1)
        assert layer.heads == ((0, 1, 2),)


def test_norms_are_scaled_by_the_energy_that_stays():
    plan = plan_for(replace(WHOLE, hidden=40), "hidden")
    assert plan.hidden == highest(IMPORTANCE.hidden, 40)
    norms = family_of(CONFIG).norm_paths(range(8))
    assert plan.norm_scales.keys() == set(norms)
    for norm in norms:
        stays = sum(IMPORTANCE.norm_energy[norm][c] for c in plan.hidden)
        assert plan.norm_scales[norm] == pytest.approx((64 / 40 * stays) ** 0.5, rel=1e-12)


def test_only_norms_of_layers_that_stay_are_scaled():
    target = params_of(CONFIG, replace(WHOLE, layers=5, hidden=40))
    plan = plan_pruning(
        CONFIG, IMPORTANCE, target_params=target, axes=("depth", "hidden"), multiple=1
    )
    assert plan.after.hidden < 64
    assert plan.after.layers < 8
    assert plan.norm_scales.keys() == set(family_of(CONFIG).norm_paths(plan.kept_layers))


def test_a_norm_whose_kept_channels_are_zero_is_left_alone():
    norm = "model.norm"
    gone = highest(tuple(-score for score in IMPORTANCE.hidden), 1)[0]
    energy = tuple(float(channel == gone) for channel in range(64))
    scores = replace(IMPORTANCE, norm_energy={**IMPORTANCE.norm_energy, norm: energy})
    plan = plan_for(replace(WHOLE, hidden=40), "hidden", scores=scores)
    assert gone not in plan.hidden
    assert plan.norm_scales[norm] == 1.0


@pytest.fixture
def mixture() -> PreTrainedConfig:
    return AutoConfig.for_model(
        "qwen3_moe",
        vocab_size=100,
        hidden_size=32,
        moe_intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        num_experts=8,
        num_experts_per_tok=3,
        eos_token_id=None,
    )


def test_experts_and_their_channels_stay_by_their_own_scores(mixture):
    scores = scores_of(mixture)
    target = params_of(mixture, replace(shape_of(mixture), mlp=32, experts=5))
    plan = plan_pruning(mixture, scores, target_params=target, axes=("mlp", "experts"), multiple=8)
    assert plan.after.experts == 5
    assert plan.after.mlp == 32
    for layer in plan.layers:
        assert layer.experts == highest(scores.experts[layer.layer], 5)
        channels = scores.channels[layer.layer]
        assert layer.channels == tuple(highest(channels[e], 32) for e in layer.experts)


def test_as_many_experts_stay_as_a_token_goes_through(mixture):
    least = params_of(mixture, replace(shape_of(mixture), experts=3))
    with pytest.raises(InputError, match=f"smallest size that can is {least:,}"):
        plan_pruning(
            mixture, scores_of(mixture), target_params=least // 2, axes=("experts",), multiple=8
        )


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.1, 1.0),
    st.lists(
        st.sampled_from(["depth", "mlp", "heads", "groups", "hidden"]), min_size=1, unique=True
    ),
    st.sampled_from([1, 4, 8]),
)
def test_plans_are_within_a_percent_and_count_what_they_make(ratio, axes, multiple):
    target = round(ratio * FULL)
    try:
        plan = plan_pruning(
            CONFIG, IMPORTANCE, target_params=target, axes=tuple(axes), multiple=multiple
        )
    except InputError:  # out of reach, see test_target
        return
    assert abs(plan.params_after - target) <= 0.01 * target
    assert plan.params_after == params_of(CONFIG, plan.after)
    assert plan.flops_after == flops_per_token(CONFIG, plan.after)
    assert plan.after.mlp % multiple == plan.after.hidden % multiple == 0
    uncut = {"layers": "depth", "mlp": "mlp", "heads": "heads", "groups": "groups"}
    for field, axis in {**uncut, "hidden": "hidden"}.items():
        if axis not in axes:
            assert getattr(plan.after, field) == getattr(WHOLE, field)
    assert PruningPlan.from_json(plan.to_json()) == plan


def test_the_size_at_hand_is_a_plan_that_removes_nothing():
    plan = plan_for(WHOLE, "depth", "mlp", "hidden")
    assert plan.before == plan.after
    assert plan.stage_ratio == 1.0
    assert plan.kept_layers == tuple(range(8))
    assert plan.norm_scales == {}


def test_axes_that_are_not_cut_need_no_scores():
    only = replace(
        scores_of(CONFIG), layers=(), groups=(), heads=(), experts=(), hidden=(), norm_energy={}
    )
    plan = plan_for(replace(WHOLE, mlp=100), "mlp", scores=only)
    assert plan.layers[0].channels == (highest(only.channels[0][0], 100),)


def test_the_first_candidate_is_the_plan():
    target = round(0.3 * FULL)
    arguments = {"target_params": target, "axes": BOTH, "multiple": 4}
    plans = plan_candidates(CONFIG, IMPORTANCE, **arguments, count=4)
    assert plans[0] == plan_pruning(CONFIG, IMPORTANCE, **arguments)
    assert len({plan.after for plan in plans}) == len(plans) == 4


def test_schedules_to_one_size_end_in_one_shape():
    """Balance is judged against the teacher, so the way to a size does not decide its shape."""
    target = FULL // 4
    first = plan_pruning(
        CONFIG, IMPORTANCE, target_params=round(0.7 * FULL), axes=("mlp",), multiple=4
    )
    pruned = Qwen3Config(**{**CONFIG.to_dict(), "intermediate_size": first.after.mlp})
    at_once = plan_pruning(CONFIG, IMPORTANCE, target_params=target, axes=BOTH, multiple=4)
    in_two = plan_pruning(
        pruned, scores_of(pruned), target_params=target, axes=BOTH, multiple=4, original=WHOLE
    )
    assert in_two.after == at_once.after


def test_planning_leaves_the_config_alone():
    before = CONFIG.to_dict()
    plan_for(replace(WHOLE, mlp=100), "mlp")
    assert CONFIG.to_dict() == before


@pytest.mark.parametrize(
    ("scores", "axis"),
    [
        (replace(IMPORTANCE, layers=INFLUENCE[:-1]), "depth"),
        (replace(IMPORTANCE, channels=IMPORTANCE.channels[:-1]), "mlp"),
        (replace(IMPORTANCE, channels=(((0.1, 0.2),), *IMPORTANCE.channels[1:])), "mlp"),
        (replace(IMPORTANCE, heads=((*IMPORTANCE.heads[0], (1.0,)),) * 8), "heads"),
        (replace(IMPORTANCE, groups=()), "groups"),
        (replace(IMPORTANCE, hidden=(0.5,)), "hidden"),
    ],
)
def test_scores_of_another_model_are_refused(scores: Importance, axis: PruningAxis):
    with pytest.raises(InputError, match=f"scores for {axis}"):
        plan_pruning(CONFIG, scores, target_params=FULL, axes=(axis,), multiple=8)


def test_targets_out_of_reach_say_what_is_reachable():
    with pytest.raises(InputError, match="cannot be reached within 1%"):
        plan_pruning(CONFIG, IMPORTANCE, target_params=FULL // 99, axes=("depth",), multiple=8)
