import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, PreTrainedModel

from distillscale.errors import InputError
from distillscale.models.size import model_size
from distillscale.pruning.importance import measure_importance
from distillscale.pruning.plan import PruningPlan, plan_pruning
from distillscale.pruning.shape import Shape, params_of, shape_of
from distillscale.pruning.surgery import apply_plan

IDS = torch.randint(1, 100, (3, 10), generator=torch.Generator().manual_seed(2))


def keeping(
    model: PreTrainedModel, layers: tuple[int, ...], channels: tuple[tuple[int, ...], ...]
) -> PruningPlan:
    """A plan by hand."""
    before, after = shape_of(model.config), Shape(len(layers), len(channels[0]))
    return PruningPlan(
        model_type=model.config.model_type,
        before=before,
        after=after,
        params_before=params_of(model.config, before),
        params_after=params_of(model.config, after),
        kept_layers=layers,
        kept_channels=channels,
    )


def both_cut(model: PreTrainedModel) -> PruningPlan:
    """Layers 0 and 2 with 8 channels each."""
    return keeping(model, (0, 2), (tuple(range(0, 16, 2)), tuple(range(16, 24))))


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


def difference(a: PreTrainedModel, b: PreTrainedModel) -> float:
    return (logits(a) - logits(b)).abs().max().item()


def make_identity(model: PreTrainedModel, layer: int) -> None:
    with torch.no_grad():
        model.model.layers[layer].self_attn.o_proj.weight.zero_()
        model.model.layers[layer].mlp.down_proj.weight.zero_()


def silence(model: PreTrainedModel, layer: int, channels: tuple[int, ...]) -> None:
    mlp = model.model.layers[layer].mlp
    with torch.no_grad():
        for channel in channels:
            mlp.gate_proj.weight[channel] = 0
            mlp.up_proj.weight[channel] = 0
            mlp.down_proj.weight[:, channel] = 0


def test_channels_without_weights_can_go_unnoticed(family_model):
    silent = ((3, 7), (0, 1), (22, 23))
    for layer, channels in enumerate(silent):
        silence(family_model, layer, channels)
    kept = tuple(tuple(c for c in range(24) if c not in gone) for gone in silent)
    pruned = apply_plan(family_model, keeping(family_model, (0, 1, 2), kept))
    assert pruned.config.intermediate_size == 22
    assert difference(family_model, pruned) == 0.0


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_identity_layer_can_go_unnoticed(family_model, layer):
    make_identity(family_model, layer)
    kept = tuple(n for n in range(3) if n != layer)
    pruned = apply_plan(family_model, keeping(family_model, kept, (tuple(range(24)),) * 2))
    assert pruned.config.num_hidden_layers == 2
    assert difference(family_model, pruned) == 0.0


def test_identity_layer_can_go_unnoticed_in_bfloat16(tiny_model):
    # Rotary frequencies must stay in fp32 although the weights are not.
    model = tiny_model(dtype="bfloat16")
    make_identity(model, 1)
    pruned = apply_plan(model, keeping(model, (0, 2), (tuple(range(24)),) * 2))
    assert pruned.dtype == torch.bfloat16
    assert pruned.model.rotary_emb.inv_freq.dtype == torch.float32
    assert difference(model, pruned) == 0.0


def test_plan_that_removes_nothing_copies(family_model):
    plan = keeping(family_model, (0, 1, 2), (tuple(range(24)),) * 3)
    copied = apply_plan(family_model, plan)
    assert difference(family_model, copied) == 0.0
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert logits(family_model).abs().max() > 0


def test_weights_land_under_their_new_numbers(family_model):
    pruned = apply_plan(family_model, both_cut(family_model))
    old, new = family_model.model.layers[2], pruned.model.layers[1]
    assert torch.equal(new.self_attn.q_proj.weight, old.self_attn.q_proj.weight)
    assert torch.equal(new.mlp.gate_proj.weight, old.mlp.gate_proj.weight[16:24])
    assert torch.equal(new.mlp.up_proj.weight, old.mlp.up_proj.weight[16:24])
    assert torch.equal(new.mlp.down_proj.weight, old.mlp.down_proj.weight[:, 16:24])


def test_biases_are_cut_with_their_weights(tiny_model):
    model = tiny_model("llama", mlp_bias=True, attention_bias=True)
    with torch.no_grad():
        model.model.layers[2].mlp.up_proj.bias.copy_(torch.arange(24.0))
    pruned = apply_plan(model, both_cut(model))
    assert pruned.model.layers[1].mlp.up_proj.bias.tolist() == list(range(16, 24))
    assert model_size(pruned).params == both_cut(model).params_after


def test_saved_model_loads_and_generates_as_without_cache(family_model, tmp_path):
    apply_plan(family_model, both_cut(family_model)).save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    options = {"do_sample": False, "max_new_tokens": 6, "pad_token_id": 0, "eos_token_id": None}
    cached = loaded.generate(IDS, use_cache=True, **options)
    assert torch.equal(cached, loaded.generate(IDS, use_cache=False, **options))
    assert cached.shape == (3, 16)


def test_config_and_attentions_are_renumbered(tiny_model, tmp_path):
    model = tiny_model(use_sliding_window=True, sliding_window=4, max_window_layers=2)
    assert model.config.layer_types == ["full_attention", "full_attention", "sliding_attention"]
    pruned = apply_plan(model, both_cut(model))
    pruned.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["num_hidden_layers"] == 2
    assert saved["intermediate_size"] == 8
    assert saved["layer_types"] == ["full_attention", "sliding_attention"]
    assert [layer.self_attn.layer_idx for layer in pruned.model.layers] == [0, 1]
    assert model.config.num_hidden_layers == 3
    assert len(model.config.layer_types) == 3


def elements_in(folder: Path) -> int:
    with safe_open(folder / "model.safetensors", "pt") as file:
        return sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118


@pytest.mark.parametrize("tied", [True, False])
def test_removed_weights_are_gone_from_the_file(tiny_model, tmp_path, tied):
    model = tiny_model(tie_word_embeddings=tied)
    plan = both_cut(model)
    pruned = apply_plan(model, plan)
    model.save_pretrained(tmp_path / "before")
    pruned.save_pretrained(tmp_path / "after")
    removed = plan.params_before - plan.params_after
    assert elements_in(tmp_path / "before") - elements_in(tmp_path / "after") == removed
    assert elements_in(tmp_path / "after") == model_size(pruned).params_with_embeddings
    assert model_size(pruned).params == plan.params_after


@pytest.mark.parametrize("tied", [True, False])
def test_embeddings_stay_tied_or_untied(tiny_model, tied):
    model = tiny_model(tie_word_embeddings=tied)
    pruned = apply_plan(model, both_cut(model))
    head, table = pruned.lm_head.weight, pruned.model.embed_tokens.weight
    assert (head is table) == tied
    with torch.no_grad():
        table[0, 0] = 123.0
    assert (head[0, 0].item() == 123.0) == tied


def test_surroundings_are_kept(tiny_model):
    model = tiny_model().train()
    model.set_attn_implementation("eager")
    model.generation_config.max_new_tokens = 7
    random_state = torch.get_rng_state()
    pruned = apply_plan(model, both_cut(model))
    assert torch.equal(torch.get_rng_state(), random_state)
    assert pruned.training
    assert pruned.device == model.device
    assert pruned.config._attn_implementation == "eager"
    assert pruned.generation_config.max_new_tokens == 7
    assert pruned.generation_config is not model.generation_config
    assert all(parameter.requires_grad for parameter in pruned.parameters())


def test_pruned_model_can_be_pruned_again(family_model, sequences):
    model = family_model
    whole = model_size(model).params
    for ratio in (0.7, 0.4):
        importance = measure_importance(model, sequences, pad_id=0, batch_size=4)
        plan = plan_pruning(
            model.config,
            importance,
            target_params=round(ratio * whole),
            axes=("depth", "mlp"),
            multiple=2,
        )
        model = apply_plan(model, plan)
        assert model_size(model).params == plan.params_after
        assert plan.params_after < plan.params_before
    assert torch.isfinite(logits(model)).all()


def test_plan_for_another_model_is_refused(tiny_model):
    plan = both_cut(tiny_model())
    others = [tiny_model("llama"), tiny_model(num_hidden_layers=4), tiny_model(hidden_size=16)]
    for other in others:
        with pytest.raises(InputError, match="pruning plan: made for a qwen3"):
            apply_plan(other, plan)
    with pytest.raises(InputError, match="kept layers"):
        replace(plan, kept_layers=(2, 0))
