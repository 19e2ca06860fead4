"""A small task, and two real tokenizers: of a plain model and of a Qwen3-like chat model."""

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from distillscale.tasks import ClassDefinition, Task

CORPUS = ["Headline: Novarix wins approval\nThink: a pharma firm\nAnswer: drug_approval"] * 4
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}"
    "{{- '<think>\\n\\n</think>\\n\\n' }}"
    "{%- endif %}{%- endif %}"
)


def byte_level_bpe(*, words: bool, special: list[str]) -> Tokenizer:
    """A byte-level BPE; where `words` is false its tokens may run across words and lines."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    return backend


@pytest.fixture(scope="session")
def small_task() -> Task:
    names = ("drug_approval", "permit_granted", "earnings_beat")
    classes = tuple(ClassDefinition(name, name, f"It is {name}.") for name in names)
    return Task("small", "Headline: {text}", classes)


@pytest.fixture(scope="session")
def plain_tokenizer() -> PreTrainedTokenizerFast:
    backend = byte_level_bpe(words=True, special=["<end>", "<pad>"])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", pad_token="<pad>")


@pytest.fixture(scope="session")
def wordless_tokenizer() -> PreTrainedTokenizerFast:
    """Its tokens run across the end of the marker and the beginning of the answer."""
    backend = byte_level_bpe(words=False, special=["<end>", "<pad>"])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", pad_token="<pad>")


@pytest.fixture(scope="session")
def chat_tokenizer() -> PreTrainedTokenizerFast:
    backend = byte_level_bpe(words=True, special=["<|im_start|>", "<|im_end|>", "<|endoftext|>"])
    backend.add_tokens([AddedToken("<think>"), AddedToken("</think>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
    )
