from dataclasses import replace

import pytest
from random_plans import composed, random_plan
from transformers import Qwen3Config, Qwen3MoeConfig

from distillscale.errors import InputError
from distillscale.pruning.plan import PLAN_COLUMNS, KeptLayer, Origin, PruningPlan
from distillscale.pruning.surgery import pruned_config

SIZES = {
    "vocab_size": 100,
    "hidden_size": 64,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
CONFIG = Qwen3Config(**SIZES, intermediate_size=192)
MIXTURE = Qwen3MoeConfig(**SIZES, moe_intermediate_size=24, num_experts=6, num_experts_per_tok=2)
PLAN = random_plan(CONFIG, layers=5, mlp=160, groups=1, heads=1, hidden=48)
MIXED_PLAN = random_plan(MIXTURE, layers=5, mlp=16, experts=4)


def test_stage_ratio_is_the_share_of_params_that_stays():
    plan = replace(PLAN, params_before=1000, params_after=400)
    assert plan.stage_ratio == 0.4


@pytest.mark.parametrize("plan", [PLAN, MIXED_PLAN, random_plan(CONFIG)])
def test_json_round_trip(plan):
    assert PruningPlan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda text: text[:-5], "the text"),
        (lambda text: text.replace('"model_type"', '"model"'), "model_type"),
        (lambda text: text.replace('"mlp":192', '"mlp":"wide"', 1), "before.mlp"),
        (lambda text: text.replace('"hidden":[', '"hidden":[99,'), "hidden channels"),
        (lambda text: text.replace('"heads":[[', '"heads":[[0],['), "heads of layer"),
    ],
)
def test_damaged_json_is_refused(change, named):
    with pytest.raises(InputError, match=named):
        PruningPlan.from_json(change(PLAN.to_json()))


def changed_layer(**changes) -> tuple[KeptLayer, ...]:
    return (replace(MIXED_PLAN.layers[0], **changes), *MIXED_PLAN.layers[1:])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"layers": MIXED_PLAN.layers[1:]}, "kept layers must be 5"),
        ({"layers": MIXED_PLAN.layers[::-1]}, "kept layers"),
        ({"hidden": tuple(range(63))}, "hidden channels must be 64"),
        ({"hidden": (*range(63), 64)}, "below 64"),
        ({"layers": changed_layer(channels=((0,) * 16,) * 4)}, "channels of layer"),
        ({"layers": changed_layer(channels=(tuple(range(16)),) * 3)}, "3 entries, but must have 4"),
        ({"layers": changed_layer(experts=(0, 1, 2, 6))}, "experts of layer .* below 6"),
        ({"layers": changed_layer(groups=(0,))}, "groups of layer .* must be 2"),
        ({"layers": changed_layer(heads=((0, 1), (1, 2)))}, "heads of layer .* below 2"),
        ({"layers": changed_layer(heads=((0, 1),))}, "1 entries, but must have 2"),
        ({"model_type": "gpt2"}, "'gpt2' is not one of llama"),
        ({"norm_scales": {"model.norm": 1.0}}, "norm_scales must be empty"),
    ],
)
def test_what_stays_must_fit_the_shapes(changes, named):
    with pytest.raises(InputError, match=named):
        replace(MIXED_PLAN, **changes)


@pytest.mark.parametrize(
    ("scales", "named"),
    [
        ({}, "norm_scales must have an entry for model.layers"),
        ({n: s for n, s in PLAN.norm_scales.items() if n != "model.norm"}, "for model.norm"),
        (PLAN.norm_scales | {"model.norm": 0.0}, "model.norm is 0.0, not positive"),
        (PLAN.norm_scales | {"model.norm": float("nan")}, "not positive"),
    ],
)
def test_cut_hidden_channels_need_a_factor_for_each_norm(scales, named):
    with pytest.raises(InputError, match=named):
        replace(PLAN, norm_scales=scales)


def test_norms_of_removed_layers_need_no_factor():
    kept = {f"model.layers.{n}." for n in PLAN.kept_layers}
    scales = {
        name: scale
        for name, scale in PLAN.norm_scales.items()
        if name == "model.norm" or any(name.startswith(prefix) for prefix in kept)
    }
    assert len(scales) == 11
    assert replace(PLAN, norm_scales=scales).norm_scales == scales


def test_rows_show_what_stays_of_every_size():
    rows = {row[0]: row[1:] for row in PLAN.rows()}
    assert all(len(row) == len(PLAN_COLUMNS) for row in PLAN.rows())
    removed = [n for n in range(8) if n not in PLAN.kept_layers]
    assert rows == {
        "layers": ("8", "5", "62.5%"),
        "hidden width": ("64", "48", "75.0%"),
        "K/V groups per layer": ("2", "1", "50.0%"),
        "query heads per group": ("2", "1", "50.0%"),
        "MLP channels per layer": ("192", "160", "83.3%"),
        "non-embedding parameters": (
            f"{PLAN.params_before:,}",
            f"{PLAN.params_after:,}",
            f"{PLAN.stage_ratio:.1%}",
        ),
        "FLOPs per token": (
            f"{PLAN.flops_before:,}",
            f"{PLAN.flops_after:,}",
            f"{PLAN.flops_after / PLAN.flops_before:.1%}",
        ),
        "layers removed": ("", ", ".join(map(str, removed)), ""),
    }


def test_rows_of_a_mixture_show_its_experts():
    rows = {row[0]: row[1:] for row in MIXED_PLAN.rows()}
    assert rows["experts per layer"] == ("6", "4", "66.7%")
    assert rows["MLP channels per expert"] == ("24", "16", "66.7%")
    assert "MLP channels per layer" not in rows


def test_plan_that_removes_nothing_says_so():
    plan = random_plan(CONFIG)
    assert plan.stage_ratio == 1.0
    assert plan.rows()[-1] == ("layers removed", "", "none", "")


def test_origin_of_one_stage_is_what_stays():
    assert Origin.of(PLAN) == Origin(layers=PLAN.kept_layers, hidden=PLAN.hidden)


def test_origin_after_stages_is_that_of_pruning_at_once():
    second = random_plan(pruned_config(CONFIG, PLAN), seed=5, layers=3, hidden=32)
    at_once = composed(CONFIG, PLAN, second)
    assert Origin.of(PLAN).after(second) == Origin.of(at_once)
    third = random_plan(pruned_config(CONFIG, at_once), seed=6, layers=1)
    origin = Origin.of(PLAN).after(second).after(third)
    assert origin.layers == (at_once.kept_layers[third.kept_layers[0]],)
    assert origin.hidden == at_once.hidden


@pytest.mark.parametrize("changes", [{"num_hidden_layers": 6}, {"hidden_size": 40}])
def test_origin_refuses_a_plan_for_another_model(changes):
    other = Qwen3Config(**(SIZES | changes), intermediate_size=192)
    with pytest.raises(InputError, match="the stage before left 5 of 48"):
        Origin.of(PLAN).after(random_plan(other))


def test_origin_round_trip():
    origin = Origin.of(PLAN)
    assert Origin.from_json(origin.to_json()) == origin
    with pytest.raises(InputError, match="origin of a pruned model: layers is wrong"):
        Origin.from_json('{"hidden": [1]}')
