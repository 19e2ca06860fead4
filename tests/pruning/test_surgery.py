import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_plans import composed, positive_channel, random_plan, silence
from safetensors import safe_open
from transformers import PreTrainedModel

from distillscale.errors import InputError
from distillscale.models.size import model_size
from distillscale.pruning.families import FAMILIES, family_of
from distillscale.pruning.plan import PruningPlan
from distillscale.pruning.shape import Shape, shape_of
from distillscale.pruning.surgery import apply_plan, pruned_config

IDS = torch.randint(1, 100, (4, 8), generator=torch.Generator().manual_seed(2))

CUTS = {
    "depth": {"layers": 2},
    "mlp": {"mlp": 32},
    "heads": {"heads": 1},
    "groups": {"groups": 2},
}
"""A cut along each axis of a `LARGE` model."""

LARGE = {
    "hidden_size": 48,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "intermediate_size": 64,
    "rms_norm_eps": 1e-6,
}
LARGE_MIXTURE = {"moe_intermediate_size": 64, "num_experts": 6}

BUT_HIDDEN = {"layers": 2, "mlp": 32, "heads": 1, "groups": 2}

Lively = Callable[..., PreTrainedModel]


@pytest.fixture
def lively_model(tiny_model) -> Lively:
    """Build a LARGE model in which no weight is trivial and the residual's mean square is near 1.

    At that scale the norms' epsilon is small against the rounding of fp32.
    """

    def build(model_type: str, **changes) -> PreTrainedModel:
        sizes = LARGE | (LARGE_MIXTURE if model_type == "qwen3_moe" else {})
        model = tiny_model(model_type, **(sizes | changes))
        draw = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "norm" in name or name.endswith("bias"):
                    parameter += 0.3 * torch.randn(parameter.shape, generator=draw)
            table = model.get_input_embeddings().weight
            table.copy_(torch.randn(table.shape, generator=draw))
            if model_type.startswith("gemma"):
                table /= table.shape[1] ** 0.5
        return model

    return build


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


def difference(a: PreTrainedModel, b: PreTrainedModel) -> float:
    return (logits(a) - logits(b)).abs().max().item()


def error_of_silent_cut(model: PreTrainedModel, **sizes: int) -> float:
    """Largest change of a logit, as share of the largest logit, when what goes did nothing."""
    whole = logits(model)
    plan = random_plan(model.config, **sizes)
    silence(model, plan)
    assert (logits(model) - whole).abs().max() > 0.1 * whole.abs().max()
    pruned = apply_plan(model, plan)
    assert shape_of(pruned.config) == plan.after
    assert model_size(pruned).params == plan.params_after
    return difference(model, pruned) / logits(model).abs().max().item()


# Sums over what stays have the same terms in the same order, and the sizes are such that the
# same vector instructions work on both models; so nothing at all may change. Of the three ways
# in which transformers computes experts only the batched one keeps the order of a sum's terms.
@pytest.mark.parametrize("axis", list(CUTS))
@pytest.mark.parametrize("model_type", list(FAMILIES))
def test_structure_that_does_nothing_can_go_unnoticed(lively_model, model_type, axis):
    model = lively_model(model_type)
    if model_type == "qwen3_moe":
        model.set_experts_implementation("batched_mm")
    assert error_of_silent_cut(model, **CUTS[axis]) == 0.0


@pytest.mark.parametrize("model_type", list(FAMILIES))
def test_depth_mlp_heads_and_groups_can_go_together(lively_model, model_type):
    model = lively_model(model_type)
    if model_type == "qwen3_moe":
        model.set_experts_implementation("batched_mm")
    assert error_of_silent_cut(model, **BUT_HIDDEN) == 0.0


def test_experts_in_groups_differ_by_rounding_only(lively_model):
    assert error_of_silent_cut(lively_model("qwen3_moe"), **BUT_HIDDEN) < 1e-6


# Norms average over fewer channels, and are scaled up again: that rounds.
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("model_type", list(FAMILIES))
def test_hidden_channels_that_are_zero_can_go(lively_model, model_type, tied):
    model = lively_model(model_type, tie_word_embeddings=tied)
    assert error_of_silent_cut(model, hidden=24) < 1e-5


@pytest.mark.parametrize("model_type", list(FAMILIES))
def test_all_axes_of_a_dense_model_can_be_cut_together(lively_model, model_type):
    model = lively_model(model_type)
    assert error_of_silent_cut(model, **BUT_HIDDEN, hidden=24) < 1e-5


# The router's softmax sums over fewer experts: that rounds.
@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("others", [{}, BUT_HIDDEN])
def test_experts_that_are_never_routed_to_can_go(lively_model, normalised, others):
    model = lively_model("qwen3_moe", norm_topk_prob=normalised)
    positive_channel(model)
    assert error_of_silent_cut(model, experts=4, **others) < 1e-6


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("llama", {"attention_bias": True, "mlp_bias": True}),
        ("qwen3", {"attention_bias": True}),
        ("gemma2", {"attention_bias": True}),
        ("phi3", {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}),
        ("llama", {"head_dim": 12}),
        ("qwen2", {"num_key_value_heads": 6}),
    ],
)
def test_biases_and_own_head_widths_follow(lively_model, model_type, changes):
    model = lively_model(model_type, **changes)
    heads = {} if "num_key_value_heads" in changes else {"heads": 1}
    assert error_of_silent_cut(model, layers=2, mlp=32, groups=2, **heads) == 0.0
    again = lively_model(model_type, **changes)
    assert error_of_silent_cut(again, layers=2, mlp=32, groups=2, hidden=24, **heads) < 1e-5


def test_identity_layer_can_go_unnoticed_in_bfloat16(tiny_model):
    # Rotary frequencies must stay in fp32 although the weights are not.
    model = tiny_model(dtype="bfloat16")
    plan = random_plan(model.config, layers=2)
    silence(model, plan)
    pruned = apply_plan(model, plan)
    assert pruned.dtype == torch.bfloat16
    assert pruned.model.rotary_emb.inv_freq.dtype == torch.float32
    assert difference(model, pruned) == 0.0


def test_plan_that_removes_nothing_copies(family_model):
    copied = apply_plan(family_model, random_plan(family_model.config))
    assert difference(family_model, copied) == 0.0
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert logits(family_model).abs().max() > 0


def test_weights_land_under_their_new_numbers(tiny_model):
    model = tiny_model()
    plan = random_plan(model.config, layers=2, mlp=8, groups=1)
    pruned = apply_plan(model, plan)
    for kept, new in zip(plan.layers, pruned.model.layers, strict=True):
        old = model.model.layers[kept.layer]
        (group,), channels = kept.groups, list(kept.channels[0])
        queries, keys = slice(32 * group, 32 * group + 32), slice(16 * group, 16 * group + 16)
        assert torch.equal(new.self_attn.q_proj.weight, old.self_attn.q_proj.weight[queries])
        assert torch.equal(new.self_attn.k_proj.weight, old.self_attn.k_proj.weight[keys])
        assert torch.equal(new.self_attn.v_proj.weight, old.self_attn.v_proj.weight[keys])
        assert torch.equal(new.self_attn.o_proj.weight, old.self_attn.o_proj.weight[:, queries])
        assert torch.equal(new.mlp.up_proj.weight, old.mlp.up_proj.weight[channels])
        assert torch.equal(new.mlp.down_proj.weight, old.mlp.down_proj.weight[:, channels])


def test_each_norm_takes_its_own_factor(family_model):
    family, config = family_of(family_model.config), family_model.config
    scales = {name: 1 + n / 8 for n, name in enumerate(family.norm_paths(range(3)))}
    plan = replace(random_plan(config, layers=2, hidden=24), norm_scales=scales)
    pruned = apply_plan(family_model, plan)
    correction = (32 / 24) ** 0.5 if family.scaled_embedding else 1.0
    # A tied head is corrected along with the embeddings, so the last norm takes that back.
    by_new_name = dict(
        zip(family.norm_paths(range(2)), family.norm_paths(plan.kept_layers), strict=True)
    )
    x = torch.rand(5, 24)
    whole = torch.zeros(5, 32)
    whole[:, plan.hidden] = x
    for new, old in by_new_name.items():
        expected = family_model.get_submodule(old)(whole)[:, plan.hidden] * scales[old]
        expected *= (24 / 32) ** 0.5  # the mean square is over fewer channels
        if new == family.final_norm:
            expected /= correction
        torch.testing.assert_close(pruned.get_submodule(new)(x), expected, rtol=1e-4, atol=1e-5)


GENERATE = """
import json, sys
import torch
from transformers import AutoModelForCausalLM
ids = torch.tensor(json.loads(sys.argv[1]))
options = {"do_sample": False, "max_new_tokens": 6, "pad_token_id": 0, "eos_token_id": None}
texts = {}
for folder in sys.argv[2:]:
    model = AutoModelForCausalLM.from_pretrained(folder)
    texts[folder] = [model.generate(ids, use_cache=c, **options).tolist() for c in (True, False)]
assert "distillscale" not in sys.modules
print(json.dumps(texts))
"""


@pytest.mark.slow
def test_saved_models_load_and_generate_without_this_package(lively_model, tmp_path):
    pruned = {}
    for model_type in FAMILIES:
        model = lively_model(model_type)
        experts = {"experts": 4} if model_type == "qwen3_moe" else {}
        plan = random_plan(model.config, **BUT_HIDDEN, hidden=24, **experts)
        pruned[str(tmp_path / model_type)] = apply_plan(model, plan)
    for folder, model in pruned.items():
        model.save_pretrained(folder)
    answer = subprocess.run(
        [sys.executable, "-c", GENERATE, json.dumps(IDS.tolist()), *pruned],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert answer.returncode == 0, answer.stderr
    for folder, (cached, uncached) in json.loads(answer.stdout).items():
        options = {"do_sample": False, "max_new_tokens": 6, "pad_token_id": 0}
        here = pruned[folder].generate(IDS, eos_token_id=None, **options).tolist()
        assert cached == uncached == here
        assert len(here[0]) == IDS.shape[1] + 6


def test_config_and_attentions_are_renumbered(tiny_model, tmp_path):
    model = tiny_model(use_sliding_window=True, sliding_window=4, max_window_layers=2)
    assert model.config.layer_types == ["full_attention", "full_attention", "sliding_attention"]
    plan = random_plan(model.config, layers=2)
    first, last = plan.layers
    plan = replace(plan, layers=(replace(first, layer=0), replace(last, layer=2)))
    pruned = apply_plan(model, plan)
    pruned.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["num_hidden_layers"] == 2
    assert saved["layer_types"] == ["full_attention", "sliding_attention"]
    assert saved["max_window_layers"] == 1
    assert [layer.self_attn.layer_idx for layer in pruned.model.layers] == [0, 1]
    assert model.config.num_hidden_layers == 3
    assert len(model.config.layer_types) == 3


def test_config_says_the_width_of_heads(family_model):
    heads = family_model.config.num_attention_heads
    width = family_model.model.layers[0].self_attn.o_proj.in_features // heads
    pruned = pruned_config(family_model.config, random_plan(family_model.config, groups=1))
    assert pruned.num_key_value_heads == 1
    assert pruned.num_attention_heads == heads // 2
    assert pruned.head_dim == width


def tensors_in(folder: Path) -> dict[str, int]:
    """Elements of each tensor in the checkpoint."""
    with safe_open(folder / "model.safetensors", "pt") as file:
        return {name: file.get_tensor(name).numel() for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("model_type", list(FAMILIES))
def test_removed_weights_are_gone_from_the_file(lively_model, tmp_path, model_type, tied):
    model = lively_model(model_type, tie_word_embeddings=tied)
    plan = random_plan(model.config, **BUT_HIDDEN, hidden=24)
    pruned = apply_plan(model, plan)
    model.save_pretrained(tmp_path / "before")
    pruned.save_pretrained(tmp_path / "after")
    before, after = (sum(tensors_in(tmp_path / name).values()) for name in ("before", "after"))
    tables = (1 if tied else 2) * 100
    assert before == plan.params_before + tables * 48
    assert after == plan.params_after + tables * 24


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("model_type", list(FAMILIES))
def test_embeddings_stay_tied_or_untied(tiny_model, model_type, tied):
    model = tiny_model(model_type, tie_word_embeddings=tied)
    pruned = apply_plan(model, random_plan(model.config, layers=2, hidden=24))
    head, table = pruned.lm_head.weight, pruned.model.embed_tokens.weight
    assert (head is table) == tied
    with torch.no_grad():
        table[0, 0] = 123.0
    assert (head[0, 0].item() == 123.0) == tied


def test_way_to_compute_experts_is_kept(tiny_model):
    model = tiny_model("qwen3_moe")
    model.set_experts_implementation("batched_mm")
    pruned = apply_plan(model, random_plan(model.config, layers=2))
    assert pruned.config._experts_implementation == "batched_mm"


def test_surroundings_are_kept(tiny_model):
    model = tiny_model().train()
    model.set_attn_implementation("eager")
    model.generation_config.max_new_tokens = 7
    random_state = torch.get_rng_state()
    pruned = apply_plan(model, random_plan(model.config, layers=2))
    assert torch.equal(torch.get_rng_state(), random_state)
    assert pruned.training
    assert pruned.device == model.device
    assert pruned.config._attn_implementation == "eager"
    assert pruned.generation_config.max_new_tokens == 7
    assert pruned.generation_config is not model.generation_config
    assert all(parameter.requires_grad for parameter in pruned.parameters())


def stages(model: PreTrainedModel) -> tuple[PruningPlan, PruningPlan]:
    """Two plans that cut along every axis, the second for the first's result."""
    mixture = model.config.model_type == "qwen3_moe"
    one = {"layers": 2, "mlp": 40, "groups": 2, "hidden": 40} | ({"experts": 5} if mixture else {})
    two = {"layers": 1, "mlp": 16, "heads": 1, "hidden": 24} | ({"experts": 3} if mixture else {})
    first = random_plan(model.config, seed=1, **one)
    return first, random_plan(pruned_config(model.config, first), seed=2, **two)


def test_two_prunings_are_one(lively_model):
    for model_type in FAMILIES:
        model = lively_model(model_type)
        first, second = stages(model)
        in_two = apply_plan(apply_plan(model, first), second)
        at_once = apply_plan(model, composed(model.config, first, second))
        assert in_two.config.to_dict() == at_once.config.to_dict()
        torch.testing.assert_close(in_two.state_dict(), at_once.state_dict(), rtol=1e-6, atol=1e-6)
        assert torch.isfinite(logits(in_two)).all()


def test_plan_for_another_model_is_refused(tiny_model):
    plan = random_plan(tiny_model().config, layers=2, mlp=8)
    others = [
        tiny_model("llama"),
        tiny_model(num_hidden_layers=4),
        tiny_model(hidden_size=16),
        tiny_model(head_dim=8),
    ]
    for other in others:
        with pytest.raises(InputError, match="pruning plan: made for a qwen3"):
            apply_plan(other, plan)


@pytest.mark.parametrize(
    ("model_type", "sizes", "reason"),
    [
        ("llama", {"hidden": 26}, "multiple of its number of query heads"),
        ("gemma3_text", {"hidden": 30}, "multiple of its number of query heads"),
        ("qwen3_moe", {"experts": 1}, "goes through 2 experts"),
        ("qwen3_moe", {"mlp": 12}, "multiples of 8"),
        ("qwen3_moe", {"hidden": 20}, "multiples of 8"),
    ],
)
def test_result_that_could_not_be_loaded_is_refused(tiny_model, model_type, sizes, reason):
    model = tiny_model(model_type)
    with pytest.raises(InputError, match=reason):
        apply_plan(model, random_plan(model.config, **sizes))


def test_shape_is_that_of_the_plan_for_every_family(family_model):
    experts = {"experts": 3} if shape_of(family_model.config).experts > 1 else {}
    plan = random_plan(family_model.config, layers=1, mlp=8, groups=1, hidden=24, **experts)
    after = shape_of(apply_plan(family_model, plan).config)
    assert after == Shape(layers=1, mlp=8, groups=1, heads=2, hidden=24, **experts)
