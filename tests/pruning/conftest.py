from collections.abc import Callable

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from distillscale.pruning.families import FAMILIES

TinyModel = Callable[..., PreTrainedModel]


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
        if model_type == "qwen3":
            sizes["head_dim"] = 16
        torch.manual_seed(0)
        config = AutoConfig.for_model(model_type, **(sizes | changes))
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
