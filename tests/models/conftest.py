"""A tiny random Qwen3 whose output varies with its input, and a tokenizer to save beside it."""

from collections.abc import Callable

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

PAD, END = 0, 1
WORDS = 60


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """Words `w2` to `w59`, one token each, after `<pad>` and `<end>`."""
    vocabulary = {"<pad>": PAD, "<end>": END} | {f"w{n}": n for n in range(2, WORDS)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="w2"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", pad_token="<pad>")


@pytest.fixture
def tiny_model() -> Callable[..., PreTrainedModel]:
    def build(*, tied: bool = True) -> PreTrainedModel:
        torch.manual_seed(3)
        config = Qwen3Config(
            vocab_size=WORDS,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=128,
            initializer_range=0.5,
            tie_word_embeddings=tied,
            pad_token_id=PAD,
            eos_token_id=END,
        )
        return Qwen3ForCausalLM(config).eval()

    return build


@pytest.fixture
def prompts() -> list[list[int]]:
    """Twelve prompts of 1 to 9 tokens, in no order of length."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(1, 10, (12,), generator=generator).tolist()
    return [torch.randint(2, WORDS, (n,), generator=generator).tolist() for n in lengths]
