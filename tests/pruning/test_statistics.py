import gc

import plain_statistics as plain
import pytest
import torch
from torch import Tensor

from distillscale.models.batches import pad
from distillscale.pruning.families import family_of
from distillscale.pruning.statistics import (
    Batch,
    ChannelSums,
    Statistics,
    collect,
    reading_norms,
)

ALL = ("turns", "angles", "mlp", "attention", "norms", "norm_energy")


def close(measured: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(measured, expected.double(), rtol=tolerance, atol=1e-6)


def assert_sums(sums: ChannelSums, place, texts: list[Tensor]) -> None:
    """Compare with the activations of each text, [tokens, channels]."""
    close(sums.absolute[place], torch.cat(texts).abs().sum(dim=0))
    close(sums.text_norm()[place], plain.text_norm(texts))


def test_turns_and_angles_of_the_hidden_stream(family_model, sequences):
    statistics = collect(family_model, sequences, 0, 5, ("turns", "angles"))
    stream = plain.hidden_stream(family_model, sequences)
    tokens = len(stream[0])
    for layer in range(3):
        cosine = torch.cosine_similarity(stream[layer], stream[layer + 1], dim=-1)
        assert statistics.turns[layer].item() == pytest.approx((1 - cosine).sum().item(), rel=1e-5)
    for i in range(4):
        for j in range(4):
            expected = plain.angle(stream[i], stream[j])
            assert statistics.angles[i, j].item() / tokens == pytest.approx(expected, abs=1e-6)


def test_sums_of_mlp_channels(family_model, sequences):
    statistics = collect(family_model, sequences, 0, 5, ("mlp",))
    for layer, experts in enumerate(plain.mlp_activations(family_model, sequences)):
        for expert, texts in enumerate(experts):
            assert_sums(statistics.channels["mlp"], (layer, expert), texts)


def test_sums_of_attention_channels(family_model, sequences):
    statistics = collect(family_model, sequences, 0, 5, ("attention",))
    projections = [layer.self_attn.o_proj for layer in family_model.model.layers]
    inputs, _ = plain.seen(family_model, sequences, projections)
    for layer, texts in enumerate(inputs):
        assert_sums(statistics.channels["attention"], layer, texts)


@pytest.mark.parametrize("normalized", [True, False])
def test_sums_of_routing_weights(tiny_model, sequences, normalized):
    model = tiny_model("qwen3_moe", norm_topk_prob=normalized)
    statistics = collect(model, sequences, 0, 5, ("routing",))
    for layer, texts in enumerate(plain.routing(model, sequences)):
        assert_sums(statistics.channels["routing"], layer, texts)
    if normalized:  # the weights of a token sum to 1
        per_layer = statistics.channels["routing"].absolute.sum(dim=-1)
        assert per_layer.tolist() == pytest.approx([statistics.tokens] * 3)


def test_expert_that_no_token_reaches_has_zeros(tiny_model, sequences):
    model = tiny_model("qwen3_moe", num_experts_per_tok=1)
    with torch.no_grad():
        model.model.layers[1].mlp.gate.weight[2:] = 0  # loses against one of an opposite pair
        model.model.layers[1].mlp.gate.weight[1] = -model.model.layers[1].mlp.gate.weight[0]
    statistics = collect(model, sequences, 0, 5, ("mlp", "routing"))
    assert statistics.channels["routing"].absolute[1, 2:].tolist() == [0, 0]
    assert statistics.channels["mlp"].absolute[1, 2:].abs().max() == 0
    assert statistics.channels["mlp"].absolute[1, :2].min() > 0


def test_sums_behind_the_norms_that_projections_read(family_model, sequences):
    statistics = collect(family_model, sequences, 0, 5, ("norms",))
    paths = reading_norms(family_model.config)
    _, outputs = plain.seen(family_model, sequences, [family_model.get_submodule(p) for p in paths])
    for norm, texts in enumerate(outputs):
        assert_sums(statistics.channels["norms"], norm, texts)


def test_reading_norms_stand_before_projections(tiny_model):
    gemma = [path.split(".")[-1] for path in reading_norms(tiny_model("gemma2").config)]
    assert gemma == ["input_layernorm", "pre_feedforward_layernorm"] * 3 + ["norm"]
    llama = [path.split(".")[-1] for path in reading_norms(tiny_model("llama").config)]
    assert llama == ["input_layernorm", "post_attention_layernorm"] * 3 + ["norm"]


def test_energy_at_the_input_of_every_norm(family_model, sequences):
    statistics = collect(family_model, sequences, 0, 5, ("norm_energy",))
    wide = {
        name: module
        for name, module in family_model.named_modules()
        if "Norm" in type(module).__name__ and module.weight.shape == (32,)  # not of queries, keys
    }
    paths = family_of(family_model.config).norm_paths(range(3))
    assert set(paths) == set(wide)
    inputs, _ = plain.seen(family_model, sequences, [wide[path] for path in paths])
    expected = []
    for texts in inputs:
        squares = torch.cat(texts).square()
        expected.append((squares / squares.sum(dim=-1, keepdim=True)).sum(dim=0))
    close(statistics.norm_energy, torch.stack(expected))
    close(statistics.norm_energy.sum(dim=-1), torch.full((len(wide),), statistics.tokens))


def test_token_without_energy_favours_no_channel(tiny_model):
    statistics = Statistics(tiny_model().config, ("norm_energy",), torch.device("cpu"))
    statistics.start_batch(torch.tensor([[1, 1, 0]]))
    statistics.add_norm_energy(2, torch.zeros(1, 3, 32).index_fill(1, torch.tensor([2]), 1e6))
    assert statistics.norm_energy[2].tolist() == [2 / 32] * 32


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_padding_and_batching_change_nothing(family_model, sequences, batch_size):
    wanted = (*ALL, "routing") if hasattr(family_model.model.layers[0].mlp, "experts") else ALL
    alone = collect(family_model, sequences, 0, 1, wanted)
    batched = collect(family_model, sequences, 7, batch_size, wanted)
    assert batched.tokens == alone.tokens
    for name in ("turns", "angles", "norm_energy"):
        close(getattr(batched, name), getattr(alone, name))
    for name, sums in batched.channels.items():
        close(sums.absolute, alone.channels[name].absolute)
        close(sums.text_squares, alone.channels[name].text_squares)


def test_only_what_is_wanted_is_collected(tiny_model, sequences):
    statistics = collect(tiny_model(), sequences, 0, 5, ("attention",))
    assert set(statistics.channels) == {"attention"}
    assert not statistics.turns.any()
    assert not statistics.angles.any()
    assert not statistics.norm_energy.any()


def test_nothing_grows_with_the_number_of_texts(tiny_model):
    """Numbers held in tensors when each batch starts: the same from the second batch on."""
    model = tiny_model("qwen3_moe")
    held = []

    def count(_module, _inputs):
        tensors = [o for o in gc.get_objects() if issubclass(type(o), torch.Tensor)]
        held.append(sum(tensor.numel() for tensor in tensors))

    handle = model.model.register_forward_pre_hook(count)
    collect(model, [(1, 2, 3, 4)] * 24, 0, 4, (*ALL, "routing"))
    handle.remove()
    assert len(held) == 6
    assert set(held[1:]) == {held[1]}


def test_small_batches_still_count_after_large_ones():
    # In fp32 1 is lost when added to 2^26.
    sums = ChannelSums((1,), 1, torch.device("cpu"))
    batch = Batch.of(torch.ones(1, 1))
    for value in (2.0**26, *[1.0] * 100):
        sums.add(0, torch.tensor([[value]]), batch)
    assert sums.absolute.item() == 2**26 + 100
    assert sums.text_squares.item() == 2**52 + 100


def test_padding_is_no_part_of_a_text():
    _, mask = pad([(1, 2, 3), (1,)], 0)
    values = torch.tensor([[[1.0], [-2.0], [3.0]], [[-4.0], [100.0], [100.0]]])
    batch = Batch.of(mask)
    assert batch.text_sums(values).tolist() == [[6.0], [4.0]]
    assert batch.lengths.tolist() == [3, 1]
    assert values[1, 1] == 100  # the model's own tensor is not touched
