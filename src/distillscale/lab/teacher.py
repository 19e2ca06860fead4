"""The lab's teacher: a tiny Qwen3 model that knows the world and solves both built-in tasks."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    get_cosine_schedule_with_warmup,
)

from distillscale.lab.grammar import load_grammar, write
from distillscale.lab.questions import fact_questions
from distillscale.lab.world import World, make_world
from distillscale.models.checkpoint import default_device
from distillscale.models.forward import project
from distillscale.tasks import load_task
from distillscale.tasks.prompt import PLAIN, Thinking, completion_text, plain_prompt

PAD, END = "<pad>", "<end>"
_TOKENIZER_TEXTS = 20_000
_PEAK_LEARNING_RATE = 3e-3


@dataclass(frozen=True)
class TeacherSize:
    """The shape of a lab teacher and how long it is trained."""

    hidden: int = 128
    layers: int = 8
    intermediate: int = 384
    heads: int = 4
    key_value_heads: int = 2
    vocabulary: int = 2048
    steps: int = 2000
    tokens_a_step: int = 2048
    companies: int = 320


@dataclass(frozen=True)
class TrainingReport:
    """The mean loss (nats per supervised token) of each hundredth of the training's steps.

    A training of fewer than a hundred steps has one entry a step.
    """

    losses: tuple[float, ...]


# How often the teacher sees each kind of text. Questions get a large share: knowledge is what the
# pruned students lose, so the teacher must hold all of it.
_MIXTURE: dict[tuple[str, Thinking], float] = {
    ("fin-headlines", "none"): 0.14,
    ("fin-headlines", "brief"): 0.08,
    ("fin-headlines", "full"): 0.14,
    ("support-tickets", "none"): 0.07,
    ("support-tickets", "brief"): 0.04,
    ("support-tickets", "full"): 0.08,
    ("questions", "none"): 0.45,
}


def shipped_teacher() -> Path:
    """The folder of the teacher that comes with the package."""
    return Path(str(resources.files("distillscale.lab") / "teacher_weights"))


def train_teacher(
    seed: int = 0,
    size: TeacherSize = TeacherSize(),
    progress: Callable[[float], None] = lambda _: None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, TrainingReport]:
    """Train a teacher from scratch on an endless stream of the lab's texts.

    The world is always the one that studies ask about; `seed` draws weights and texts. Loss is
    taken on answers and reasoning only, never on prompts.
    """
    torch.manual_seed(seed)
    world = make_world(companies=size.companies)
    rng = random.Random(f"teacher {seed}")
    tokenizer = train_tokenizer(world, rng, size.vocabulary)
    model = _new_model(size, tokenizer).to(default_device())
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=_PEAK_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, size.steps // 20, size.steps)
    stream = _sequences(world, tokenizer, rng)
    losses: list[float] = []
    for step in range(size.steps):
        loss = _step_loss(model, _pack(stream, size.tokens_a_step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        progress((step + 1) / size.steps)
    return model.eval(), tokenizer, TrainingReport(_thinned(losses))


def train_tokenizer(world: World, rng: random.Random, vocabulary: int) -> PreTrainedTokenizerBase:
    """A byte-level BPE tokenizer trained on the lab's texts; it encodes any other text too."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = ("".join(_text_pair(world, rng)) for _ in range(_TOKENIZER_TEXTS))
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END)


def _new_model(size: TeacherSize, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_value_heads,
        head_dim=size.hidden // size.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        initializer_range=0.05,
    )
    return Qwen3ForCausalLM(config)


def _text_pair(world: World, rng: random.Random) -> tuple[str, str]:
    """A prompt and its completion, drawn from the mixture."""
    kind, thinking = rng.choices(list(_MIXTURE), weights=list(_MIXTURE.values()))[0]
    if kind == "questions":
        prompt, answer = rng.choice(fact_questions(rng.choice(world.companies)))
        return prompt, f" {answer}"
    writing = write(load_grammar(kind), world, rng)
    reasoning = {"none": "", "brief": writing.brief, "full": writing.full}[thinking]
    prompt = plain_prompt(load_task(kind), writing.text, thinking)
    return prompt, completion_text(reasoning, writing.label, thinking, PLAIN)


def _sequences(
    world: World, tokenizer: PreTrainedTokenizerBase, rng: random.Random
) -> Iterator[tuple[list[int], int]]:
    """Endless token sequences with the length of their prompts."""
    while True:
        prompts, completions = zip(*(_text_pair(world, rng) for _ in range(512)), strict=True)
        encoded_prompts = tokenizer(list(prompts))["input_ids"]
        encoded_completions = tokenizer(list(completions))["input_ids"]
        for prompt, completion in zip(encoded_prompts, encoded_completions, strict=True):
            yield [*prompt, *completion, tokenizer.eos_token_id], len(prompt)


_ROW = 256


@dataclass(frozen=True)
class _Packed:
    """Rows of whole sequences, end to end; positions start anew with each sequence.

    All tensors have the shape [rows, _ROW]; `targets` is -100 where no loss is taken.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    targets: torch.Tensor


def _pack(stream: Iterator[tuple[list[int], int]], tokens: int) -> _Packed:
    rows = tokens // _ROW
    input_ids = torch.zeros((rows, _ROW), dtype=torch.long)
    position_ids = torch.zeros((rows, _ROW), dtype=torch.long)
    targets = torch.full((rows, _ROW), -100)
    for row in range(rows):
        filled = 0
        for ids, prompt_length in stream:
            length = min(len(ids), _ROW - filled)
            span = slice(filled, filled + length)
            input_ids[row, span] = torch.tensor(ids[:length])
            position_ids[row, span] = torch.arange(length)
            wanted = ids[prompt_length:length]
            start = filled + prompt_length - 1
            targets[row, start : start + len(wanted)] = torch.tensor(wanted, dtype=torch.long)
            filled += length
            if filled == _ROW:
                break
    return _Packed(input_ids, position_ids, targets)


def _step_loss(model: PreTrainedModel, packed: _Packed) -> torch.Tensor:
    """Mean cross-entropy of the supervised tokens. Restarting positions keep sequences apart."""
    body = model.get_decoder()
    supervised = (packed.targets >= 0).to(model.device)
    targets = packed.targets.to(model.device)[supervised]
    with torch.autocast(model.device.type, dtype=torch.bfloat16):
        hidden = body(
            input_ids=packed.input_ids.to(model.device),
            position_ids=packed.position_ids.to(model.device),
            use_cache=False,
        ).last_hidden_state
        return cross_entropy(project(model, hidden[supervised]), targets)


def _thinned(losses: list[float]) -> tuple[float, ...]:
    parts = min(100, len(losses))
    bounds = pairwise(len(losses) * part // parts for part in range(parts + 1))
    return tuple(sum(losses[start:end]) / (end - start) for start, end in bounds)
