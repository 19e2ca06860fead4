"""A tiny teacher, its student, traces, and settings of a short run."""

from collections.abc import Sequence

import torch
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    Qwen3Config,
)

from distillscale.distillation.settings import DistillationSettings
from distillscale.models.teacher_logits import FullLogits
from distillscale.tasks.trace import Trace
from distillscale.teachers.online import OnlineTeacher

VOCABULARY = 48
MARKER = 5  # "\nAnswer:" is one token


def make_model(seed: int, layers: int = 2) -> PreTrainedModel:
    """A tiny Qwen3 model with tied embeddings."""
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        tie_word_embeddings=True,
        max_position_embeddings=64,
    )
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            parameter.data.mul_(8)  # distributions that differ visibly from uniform
    return model


def make_student() -> PreTrainedModel:
    """A perturbed copy of the teacher."""
    model = make_model(0)
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.data.add_(0.3 * parameter.data.std().nan_to_num(0) * torch.randn_like(parameter))
    return model


def make_trace(seed: int, prompt: int, reasoning: int, answer: int) -> Trace:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda n: tuple(torch.randint(1, VOCABULARY, (n,), generator=generator).tolist())  # noqa: E731
    return Trace(f"e{seed}", draw(prompt), draw(reasoning + answer), reasoning, "text", "a", "a")


def make_traces() -> list[Trace]:
    """Twelve traces of unequal lengths with both segments."""
    return [make_trace(i, 3 + i % 4, 2 + i % 5, 1 + i % 3) for i in range(12)]


class StoredTeacher:
    """What a model predicts in traces, as if it had been stored; keeps what it is asked."""

    def __init__(self, model: PreTrainedModel, traces: Sequence[Trace]) -> None:
        self._online = OnlineTeacher(model, traces, 0)
        self.asked: list[tuple[int, ...]] = []

    def at(self, rows: Sequence[int]) -> FullLogits:
        self.asked.append(tuple(rows))
        return self._online.at(rows)


def make_settings(**changes) -> DistillationSettings:
    """Settings for a short run, with any of them replaced."""
    chosen = {
        "method": "logit",
        "supervision": "cot",
        "steps": 6,
        "batch_size": 4,
        "learning_rate": 1e-3,
    }
    return DistillationSettings(**{**chosen, **changes})
