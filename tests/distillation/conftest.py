"""A tiny teacher, traces for it, and its logits."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen3Config

from distillscale.distillation.segments import collate, training_row
from distillscale.distillation.settings import DistillationSettings
from distillscale.distillation.trainer import supervised_logits
from distillscale.tasks.trace import Trace

VOCABULARY = 48


@pytest.fixture
def tiny_model() -> Callable[[int], PreTrainedModel]:
    """Makes a two-layer Qwen3 model from a seed."""

    def make(seed: int) -> PreTrainedModel:
        config = Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
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

    return make


@pytest.fixture
def teacher(tiny_model) -> PreTrainedModel:
    return tiny_model(0)


@pytest.fixture
def student(tiny_model) -> PreTrainedModel:
    """A perturbed copy of the teacher."""
    model = tiny_model(0)
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.data.add_(0.3 * parameter.data.std().nan_to_num(0) * torch.randn_like(parameter))
    return model


def make_trace(seed: int, prompt: int, reasoning: int, answer: int) -> Trace:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda n: tuple(torch.randint(1, VOCABULARY, (n,), generator=generator).tolist())  # noqa: E731
    return Trace(f"e{seed}", draw(prompt), draw(reasoning + answer), reasoning, "text", "a", "a")


@pytest.fixture
def traces() -> list[Trace]:
    """Twelve traces of unequal lengths with both segments."""
    return [make_trace(i, 3 + i % 4, 2 + i % 5, 1 + i % 3) for i in range(12)]


@pytest.fixture
def label_traces() -> list[Trace]:
    """Twelve traces without reasoning."""
    return [make_trace(i, 3 + i % 4, 0, 1 + i % 3) for i in range(12)]


class ModelTeacherLogits:
    """A model's logits on traces, computed once."""

    def __init__(self, model: PreTrainedModel, traces: Sequence[Trace]) -> None:
        batch = collate([training_row(trace) for trace in traces], range(len(traces)), 0)
        with torch.no_grad():
            logits = supervised_logits(model, batch)
        self.of_trace = logits.split([len(trace.completion_ids) for trace in traces])
        self.asked: list[tuple[int, ...]] = []

    def logits(self, rows: Sequence[int]) -> Tensor:
        self.asked.append(tuple(rows))
        return torch.cat([self.of_trace[row] for row in rows])


@pytest.fixture
def logits_of(teacher) -> Callable[[Sequence[Trace]], ModelTeacherLogits]:
    return lambda traces: ModelTeacherLogits(teacher, traces)


@pytest.fixture
def settings() -> Callable[..., DistillationSettings]:
    """Settings for a short run, with any of them replaced."""

    def make(**changes) -> DistillationSettings:
        chosen = {
            "method": "logit",
            "supervision": "cot",
            "steps": 6,
            "batch_size": 4,
            "learning_rate": 1e-3,
        }
        return DistillationSettings(**{**chosen, **changes})

    return make
