import pytest

from distillscale.distillation.objectives import OBJECTIVES, LossWeights
from distillscale.distillation.settings import DivergenceSettings
from distillscale.errors import InputError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("method", "sft"),
        ("supervision", "none"),
        ("steps", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("warmup_ratio", 1.0),
        ("weight_decay", -0.1),
        ("max_gradient_norm", 0.0),
        ("checkpoint_steps", -1),
        ("temperature", 0.0),
        ("answer_weight", 1.1),
        ("reasoning_anchor", -0.1),
        ("answer_anchor", 2),
        ("micro_batch_size", 0),
        ("divergence", "wasserstein"),
        ("jensen_shannon_beta", 1.0),
        ("gold_mixing", 1.5),
        ("on_policy", -0.1),
        ("hidden_weight", -1.0),
        ("lora_objective", "kl"),
        ("lora_rank", 0),
        ("lora_alpha", 0),
        ("learning_rate", float("nan")),
    ],
)
def test_values_out_of_range_are_one_sentence_that_names_them(settings, field, value):
    with pytest.raises(InputError, match=rf"{field} is {value!r}, it must be "):
        settings(**{field: value})


@pytest.mark.parametrize("supervision", ["label", "cot", "blended"])
def test_logit_trains_all_weights_by_the_supervision_s_objective(settings, supervision):
    recipe = settings(
        supervision=supervision,
        divergence="jensen_shannon",
        jensen_shannon_beta=0.3,
        temperature=2.0,
        gold_mixing=0.4,
        on_policy=0.6,
        hidden_weight=0.8,
        answer_weight=0.7,
        reasoning_anchor=0.2,
        answer_anchor=0.1,
    ).recipe
    assert recipe.objective is OBJECTIVES[supervision]
    assert recipe.weights == LossWeights(0.7, 0.2, 0.1)
    assert recipe.divergence == DivergenceSettings("jensen_shannon", 0.3, 2.0, 0.4, 0.6)
    assert recipe.hidden_weight == 0.8
    assert recipe.adapters is None


def test_lora_trains_adapters_by_cross_entropy(settings):
    recipe = settings(method="lora", lora_rank=4, lora_alpha=6.0).recipe
    assert recipe.objective is OBJECTIVES["cross_entropy"]
    assert recipe.adapters is not None
    assert (recipe.adapters.rank, recipe.adapters.alpha) == (4, 6.0)
    assert recipe.divergence is None


def test_lora_can_take_the_supervision_s_objective(settings):
    changes = {"supervision": "blended", "temperature": 3.0, "answer_weight": 0.9}
    full = settings(method="logit", **changes).recipe
    recipe = settings(method="lora", lora_objective="divergence", **changes).recipe
    assert recipe.objective is full.objective
    assert (recipe.weights, recipe.divergence) == (full.weights, full.divergence)
    assert recipe.adapters is not None


def test_cross_entropy_compares_nothing_and_so_has_no_rollouts(settings):
    assert settings(method="lora", on_policy=0.5).recipe.on_policy == 0
    assert settings(method="logit", on_policy=0.5).recipe.on_policy == 0.5
