import pytest
import torch
from torch.nn import functional

from distillscale.errors import DistillscaleError, InputError
from distillscale.models.batches import pad
from distillscale.pruning.importance import Importance, measure_importance


def naive_importance(model, sequences) -> tuple[list[float], list[list[float]]]:
    """Token by token, from the definitions, on one padded batch."""
    ids, mask = pad(sequences, 0)
    places = [(row, t) for row, sequence in enumerate(sequences) for t in range(len(sequence))]
    blocks = list(model.model.layers)
    followers = [*blocks[1:], model.model.norm]
    layers, channels = [], []
    with torch.no_grad():
        for block, follower in zip(blocks, followers, strict=True):
            h_in, h_out = entering(model, block, ids, mask), entering(model, follower, ids, mask)
            h_mlp = entering(model, block.mlp, ids, mask)
            influence, activation = 0.0, torch.zeros(model.config.intermediate_size)
            for row, t in places:
                cosine = functional.cosine_similarity(h_in[row, t], h_out[row, t], dim=0)
                influence += 1 - cosine.item()
                gate, up = block.mlp.gate_proj(h_mlp[row, t]), block.mlp.up_proj(h_mlp[row, t])
                activation += (functional.silu(gate) * up).abs()
            layers.append(influence / len(places))
            channels.append((activation / len(places)).tolist())
    return layers, channels


def entering(model, module, ids, mask) -> torch.Tensor:
    """The hidden states that a module receives."""
    seen = []
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.model(ids, attention_mask=mask)
    handle.remove()
    return seen[0]


def assert_close(measured: Importance, layers, channels, tolerance: float = 1e-5) -> None:
    assert measured.layers == pytest.approx(layers, rel=tolerance, abs=1e-6)
    for row, expected in zip(measured.channels, channels, strict=True):
        assert row == pytest.approx(expected, rel=tolerance, abs=1e-6)


def test_scores_equal_a_token_by_token_reference(family_model, sequences):
    measured = measure_importance(family_model, sequences, pad_id=0, batch_size=5)
    assert_close(measured, *naive_importance(family_model, sequences))
    assert measured.tokens == sum(len(sequence) for sequence in sequences)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_padding_and_batching_change_nothing(tiny_model, sequences, batch_size):
    model = tiny_model()
    unpadded = measure_importance(model, sequences, pad_id=0, batch_size=1)
    measured = measure_importance(model, sequences, pad_id=7, batch_size=batch_size)
    assert_close(measured, unpadded.layers, unpadded.channels)


def test_outlandish_padding_stays_out_of_the_scores(tiny_model, sequences):
    model = tiny_model()
    clean = measure_importance(model, sequences, pad_id=1, batch_size=12)
    with torch.no_grad():
        model.model.embed_tokens.weight[0] = 1e4
    assert measure_importance(model, sequences, pad_id=0, batch_size=12) == clean


def test_identity_layer_has_no_influence_and_silent_channel_no_importance(tiny_model, sequences):
    model = tiny_model()
    with torch.no_grad():
        model.model.layers[1].self_attn.o_proj.weight.zero_()
        model.model.layers[1].mlp.down_proj.weight.zero_()
        model.model.layers[2].mlp.up_proj.weight[5] = 0
    measured = measure_importance(model, sequences, pad_id=0, batch_size=4)
    assert measured.layers[1] == pytest.approx(0, abs=1e-6)
    assert min(measured.layers[0], measured.layers[2]) > 0.01
    assert measured.channels[2][5] == 0


def test_model_is_left_as_it_was(tiny_model, sequences):
    model = tiny_model(attention_dropout=0.5).train()
    first = measure_importance(model, sequences, pad_id=0, batch_size=4)
    assert measure_importance(model, sequences, pad_id=0, batch_size=4) == first  # no dropout
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_hooks_go_even_when_the_pass_fails(tiny_model):
    model = tiny_model()
    with pytest.raises(IndexError):
        measure_importance(model, [(1, 2, 100_000)], pad_id=0, batch_size=4)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_low_precision_models_are_scored_in_fp32(tiny_model, sequences):
    exact = measure_importance(tiny_model(), sequences, pad_id=0, batch_size=4)
    rough = measure_importance(tiny_model(dtype="bfloat16"), sequences, pad_id=0, batch_size=4)
    assert rough.layers == pytest.approx(exact.layers, rel=0.05)


@pytest.mark.parametrize("bad", [[], [()], [(1, 2), ()]])
def test_calibration_without_tokens_is_refused(tiny_model, bad):
    with pytest.raises(InputError, match="calibration"):
        measure_importance(tiny_model(), bad, pad_id=0, batch_size=4)


def test_activations_that_are_not_finite_are_named(tiny_model, sequences):
    model = tiny_model()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0] = torch.nan
    with pytest.raises(DistillscaleError, match="Layer 1"):
        measure_importance(model, sequences, pad_id=0, batch_size=4)
