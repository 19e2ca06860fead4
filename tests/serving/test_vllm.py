"""The rules on configs, on real configs of the families and on broken ones."""

import json

import pytest
from tiny_deployment import tiny_model

from distillscale.commands.vllm_check import vllm_check
from distillscale.lab.teacher import shipped_teacher
from distillscale.pruning.families import FAMILIES
from distillscale.serving.vllm import check_config, tensor_parallel_sizes


def lab(**changes: object) -> dict[str, object]:
    return json.loads((shipped_teacher() / "config.json").read_text()) | changes


def fatal(config: dict[str, object]) -> list[str]:
    return [finding.field for finding in check_config(config) if finding.fatal]


def test_the_labs_teacher_is_fine():
    assert fatal(lab()) == []


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"qwen3_moe"}))
def test_a_model_of_each_family_as_transformers_saves_it_is_fine(family: str, tmp_path):
    tiny_model(family, head_dim=8).save_pretrained(tmp_path)
    assert fatal(json.loads((tmp_path / "config.json").read_text())) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"architectures": ["MadeUpForCausalLM"]}, "architectures"),
        ({"architectures": None}, "architectures"),
        ({"num_hidden_layers": 7}, "layer_types"),
        ({"num_hidden_layers": "8"}, "num_hidden_layers"),
        ({"num_attention_heads": [4, 3]}, "num_attention_heads"),
        ({"intermediate_size": [384, 128]}, "intermediate_size"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
        ({"num_key_value_heads": [2, 1]}, "num_key_value_heads"),
        ({"head_dim": [32, 16]}, "head_dim"),
        ({"head_dim": "32"}, "head_dim"),
        ({"layer_types": 8}, "layer_types"),
        ({"layer_types": [["full_attention"]] * 8}, "layer_types"),
        ({"rope_parameters": {"rope_theta": "1e6"}}, "rope_parameters"),
        ({"rope_parameters": "default"}, "rope_parameters"),
        ({"rope_theta": "1e6"}, "rope_theta"),
        ({"architectures": [["Qwen3ForCausalLM"]]}, "architectures"),
        ({"architectures": 3}, "architectures"),
        ({"head_dim": None, "num_attention_heads": 3, "num_key_value_heads": 3}, "head_dim"),
        ({"architectures": ["Qwen2ForCausalLM"], "head_dim": 16}, "head_dim"),
        ({"architectures": ["LlamaForCausalLM"], "hidden_act": "gelu"}, "hidden_act"),
    ],
)
def test_what_would_fail_is_named(changes: dict[str, object], field: str):
    assert field in fatal(lab(**changes))


def test_heads_cut_from_qwen2_are_fatal_and_from_qwen3_a_note():
    cut = {"num_attention_heads": 2, "num_key_value_heads": 1}  # head_dim stays 32, not 128 / 2
    assert fatal(lab(**cut)) == []
    notes = [finding.field for finding in check_config(lab(**cut))]
    assert "head_dim" in notes
    assert fatal(lab(**cut, architectures=["Qwen2ForCausalLM"])) == ["head_dim"]


def test_the_names_of_gpt2_are_read():
    gpt2 = {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 300,
        "n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": None,
    }  # fmt: skip
    assert fatal(gpt2) == []
    assert fatal(gpt2 | {"n_head": 3}) == ["head_dim"]
    assert fatal(gpt2 | {"n_layer": "2"}) == ["num_hidden_layers"]
    assert tensor_parallel_sizes(gpt2 | {"n_inner": 100}) == [1, 2, 4]


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"qwen3_moe"}))
def test_the_sizes_of_a_folder_are_told_whatever_its_config_calls_them(
    family: str, tmp_path, capsys
):
    model = tiny_model(family, head_dim=8)
    model.save_pretrained(tmp_path)
    assert vllm_check(tmp_path)
    heads = model.config.num_attention_heads
    sizes = [n for n in (1, 2, 4, 8) if heads % n == 0]
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.endswith(f"tensor-parallel sizes: {', '.join(map(str, sizes))}.")


def test_a_mix_of_sliding_layers_is_fatal_for_qwen2_only():
    mixed = ["full_attention", "sliding_attention"] * 4
    config = lab(layer_types=mixed)
    assert fatal(config) == []
    assert fatal(config | {"architectures": ["Qwen2ForCausalLM"], "head_dim": 32}) == [
        "layer_types"
    ]


def test_a_rope_base_that_old_readers_miss_is_a_note():
    rope = {"rope_type": "default", "rope_theta": 1e6}
    assert "rope_parameters" in [f.field for f in check_config(lab(rope_parameters=rope))]
    both = lab(rope_parameters=rope, rope_theta=1e6)
    assert "rope_parameters" not in [f.field for f in check_config(both)]


def test_tensor_parallel_sizes_divide_heads_and_repeat_groups_evenly():
    def config(heads: int, groups: int, channels: int) -> dict[str, int]:
        names = ("num_attention_heads", "num_key_value_heads", "intermediate_size")
        return dict(zip(names, (heads, groups, channels), strict=True))

    assert tensor_parallel_sizes(config(4, 2, 384)) == [1, 2, 4]
    assert tensor_parallel_sizes(config(12, 3, 384)) == [1, 3, 6]
    assert tensor_parallel_sizes(config(8, 8, 100)) == [1, 2, 4]
