from dataclasses import astuple

import pytest
import torch

from distillscale.errors import DistillscaleError, InputError
from distillscale.pruning.families import family_of
from distillscale.pruning.importance import Importance, measure_importance
from distillscale.pruning.shape import shape_of

AXES = ("depth", "mlp", "heads", "groups", "hidden")
FIELDS = {
    "depth": "layers",
    "mlp": "channels",
    "heads": "heads",
    "groups": "groups",
    "hidden": "hidden",
    "experts": "experts",
}


def numbers(scores) -> list[float]:
    """All numbers in nested tuples and dictionaries, in order."""
    if scores is None:
        return []
    if isinstance(scores, dict):
        scores = list(scores.values())
    if isinstance(scores, list | tuple):
        return [number for part in scores for number in numbers(part)]
    return [scores]


def assert_close(measured: Importance, expected: Importance) -> None:
    assert measured.norm_energy.keys() == expected.norm_energy.keys()
    found, wanted = numbers(astuple(measured)), numbers(astuple(expected))
    assert len(found) == len(wanted)
    assert found == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def assert_untouched(model) -> None:
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert "forward" not in vars(module)


def test_scores_have_the_shape_of_the_model(family_model, sequences):
    scores = measure_importance(family_model, sequences, pad_id=0, batch_size=5)
    shape = shape_of(family_model.config)
    assert len(scores.layers) == shape.layers
    assert {len(e) for e in scores.channels} == {shape.experts}
    assert {len(c) for e in scores.channels for c in e} == {shape.mlp}
    assert {len(g) for g in scores.groups} == {shape.groups}
    assert {len(h) for g in scores.heads for h in g} == {shape.heads}
    assert len(scores.hidden) == shape.hidden
    assert set(scores.norm_energy) == set(family_of(family_model.config).norm_paths(range(3)))
    assert [sum(energy) for energy in scores.norm_energy.values()] == pytest.approx(
        [1] * len(scores.norm_energy)
    )
    assert scores.tokens == sum(len(sequence) for sequence in sequences)
    assert scores.blocks is None
    assert len(scores.experts) == (shape.layers if shape.experts > 1 else 0)


@pytest.mark.parametrize("batch_size", [1, 5, 100])
@pytest.mark.parametrize(
    ("layer_criterion", "channel_criterion"),
    [("block_influence", "mean_absolute"), ("angular_distance", "l2"), ("perplexity", "l2")],
)
def test_padding_and_batching_change_nothing(
    family_model, sequences, batch_size, layer_criterion, channel_criterion
):
    options = {"layer_criterion": layer_criterion, "channel_criterion": channel_criterion}
    unpadded = measure_importance(family_model, sequences, pad_id=0, batch_size=1, **options)
    measured = measure_importance(
        family_model, sequences, pad_id=7, batch_size=batch_size, **options
    )
    assert_close(measured, unpadded)


@pytest.mark.parametrize("layer_criterion", ["block_influence", "angular_distance", "perplexity"])
def test_outlandish_padding_stays_out_of_the_scores(tiny_model, sequences, layer_criterion):
    model = tiny_model(tie_word_embeddings=False)
    options = {"batch_size": 12, "layer_criterion": layer_criterion}
    clean = measure_importance(model, sequences, pad_id=1, **options)
    with torch.no_grad():
        model.model.embed_tokens.weight[0] = 1e4
    assert measure_importance(model, sequences, pad_id=0, **options) == clean


@pytest.mark.parametrize("axis", FIELDS)
def test_only_the_axes_asked_for_are_scored(tiny_model, sequences, axis):
    model = tiny_model("qwen3_moe")
    whole = measure_importance(model, sequences, pad_id=0, batch_size=4)
    scores = measure_importance(model, sequences, pad_id=0, batch_size=4, axes=(axis,))
    for name, field in FIELDS.items():
        assert getattr(scores, field) == (getattr(whole, field) if name == axis else ())
    assert scores.norm_energy == (whole.norm_energy if axis == "hidden" else {})
    assert scores.tokens == whole.tokens


def test_identity_layer_and_silent_structures_have_no_importance(tiny_model, sequences):
    model = tiny_model()
    layers = model.model.layers
    with torch.no_grad():
        layers[1].self_attn.o_proj.weight.zero_()
        layers[1].mlp.down_proj.weight.zero_()
        layers[2].mlp.up_proj.weight[5] = 0
        layers[2].self_attn.v_proj.weight[16:] = 0  # group 1
        model.model.embed_tokens.weight[:, 3] = 0
        for layer in layers:
            layer.self_attn.o_proj.weight[3] = 0
            layer.mlp.down_proj.weight[3] = 0
    measured = measure_importance(model, sequences, pad_id=0, batch_size=4)
    assert measured.layers[1] == pytest.approx(0, abs=1e-6)
    assert min(measured.layers[0], measured.layers[2]) > 0.01
    assert measured.channels[2][0][5] == 0
    assert measured.groups[2][1] == 0
    assert measured.heads[2][1] == (0, 0)
    assert measured.hidden[3] == 0
    assert {energy[3] for energy in measured.norm_energy.values()} == {0}


@pytest.mark.parametrize("layer_criterion", ["angular_distance", "perplexity"])
def test_model_is_left_as_it_was(tiny_model, sequences, layer_criterion):
    model = tiny_model(attention_dropout=0.5).train()
    first = measure_importance(model, sequences, 0, 4, layer_criterion=layer_criterion)
    again = measure_importance(model, sequences, 0, 4, layer_criterion=layer_criterion)
    assert again == first  # no dropout
    assert model.training
    assert_untouched(model)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("layer_criterion", ["angular_distance", "perplexity"])
def test_hooks_go_even_when_the_pass_fails(tiny_model, layer_criterion):
    model = tiny_model().train()
    with pytest.raises(IndexError):
        measure_importance(model, [(1, 2, 100_000)], 0, 4, layer_criterion=layer_criterion)
    assert_untouched(model)
    assert model.training


def test_layers_are_put_back_when_a_pass_without_some_fails(tiny_model, sequences):
    model = tiny_model()
    calls = []

    def fail_late(_module, _inputs):
        calls.append(None)
        if len(calls) == 3:
            raise RuntimeError("late")

    handle = model.model.norm.register_forward_pre_hook(fail_late)
    with pytest.raises(RuntimeError, match="late"):
        measure_importance(model, sequences, 0, 100, axes=("depth",), layer_criterion="perplexity")
    handle.remove()
    assert_untouched(model)


def test_low_precision_models_are_scored_in_fp32(tiny_model, sequences):
    exact = measure_importance(tiny_model(), sequences, pad_id=0, batch_size=4)
    rough = measure_importance(tiny_model(dtype="bfloat16"), sequences, pad_id=0, batch_size=4)
    assert rough.layers == pytest.approx(exact.layers, rel=0.05)
    assert rough.hidden == pytest.approx(exact.hidden, rel=0.05)


@pytest.mark.parametrize("bad", [[], [()], [(1, 2), ()]])
def test_calibration_without_tokens_is_refused(tiny_model, bad):
    with pytest.raises(InputError, match="calibration"):
        measure_importance(tiny_model(), bad, pad_id=0, batch_size=4)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"layer_criterion": "taylor"}, "layer_criterion 'taylor' is not known; .*perplexity"),
        ({"channel_criterion": "fisher"}, "channel_criterion 'fisher' is not known; .*l2"),
        ({"axes": ("depth", "width")}, "no 'width' to score; it has depth, mlp"),
        ({"axes": ("experts",)}, "a qwen3 model has no 'experts'"),
    ],
)
def test_unknown_criteria_and_axes_are_refused(tiny_model, sequences, options, named):
    with pytest.raises(InputError, match=named):
        measure_importance(tiny_model(), sequences, pad_id=0, batch_size=4, **options)


@pytest.mark.parametrize("axis", AXES)
def test_activations_that_are_not_finite_are_refused(tiny_model, sequences, axis):
    model = tiny_model()
    with torch.no_grad():
        model.model.layers[1].self_attn.v_proj.weight[0] = torch.nan
    named = "Some layer" if axis == "hidden" else "Layer 1"
    with pytest.raises(DistillscaleError, match=f"{named} of the model .* not finite"):
        measure_importance(model, sequences, pad_id=0, batch_size=4, axes=(axis,))


def test_kept_layers_are_those_of_highest_scores():
    importance = Importance(layers=(0.3, 0.1, 0.3, 0.9))
    assert importance.kept_layers(4) == (0, 1, 2, 3)
    assert importance.kept_layers(3) == (0, 2, 3)
    assert importance.kept_layers(2) == (0, 3)  # of equal ones the earlier
    assert importance.kept_layers(1) == (3,)


def test_kept_layers_leave_out_the_flattest_block():
    blocks = ((0.4, 0.1, 0.3, 0.2), (0.5, 0.6, 0.35), (0.7, 0.6), (0.9,))
    importance = Importance(layers=blocks[0], blocks=blocks)
    assert importance.kept_layers(4) == (0, 1, 2, 3)
    assert importance.kept_layers(3) == (0, 2, 3)
    assert importance.kept_layers(2) == (0, 1)  # not what the single layers' scores say
    assert importance.kept_layers(1) == (0,)


def test_all_layers_stay_where_they_were_not_scored():
    assert Importance().kept_layers(3) == (0, 1, 2)


@pytest.mark.parametrize("count", [0, 3])
def test_impossible_numbers_of_layers_are_refused(count):
    with pytest.raises(InputError, match=f"{count} layers cannot stay of 2"):
        Importance(layers=(1.0, 2.0)).kept_layers(count)
