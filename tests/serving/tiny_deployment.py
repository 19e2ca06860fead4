"""A folder as `compress` writes it, around a tiny random model, made in a moment."""

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from distillscale.commands.model_facts import DataFacts, ModelFacts, write_facts
from distillscale.commands.publication import CARD_FILE, card_of, write_test_texts
from distillscale.models.checkpoint import save_checkpoint
from distillscale.serving.deployment import Deployment, write_deployment
from distillscale.tasks import Example, Task, task_from_labels
from distillscale.tasks.prompt import Thinking

LABELS = ["wins", "wins_big", "Wins", "loses", "no news", "élan | M&A"]
"""Of several tokens, one the beginning of another, two that differ in case only."""

WORDS = ["Novarix", "Orbital", "Teklon", "rises", "falls", "waits", "profit", "12.5 %", "Ä"]
CONTEXT = 128


def texts(count: int, seed: int = 0) -> list[str]:
    """Different lengths, from one word on."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=1 + number % 9)) for number in range(count)]


def tiny_task() -> Task:
    return task_from_labels("news", LABELS)


def tiny_tokenizer() -> PreTrainedTokenizerBase:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<end>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([" ".join(WORDS), *LABELS, "Text: \nAnswer:"] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", pad_token="<pad>")


def tiny_model(family: str = "qwen3", layers: int = 1, **changes: object) -> PreTrainedModel:
    """A random model of a family, with weights large enough that decisions differ."""
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": layers,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 1,
        "max_position_embeddings": CONTEXT, "eos_token_id": 0, "bos_token_id": None,
    }  # fmt: skip
    if family == "gpt2":
        sizes = {"vocab_size": 300, "n_embd": 32, "n_layer": layers, "n_head": 4,
                 "n_positions": CONTEXT, "eos_token_id": 0, "bos_token_id": 0}  # fmt: skip
    config = AutoConfig.for_model(family, **sizes | changes)
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.float()


def write_tiny_deployment(folder: Path, thinking: Thinking = "none") -> Path:
    """Model, tokenizer, task, facts, 40 test texts and card."""
    folder.mkdir(parents=True)
    task = tiny_task()
    save_checkpoint(tiny_model(), tiny_tokenizer(), folder)
    write_deployment(Deployment(task, thinking, 16), folder)
    write_facts(tiny_facts(), folder)
    rows = [
        Example(f"test-{number}", text, LABELS[number % len(LABELS)], "", "test", "x")
        for number, text in enumerate(texts(40))
    ]
    write_test_texts(rows, folder)
    (folder / CARD_FILE).write_text(card_of(folder, name=folder.name), encoding="utf-8")
    return folder


def tiny_facts(**changes: object) -> ModelFacts:
    fields = {
        "teacher": "lab", "base_model": None, "configuration": "logit-label",
        "supervision": "label", "method": "logit", "thinking": "none", "stages": 2,
        "prune_ratio": 0.5, "params": 500, "params_with_embeddings": 800, "teacher_params": 1000,
        "data": DataFacts("news.csv", 1234, 100, 77, dict.fromkeys(LABELS, 200)),
        "columns": {
            "teacher": {"macro_f1": 0.9, "accuracy": 0.91},
            "pruned only": {"macro_f1": 0.3},
            "logit-label": {"macro_f1": 0.62, "accuracy": 0.7, "gold_nll": 0.5},
        },
        "intervals": {"macro_f1": (0.55, 0.7)},
    }  # fmt: skip
    return ModelFacts(**fields | changes)  # type: ignore[arg-type]
