"""Operations are those that PyTorch counts while a model really runs, for every kind of layer."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    Qwen3Config,
    Qwen3MoeConfig,
)

from distillscale.models.flops import Flops, flops_of

SIZES = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
TOKENS = 10


@pytest.mark.parametrize(
    "config",
    [
        Qwen3Config(**SIZES, head_dim=16, tie_word_embeddings=True),
        LlamaConfig(**SIZES, tie_word_embeddings=False),
        Qwen3MoeConfig(**SIZES, **EXPERTS, head_dim=8),
        GPT2Config(vocab_size=96, n_embd=32, n_layer=2, n_head=4, n_positions=64),
        GPTNeoXConfig(
            vocab_size=96, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=64,
        ),
    ],
    ids=lambda config: config.model_type,
)  # fmt: skip
def test_equals_pytorchs_own_count(config: PreTrainedConfig):
    config._experts_implementation = "eager"  # the counter does not know grouped products
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    ids = torch.arange(TOKENS)[None]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=ids, use_cache=False)
    flops = flops_of(model)
    # Eager attention computes the products that the causal mask throws away, too.
    dense = flops.token * TOKENS + flops.seen * TOKENS**2 + flops.logits * TOKENS
    assert counter.get_total_flops() == dense


def test_reading_in_parts_is_reading_at_once():
    flops = Flops(token=1000, seen=10, logits=7)
    whole = flops.reading(9, logits=3)
    parts = flops.reading(4, logits=1) + flops.reading(5, before=4, logits=2)
    assert whole == parts == 9 * 1000 + 45 * 10 + 3 * 7


def test_a_tree_without_branches_is_a_sequence():
    flops = Flops(token=1000, seen=10, logits=7)
    assert flops.tree([0, 1, 2], before=5) == flops.reading(3, before=5, logits=3)
    assert flops.tree([0, 0], before=5) == 2 * flops.reading(1, before=5, logits=1)
