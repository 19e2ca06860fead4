"""Each criterion against its formula, NVIDIA Model-Optimizer's published values, and plants."""

import copy
import math
from itertools import pairwise

import plain_statistics as plain
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from distillscale.errors import InputError
from distillscale.pruning.criteria import CHANNEL_CRITERIA, LAYER_CRITERIA, ChannelEvidence
from distillscale.pruning.importance import Importance, measure_importance
from distillscale.pruning.statistics import Batch, ChannelSums, reading_norms

INFORMED = [name for name in CHANNEL_CRITERIA if name != "random"]


def measured(model, sequences, **options) -> Importance:
    return measure_importance(model, sequences, pad_id=0, batch_size=5, **options)


def close(scores, expected: Tensor) -> None:
    torch.testing.assert_close(
        torch.tensor(scores, dtype=torch.float64), expected.double(), rtol=1e-5, atol=1e-6
    )


def columns(weight: Tensor) -> Tensor:
    """L2 norm of each column, [inputs]."""
    return weight.detach().double().square().sum(dim=0).sqrt()


# --- against the formulas ------------------------------------------------------------------------

FORMULAS = {
    "mean_absolute": lambda texts, weight: plain.mean_absolute(texts),
    "l2": lambda texts, weight: plain.text_norm(texts),
    "contribution": lambda texts, weight: columns(weight) * plain.mean_absolute(texts),
}
POOLS = {
    "mean_absolute": lambda scores: scores.mean(dim=-1),
    "l2": lambda scores: scores.square().sum(dim=-1).sqrt(),
    "contribution": lambda scores: scores.sum(dim=-1),
}


@pytest.mark.parametrize("criterion", FORMULAS)
def test_mlp_channels(family_model, sequences, criterion):
    scores = measured(family_model, sequences, channel_criterion=criterion, axes=("mlp",)).channels
    for layer, experts in enumerate(plain.mlp_activations(family_model, sequences)):
        mlp = family_model.model.layers[layer].mlp
        for expert, texts in enumerate(experts):
            dense = not hasattr(mlp, "experts")
            weight = mlp.down_proj.weight if dense else mlp.experts.down_proj[expert]
            close(scores[layer][expert], FORMULAS[criterion](texts, weight))


@pytest.mark.parametrize("criterion", FORMULAS)
def test_heads_and_groups(family_model, sequences, criterion):
    scores = measured(
        family_model, sequences, channel_criterion=criterion, axes=("heads", "groups")
    )
    projections = [layer.self_attn.o_proj for layer in family_model.model.layers]
    inputs, _ = plain.seen(family_model, sequences, projections)
    for layer, texts in enumerate(inputs):
        channels = FORMULAS[criterion](texts, projections[layer].weight)
        close(scores.heads[layer], POOLS[criterion](channels.view(2, 2, -1)))
        close(scores.groups[layer], POOLS[criterion](channels.view(2, -1)))


@pytest.mark.parametrize("criterion", FORMULAS)
def test_experts(tiny_model, sequences, criterion):
    model = tiny_model("qwen3_moe")
    scores = measured(model, sequences, channel_criterion=criterion, axes=("experts",)).experts
    for layer, texts in enumerate(plain.routing(model, sequences)):
        experts = model.model.layers[layer].mlp.experts.down_proj
        output = experts.flatten(1).T  # one column an expert
        close(scores[layer], FORMULAS[criterion](texts, output))


READERS = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}


@pytest.mark.parametrize("criterion", FORMULAS)
def test_hidden_channels(tiny_model, sequences, criterion):
    model = tiny_model("qwen3", tie_word_embeddings=False)
    scores = measured(model, sequences, channel_criterion=criterion, axes=("hidden",)).hidden
    norms, weights = [], []
    for layer in model.model.layers:
        for norm, readers in READERS.items():
            norms.append(layer.get_submodule(norm))
            weights.append(torch.cat([layer.get_submodule(name).weight for name in readers]))
    _, outputs = plain.seen(model, sequences, [*norms, model.model.norm])
    weights.append(model.lm_head.weight)
    per_norm = [FORMULAS[criterion](*pair) for pair in zip(outputs, weights, strict=True)]
    close(scores, torch.stack(per_norm).mean(dim=0))


@pytest.mark.parametrize("criterion", FORMULAS)
def test_hidden_channels_of_every_family(family_model, sequences, criterion):
    scores = measured(family_model, sequences, channel_criterion=criterion, axes=("hidden",)).hidden
    modules = [family_model.get_submodule(path) for path in reading_norms(family_model.config)]
    if criterion != "contribution":
        _, outputs = plain.seen(family_model, sequences, modules)
        per_norm = [FORMULAS[criterion](texts, None) for texts in outputs]
        close(scores, torch.stack(per_norm).mean(dim=0))
    assert len(scores) == 32


def test_magnitude_of_channels_heads_and_groups(tiny_model, sequences):
    model = tiny_model("llama", attention_bias=True, mlp_bias=True)
    scores = measured(model, sequences, channel_criterion="magnitude")
    for number, layer in enumerate(model.model.layers):
        gate, up, down = layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj
        rows = torch.cat([gate.weight.T, up.weight.T, gate.bias[None], up.bias[None], down.weight])
        close(scores.channels[number][0], columns(rows))
        attention = layer.self_attn
        query = torch.cat(
            [attention.q_proj.weight.T, attention.q_proj.bias[None], attention.o_proj.weight]
        )
        per_head = columns(query).view(2, 2, -1).norm(dim=-1)
        close(scores.heads[number], per_head)
        shared = [attention.k_proj, attention.v_proj]
        rows = torch.cat([torch.cat([p.weight.T, p.bias[None]]) for p in shared])
        per_group = torch.cat([per_head, columns(rows).view(2, -1)], dim=-1).norm(dim=-1)
        close(scores.groups[number], per_group)


@pytest.mark.parametrize("tied", [True, False])
def test_magnitude_of_hidden_channels_and_layers(tiny_model, sequences, tied):
    model = tiny_model("qwen3", tie_word_embeddings=tied)
    scores = measured(model, sequences, channel_criterion="magnitude", layer_criterion="magnitude")
    squares = torch.zeros(32, dtype=torch.float64)
    for name, parameter in model.named_parameters():  # a tied head is named once
        if "q_norm" not in name and "k_norm" not in name:
            rows = (
                parameter.T if name.endswith(("o_proj.weight", "down_proj.weight")) else parameter
            )
            squares += columns(rows.reshape(-1, 32)).square()
    close(scores.hidden, squares.sqrt())
    layers = [
        math.sqrt(sum(p.double().square().sum().item() for p in layer.parameters()))
        for layer in model.model.layers
    ]
    assert scores.layers == pytest.approx(layers)


def test_magnitude_reads_fused_and_expert_weights(tiny_model, sequences):
    fused = tiny_model("phi3")
    scores = measured(fused, sequences, channel_criterion="magnitude")
    attention, mlp = fused.model.layers[1].self_attn, fused.model.layers[1].mlp
    gate, up = mlp.gate_up_proj.weight.chunk(2)
    close(scores.channels[1][0], columns(torch.cat([gate.T, up.T, mlp.down_proj.weight])))
    query, key, value = attention.qkv_proj.weight.split([32, 16, 16])
    heads = columns(torch.cat([query.T, attention.o_proj.weight])).view(2, 2, -1).norm(dim=-1)
    close(scores.heads[1], heads)
    shared = columns(torch.cat([key.T, value.T])).view(2, -1)
    close(scores.groups[1], torch.cat([heads, shared], dim=-1).norm(dim=-1))
    mixture = tiny_model("qwen3_moe")
    scores = measured(mixture, sequences, channel_criterion="magnitude")
    mlp = mixture.model.layers[2].mlp
    for expert in range(4):
        gate, up = mlp.experts.gate_up_proj[expert].chunk(2)
        down = mlp.experts.down_proj[expert]
        close(scores.channels[2][expert], columns(torch.cat([gate.T, up.T, down])))
        everything = torch.cat([gate.flatten(), up.flatten(), down.flatten()])
        everything = torch.cat([everything, mlp.gate.weight[expert]])
        assert scores.experts[2][expert] == pytest.approx(everything.norm().item())


def test_layers(family_model, sequences):
    stream = plain.hidden_stream(family_model, sequences)
    pairs = list(pairwise(stream))
    turns = [1 - torch.cosine_similarity(a, b, dim=-1).mean() for a, b in pairs]
    close(measured(family_model, sequences, axes=("depth",)).layers, torch.stack(turns))
    angular = measured(family_model, sequences, axes=("depth",), layer_criterion="angular_distance")
    assert angular.layers == pytest.approx([plain.angle(a, b) for a, b in pairs], abs=1e-6)
    assert angular.blocks is not None
    assert angular.blocks[0] == angular.layers
    twos = [plain.angle(a, b) for a, b in zip(stream, stream[2:], strict=False)]
    assert angular.blocks[1] == pytest.approx(twos, abs=1e-6)
    assert angular.blocks[2] == pytest.approx([plain.angle(stream[0], stream[3])], abs=1e-6)


def without(model, layer: int):
    """The model without one layer."""
    smaller = copy.deepcopy(model)
    del smaller.model.layers[layer]
    smaller.config.num_hidden_layers -= 1
    if getattr(smaller.config, "layer_types", None):
        del smaller.config.layer_types[layer]
    return smaller


@torch.no_grad()
def loss_of(model, sequences) -> float:
    """Mean next-token loss over all tokens, text by text."""
    total = sum(
        functional.cross_entropy(
            model(torch.tensor([sequence]), use_cache=False).logits[0, :-1].double(),
            torch.tensor(sequence[1:]),
            reduction="sum",
        ).item()
        for sequence in sequences
        if len(sequence) > 1
    )
    return total / sum(len(sequence) - 1 for sequence in sequences)


def test_perplexity_is_the_loss_of_the_model_without_the_layer(family_model, sequences):
    scores = measured(family_model, sequences, axes=("depth",), layer_criterion="perplexity").layers
    expected = [loss_of(without(family_model, layer), sequences) for layer in range(3)]
    assert scores == pytest.approx(expected, rel=1e-5)


def test_perplexity_needs_something_to_predict(tiny_model):
    with pytest.raises(InputError, match="next token"):
        measured(tiny_model(), [(1,), (2,)], layer_criterion="perplexity")


# --- NVIDIA Model-Optimizer's published values ----------------------------------------------------
# Repository NVIDIA/Model-Optimizer at commit a2fbac7, tests/gpu/torch/prune/importance_hooks/:
# test_base_hooks.py (test_l2_norm_hook) and test_base_hooks_analysis.py. Its activations are
# sequence first, [length, texts, channels].


def sums_of(activations: list[Tensor]) -> ChannelSums:
    """Our sums of their activations."""
    sums = ChannelSums((), activations[0].shape[-1], torch.device("cpu"))
    for values in activations:
        texts_first = values.transpose(0, 1)
        batch = Batch.of(torch.ones(texts_first.shape[:2]))
        sums.add((), batch.text_sums(texts_first), batch)
    return sums


def evidence_of(sums: ChannelSums, tokens: int, projection: nn.Linear) -> ChannelEvidence:
    return ChannelEvidence(
        mean_absolute=lambda: sums.absolute / tokens,
        text_norm=sums.text_norm,
        reader_norm=lambda: columns(projection.weight),
        weight_norm=lambda: columns(projection.weight),
        random=lambda: torch.rand(projection.in_features),
    )


def test_l2_equals_the_published_scores_of_model_optimizer():
    torch.manual_seed(42)
    projection = nn.Linear(6, 4, bias=False)
    activations = [torch.randn(2, 3, 6) for _ in range(3)]
    evidence = evidence_of(sums_of(activations), 18, projection)
    published = [3.2030, 2.5018, 2.5272, 1.9222, 2.6204, 2.2623]
    assert CHANNEL_CRITERIA["l2"].score(evidence).tolist() == pytest.approx(published, abs=1e-4)


@pytest.mark.parametrize(
    ("criterion", "error", "cosine"),
    [("l2", 0.3616334, 0.7814186), ("contribution", 0.3385471, 0.8116209)],
)
def test_pruning_by_score_loses_what_model_optimizer_published(criterion, error, cosine):
    """The 20 of 50 channels of least score set to 0: error and cosine of the output."""
    torch.manual_seed(42)
    projection = nn.Linear(50, 30, bias=False)
    activations = [torch.randn(16, 8, 50) for _ in range(1000)]
    scores = CHANNEL_CRITERIA[criterion].score(
        evidence_of(sums_of(activations), 128_000, projection)
    )
    kept = torch.ones(50).index_fill(0, scores.argsort()[:20], 0)
    with torch.no_grad():
        pairs = [(projection(values), projection(values * kept)) for values in activations]
    errors = [(whole - pruned).square().mean().sqrt() for whole, pruned in pairs]
    cosines = [
        torch.cosine_similarity(whole.flatten(), pruned.flatten(), dim=0) for whole, pruned in pairs
    ]
    assert torch.stack(errors).mean().item() == pytest.approx(error, rel=1e-5)
    assert torch.stack(cosines).mean().item() == pytest.approx(cosine, rel=1e-5)


# --- planted structures ---------------------------------------------------------------------------


def best(scores) -> int:
    return max(range(len(scores)), key=scores.__getitem__)


@torch.no_grad()
def scale_mlp_channel(model, layer: int, channel: int) -> None:
    mlp = model.model.layers[layer].mlp
    if hasattr(mlp, "experts"):
        mlp.experts.gate_up_proj[:, 24 + channel] *= 50
    elif hasattr(mlp, "gate_up_proj"):
        mlp.gate_up_proj.weight[24 + channel] *= 50
    else:
        mlp.up_proj.weight[channel] *= 50


@torch.no_grad()
def scale_values(model, layer: int, group: int) -> None:
    attention = model.model.layers[layer].self_attn
    if hasattr(attention, "qkv_proj"):
        values = attention.qkv_proj.weight[48:]
    else:
        values = attention.v_proj.weight
    width = len(values) // 2
    values[group * width : (group + 1) * width] *= 50


@pytest.mark.parametrize("criterion", INFORMED)
def test_planted_channel_and_group_come_first(family_model, sequences, criterion):
    scale_mlp_channel(family_model, 1, 17)
    scale_values(family_model, 2, 1)
    axes = ("mlp", "groups")
    scores = measured(family_model, sequences, channel_criterion=criterion, axes=axes)
    assert [best(expert) for expert in scores.channels[1]] == [17] * len(scores.channels[1])
    assert best(scores.groups[2]) == 1


@pytest.mark.parametrize("criterion", INFORMED)
def test_planted_hidden_channel_comes_first(family_model, sequences, criterion):
    with torch.no_grad():
        family_model.model.embed_tokens.weight[:, 9] *= 20
    scores = measured(family_model, sequences, channel_criterion=criterion, axes=("hidden",))
    assert best(scores.hidden) == 9


@pytest.mark.parametrize("criterion", INFORMED)
def test_planted_head_comes_first_in_its_group(tiny_model, sequences, criterion):
    # A head that looks at single tokens hands on whole values, one that averages cancels them.
    model = tiny_model("llama")
    attention = model.model.layers[1].self_attn
    with torch.no_grad():
        attention.q_proj.weight.mul_(0.01)
        attention.q_proj.weight[8:16] *= 1e4  # head 1 of group 0
        attention.q_proj.weight[16:24] *= 1e4  # head 0 of group 1
        attention.o_proj.weight[:, 8:24] *= 2
    scores = measured(model, sequences, channel_criterion=criterion, axes=("heads",))
    assert [best(group) for group in scores.heads[1]] == [1, 0]


@pytest.mark.parametrize("criterion", INFORMED)
def test_planted_expert_comes_first(tiny_model, sequences, criterion):
    model = tiny_model("qwen3_moe")
    with torch.no_grad():
        model.model.layers[0].mlp.gate.weight[2] *= 20  # outbids the others, or is not chosen
        model.model.layers[0].mlp.experts.down_proj[2] *= 5
    scores = measured(model, sequences, channel_criterion=criterion, axes=("experts",))
    assert best(scores.experts[0]) == 2


@pytest.mark.parametrize("criterion", ["block_influence", "angular_distance", "magnitude"])
def test_planted_layer_comes_first_and_identity_last(tiny_model, sequences, criterion):
    model = tiny_model()
    with torch.no_grad():
        for projection in (
            model.model.layers[1].self_attn.o_proj,
            model.model.layers[1].mlp.down_proj,
        ):
            projection.weight *= 30
        for projection in (
            model.model.layers[2].self_attn.o_proj,
            model.model.layers[2].mlp.down_proj,
        ):
            projection.weight.zero_()
    scores = measured(model, sequences, layer_criterion=criterion, axes=("depth",))
    assert best(scores.layers) == 1
    assert best([-score for score in scores.layers]) == 2
    if criterion != "magnitude":
        assert scores.layers[2] == pytest.approx(0, abs=1e-6)


def test_only_layer_that_learned_matters_most_to_perplexity(tiny_model, sequences):
    model = tiny_model()
    for layer in (model.model.layers[0], model.model.layers[2]):
        nn.init.zeros_(layer.self_attn.o_proj.weight)
        nn.init.zeros_(layer.mlp.down_proj.weight)
    optimizer = torch.optim.Adam(model.model.layers[1].parameters(), lr=0.01)
    ids = torch.tensor([sequences[-1]])
    for _ in range(10):
        optimizer.zero_grad()
        model(ids, labels=ids).loss.backward()
        optimizer.step()
    scores = measured(model, sequences[-1:], layer_criterion="perplexity", axes=("depth",))
    assert best(scores.layers) == 1
    whole = loss_of(model, sequences[-1:])
    assert scores.layers[0] == pytest.approx(whole)  # identity layers are not missed
    assert scores.layers[2] == pytest.approx(whole)


# --- random ---------------------------------------------------------------------------------------


def test_random_scores_follow_the_seed_alone(tiny_model, sequences):
    options = {"layer_criterion": "random", "channel_criterion": "random"}
    model = tiny_model("qwen3_moe")
    first = measured(model, sequences, **options, seed=3)
    assert measured(model, sequences[:2], **options, seed=3).channels == first.channels
    assert measured(model, sequences, **options, seed=3) == first
    other = measured(model, sequences, **options, seed=4)
    for name in ("layers", "channels", "groups", "heads", "experts", "hidden"):
        assert getattr(other, name) != getattr(first, name)
    assert measured(model, sequences, **options, seed=3, axes=("heads",)).heads == first.heads


def test_random_draws_leave_the_global_generator_alone(tiny_model, sequences):
    before = torch.get_rng_state()
    model = tiny_model()
    state = torch.get_rng_state()
    measured(model, sequences, layer_criterion="random", channel_criterion="random")
    assert torch.equal(torch.get_rng_state(), state)
    torch.set_rng_state(before)


def test_every_criterion_gives_scores_to_every_axis(tiny_model, sequences):
    model = tiny_model("qwen3_moe")
    for name in CHANNEL_CRITERIA:
        scores = measured(model, sequences, channel_criterion=name)
        assert len(scores.channels) == len(scores.groups) == len(scores.heads) == 3
        assert [len(expert) for expert in scores.channels[0]] == [24] * 4
        assert [len(group) for group in scores.heads[0]] == [2, 2]
        assert len(scores.experts[0]) == 4
        assert len(scores.hidden) == 32
    for name in LAYER_CRITERIA:
        assert len(measured(model, sequences, layer_criterion=name).layers) == 3
