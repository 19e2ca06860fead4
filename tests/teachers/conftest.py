"""A tiny teacher and its examples. Byte-level tokens: random weights write nothing that parses."""

import random

import pytest
import torch
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from distillscale.lab.examples import lab_examples
from distillscale.lab.teacher import train_tokenizer
from distillscale.lab.world import make_world
from distillscale.tasks import Example, Task, load_task
from distillscale.tasks.prompt import PLAIN, completion_text, encode_prompt


@pytest.fixture(scope="session")
def task() -> Task:
    return load_task("support-tickets")


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    made = lab_examples(
        "support-tickets", make_world(0, 10), train=10, validation=1, test=1, seed=0
    )
    return [example for example in made if example.split == "train"]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(make_world(0, 10), random.Random(0), 600)


def random_model(tokenizer: PreTrainedTokenizerBase, *, tied: bool = True) -> PreTrainedModel:
    torch.manual_seed(1)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=12,
        max_position_embeddings=256,
        initializer_range=0.3,
        tie_word_embeddings=tied,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return Qwen3ForCausalLM(config).eval()


@pytest.fixture(scope="session")
def untrained(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    return random_model(tokenizer)


@pytest.fixture(scope="session", params=[True, False], ids=["tied", "untied"])
def any_head(request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    return random_model(tokenizer, tied=request.param)


@pytest.fixture(scope="session")
def by_heart(
    tokenizer: PreTrainedTokenizerBase, task: Task, examples: list[Example]
) -> PreTrainedModel:
    """A model that has learned by heart to answer each example: all but the last two with gold.

    Of the last it learned a wrong class, of the one before an answer that is no class.
    """
    labels = [example.label for example in examples]
    wrong = next(label for label in task.labels if label != labels[-1])
    said = [*labels[:-2], "no such class", wrong]
    rows = []
    for thinking in ("none", "full"):
        for example, label in zip(examples, said, strict=True):
            prompt = encode_prompt(task, example.text, thinking, tokenizer)
            text = completion_text(f"so {example.category} .", label, thinking, PLAIN)
            rows.append((prompt, [*tokenizer.encode(text), tokenizer.eos_token_id]))
    model = random_model(tokenizer).train()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.05)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    longest = max(len(prompt) + len(completion) for prompt, completion in rows)
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    mask, labels_ = torch.zeros_like(ids), torch.full_like(ids, -100)
    for row, (prompt, completion) in enumerate(rows):
        end = len(prompt) + len(completion)
        ids[row, :end] = torch.tensor(prompt + completion)
        mask[row, :end] = 1
        labels_[row, len(prompt) : end] = torch.tensor(completion)
    for _ in range(120):
        loss = model(input_ids=ids, attention_mask=mask, labels=labels_).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.01
    return model.eval()
