from dataclasses import astuple, fields, replace
from itertools import product

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from random_plans import random_plan
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, PreTrainedModel

from distillscale.errors import InputError
from distillscale.models.size import model_size
from distillscale.pruning.families import FAMILIES, family_of, head_width, present
from distillscale.pruning.shape import (
    AXIS_FIELD,
    Shape,
    check_loadable,
    flops_per_token,
    loadable,
    params_counter,
    params_of,
    shape_of,
)
from distillscale.pruning.surgery import pruned_config

SETTINGS = [
    ("qwen3", {"attention_bias": True}),
    ("llama", {"attention_bias": True, "mlp_bias": True}),
    ("llama", {"head_dim": 4}),
    ("mistral", {"head_dim": 4, "num_key_value_heads": 4}),
    ("qwen2", {"tie_word_embeddings": False}),
    ("gemma2", {"attention_bias": True}),
    ("gemma3_text", {"attention_bias": True, "tie_word_embeddings": False}),
    ("phi3", {"tie_word_embeddings": False}),
    ("qwen3_moe", {"attention_bias": True, "head_dim": 16}),
]


def smaller_shapes(shape: Shape) -> list[Shape]:
    """Every combination of whole and cut sizes."""
    cut = Shape(layers=2, mlp=8, groups=1, heads=1, hidden=24, experts=min(3, shape.experts))
    pairs = zip(astuple(shape), astuple(cut), strict=True)
    return [Shape(*sizes) for sizes in product(*({*pair} for pair in pairs))]


def built(model: PreTrainedModel, shape: Shape) -> PreTrainedModel:
    """A model of this config in another shape, built by transformers."""
    sizes = {field.name: getattr(shape, field.name) for field in fields(shape)}
    config = pruned_config(model.config, random_plan(model.config, **sizes))
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(**config.to_dict()))


def accepted(model: PreTrainedModel, shape: Shape) -> bool:
    """Whether the family's config class takes the shape."""
    try:
        built(model, shape)
    except StrictDataclassClassValidationError:
        return False
    return True


def multiplications(model: PreTrainedModel) -> int:
    """Multiply-accumulates of one token, seen by its matrix products."""
    seen = 0

    def note(module: nn.Linear, inputs, output) -> None:
        nonlocal seen
        seen += module.weight.numel()

    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(note)
    model(torch.tensor([[1]]))
    if model.config.model_type == "qwen3_moe":
        for layer in model.model.layers:
            experts, active = layer.mlp.experts, model.config.num_experts_per_tok
            seen += layer.mlp.gate.weight.numel()
            seen += active * (experts.gate_up_proj[0].numel() + experts.down_proj[0].numel())
    return seen


def test_shape_is_read_from_the_config(family_model):
    experts = 4 if family_model.config.model_type == "qwen3_moe" else 1
    expected = Shape(layers=3, mlp=24, groups=2, heads=2, hidden=32, experts=experts)
    assert shape_of(family_model.config) == expected


def test_every_axis_has_its_own_field():
    assert set(AXIS_FIELD.values()) == {field.name for field in fields(Shape)}


def test_count_from_the_config_is_that_of_the_real_model(family_model):
    config = family_model.config
    assert params_of(config, shape_of(config)) == model_size(family_model).params


@pytest.mark.parametrize(("model_type", "changes"), SETTINGS)
def test_count_follows_biases_heads_and_untied_embeddings(tiny_model, model_type, changes):
    model = tiny_model(model_type, **changes)
    assert params_of(model.config, shape_of(model.config)) == model_size(model).params


def test_count_of_every_shape_is_that_of_a_model_built_so(family_model):
    for shape in smaller_shapes(shape_of(family_model.config)):
        model = built(family_model, shape)
        assert params_of(family_model.config, shape) == model_size(model).params


@pytest.mark.parametrize(("model_type", "changes"), [(m, {}) for m in FAMILIES] + SETTINGS)
def test_operations_are_those_that_one_token_takes(tiny_model, model_type, changes):
    model = tiny_model(model_type, **changes)
    config = model.config
    assert flops_per_token(config, shape_of(config)) == 2 * multiplications(model)
    smaller = replace(shape_of(config), layers=2, mlp=8, groups=1, hidden=24)
    cut = AutoModelForCausalLM.from_config(pruned_config(config, random_plan(config, layers=2)))
    assert flops_per_token(config, replace(shape_of(config), layers=2)) == 2 * multiplications(cut)
    assert flops_per_token(config, smaller) < flops_per_token(config, shape_of(config))


@pytest.mark.parametrize(
    ("model_type", "sizes", "params"),
    [
        ("qwen3", (36, 12288, 8, 4, 4096, 1), 6.95e9),  # Qwen3-8B
        ("qwen3_moe", (48, 768, 4, 8, 2048, 128), 29.9e9),  # Qwen3-30B-A3B
    ],
)
def test_count_is_the_published_number_of_parameters(model_type, sizes, params):
    """Non-embedding parameters as on the model cards, which round to three digits."""
    shape = Shape(*sizes)
    config = AutoConfig.for_model(model_type, head_dim=128)
    assert params_of(config, shape) == pytest.approx(params, rel=0.005)


def test_many_shapes_are_counted_at_once(family_model):
    config = family_model.config
    shapes = smaller_shapes(shape_of(config))
    columns = Shape(*np.array([astuple(shape) for shape in shapes], dtype=np.int64).T)
    for measure in (params_of, flops_per_token, loadable):
        expected = [measure(config, shape) for shape in shapes]
        assert measure(config, columns).tolist() == expected
    mixed = replace(columns, layers=2, experts=shape_of(config).experts)
    counted = params_counter(config)(mixed)
    assert counted.tolist() == [
        params_of(config, replace(shape, layers=2, experts=mixed.experts)) for shape in shapes
    ]


def test_counts_of_the_largest_models_do_not_overflow(tiny_model):
    config = tiny_model("qwen3_moe").config
    huge = Shape(layers=200, mlp=2**15, groups=64, heads=16, hidden=2**15, experts=1024)
    column = Shape(*(np.array([size], dtype=np.int64) for size in astuple(huge)))
    assert params_of(config, column).tolist() == [params_of(config, huge)]


def test_layout_names_every_parameter_with_its_size(family_model):
    config, family = family_model.config, family_of(family_model.config)
    sizes = {"hidden": 32, "mlp": 24, "expert": 4, "vocab": 100, "head": head_width(config)}
    sizes |= {"query": 4 * sizes["head"], "key_value": 2 * sizes["head"]}
    listed = [family.embedding, family.final_norm_weight]  # the head is tied
    named = {weight.name: weight for weight in listed}
    for layer in range(3):
        for weight in present(family.layer_weights, config):
            named[f"{family.layers}.{layer}.{weight.name}"] = weight
    found = {name: tuple(parameter.shape) for name, parameter in family_model.named_parameters()}
    assert found == {
        name: tuple(sum(sizes[axis] for axis in dimension) for dimension in weight.dimensions)
        for name, weight in named.items()
    }


def test_paths_lead_to_modules_and_norms_are_all_listed(family_model):
    family = family_of(family_model.config)
    norms = {
        name
        for name, module in family_model.named_modules()
        if "RMSNorm" in type(module).__name__ and module.weight.shape == (32,)
    }
    assert set(family.norm_paths(range(3))) == norms
    assert family.norm_paths(range(3))[-1] == family.final_norm
    layer = family_model.get_submodule(family.layers)[0]
    for path in (family.attention_output, family.mlp_output or family.experts.module):
        assert layer.get_submodule(path)


@pytest.mark.parametrize("model_type", ["llama", "gemma2", "gemma3_text", "mistral", "qwen3"])
def test_loadable_is_what_the_config_class_takes(tiny_model, model_type):
    model = tiny_model(model_type)
    for hidden in range(20, 33, 2):
        shape = replace(shape_of(model.config), hidden=hidden)
        assert loadable(model.config, shape) == accepted(model, shape)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_loadable_counts_the_rotary_factors_of_phi3(tiny_model, share):
    factors = [1.0 + n for n in range(int(8 * share) // 2)]
    rotary = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "partial_rotary_factor": share,
        "short_factor": factors,
        "long_factor": factors,
    }
    model = tiny_model("phi3", rope_parameters=rotary, original_max_position_embeddings=32)
    for sizes in ({"hidden": 24}, {"hidden": 16}, {"groups": 1}, {"groups": 1, "hidden": 16}):
        shape = replace(shape_of(model.config), **sizes)
        assert loadable(model.config, shape) == accepted(model, shape)


def test_sizes_of_nothing_are_not_loadable(family_model):
    shape = shape_of(family_model.config)
    assert loadable(family_model.config, shape)
    for field in fields(shape):
        with pytest.raises(InputError, match="at least 1"):
            check_loadable(family_model.config, replace(shape, **{field.name: 0}))


def test_unsupported_family_is_refused_with_the_supported_ones():
    with pytest.raises(InputError, match="'gpt2'") as error:
        shape_of(GPT2Config())
    assert all(model_type in str(error.value) for model_type in FAMILIES)


@pytest.mark.parametrize(
    ("model_type", "changes", "named"),
    [
        ("qwen3_moe", {"mlp_only_layers": [0]}, r"mlp_only_layers \[0\]"),
        ("qwen3_moe", {"decoder_sparse_step": 2}, "decoder_sparse_step 2"),
        ("llama", {"quantization_config": {"quant_method": "awq"}}, "quantization_config"),
    ],
)
def test_settings_that_cannot_be_pruned_are_refused(model_type, changes, named):
    config = AutoConfig.for_model(model_type, **changes)
    with pytest.raises(InputError, match=named):
        shape_of(config)
