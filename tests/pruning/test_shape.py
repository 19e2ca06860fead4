import pytest
from transformers import GPT2Config

from distillscale.errors import InputError
from distillscale.models.size import model_size
from distillscale.pruning.families import FAMILIES, family_of, present
from distillscale.pruning.shape import Shape, params_of, shape_of


def test_shape_is_read_from_the_config(family_model):
    assert shape_of(family_model.config) == Shape(layers=3, mlp=24)


def test_count_from_the_config_is_that_of_the_real_model(family_model):
    config = family_model.config
    assert params_of(config, shape_of(config)) == model_size(family_model).params


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("qwen3", {"attention_bias": True}),
        ("llama", {"attention_bias": True, "mlp_bias": True}),
        ("llama", {"head_dim": 4}),
        ("mistral", {"head_dim": 4, "num_key_value_heads": 4}),
        ("qwen2", {"tie_word_embeddings": False}),
    ],
)
def test_count_follows_biases_heads_and_untied_embeddings(tiny_model, model_type, changes):
    model = tiny_model(model_type, **changes)
    assert params_of(model.config, shape_of(model.config)) == model_size(model).params


def test_count_of_another_shape_is_that_of_a_model_built_so(tiny_model):
    smaller = tiny_model(num_hidden_layers=2, intermediate_size=8)
    assert params_of(tiny_model().config, Shape(2, 8)) == model_size(smaller).params


def test_layout_names_every_parameter_of_a_layer(family_model):
    family = family_of(family_model.config)
    layer = family_model.get_submodule(f"{family.layers}.0")
    named = {weight.name for weight in present(family.layer_weights, family_model.config)}
    assert named == {name for name, _ in layer.named_parameters()}


def test_unsupported_family_is_refused_with_the_supported_ones():
    with pytest.raises(InputError, match="'gpt2'") as error:
        shape_of(GPT2Config())
    assert all(model_type in str(error.value) for model_type in FAMILIES)
