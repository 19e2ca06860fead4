from collections.abc import Callable

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from distillscale.pruning.families import FAMILIES

TinyModel = Callable[..., PreTrainedModel]

OWN_SIZES = {
    "qwen3": {"head_dim": 16},
    "gemma2": {"head_dim": 16, "query_pre_attn_scalar": 24},
    "gemma3_text": {"head_dim": 16, "query_pre_attn_scalar": 24},
    "phi3": {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    "qwen3_moe": {"moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2},
}
"""What a family needs in a tiny model beyond the sizes that all have."""


@pytest.fixture
def tiny_model() -> TinyModel:
    """Build a random model: 3 layers, 24 MLP channels, hidden 32, unless told otherwise."""

    def build(model_type: str = "qwen3", *, dtype: str = "float32", **changes) -> PreTrainedModel:
        sizes = {
            "vocab_size": 100,
            "hidden_size": 32,
            "intermediate_size": 24,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 64,
            "initializer_range": 0.2,
            "tie_word_embeddings": True,
        }
        torch.manual_seed(0)
        config = AutoConfig.for_model(
            model_type, **(sizes | OWN_SIZES.get(model_type, {}) | changes)
        )
        return AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).eval()

    return build


@pytest.fixture(params=list(FAMILIES))
def family_model(request: pytest.FixtureRequest, tiny_model: TinyModel) -> PreTrainedModel:
    """A tiny model of each supported family."""
    return tiny_model(request.param)


@pytest.fixture
def sequences() -> list[tuple[int, ...]]:
    """Twelve calibration sequences of 1 to 12 tokens."""
    generator = torch.Generator().manual_seed(1)
    return [
        tuple(torch.randint(1, 100, (length,), generator=generator).tolist())
        for length in range(1, 13)
    ]
