"""Labels of many tokens, prefixes of another and differing by case only, under four tokenizers."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from distillscale.evaluation.in_domain import decide
from distillscale.evaluation.task_inputs import TaskInputs, task_inputs
from distillscale.tasks import task_from_labels

LABELS = ["merger", "merger failed", "merger failed again", "Up", "up", "UP", "un été à Zürich 📈"]
TEXTS = [f"text number {number}" for number in range(len(LABELS))]
END = "<end>"
STEPS = 150
TOKENIZERS = ("bpe", "merging", "metaspace", "characters")
CHAT_TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}<reply>"


def make_tokenizer(kind: str, *, chat: bool = False) -> PreTrainedTokenizerFast:
    """`merging` makes one token of a space and a whole label; `characters` one of each letter."""
    task = task_from_labels("awkward", LABELS)
    corpus = [task.prompt.format(text=text) for text in TEXTS] + [" " + name for name in LABELS]
    if kind == "characters":
        letters = sorted(set("".join(corpus) + "\nAnswer:<user>system reply"))
        vocabulary = {letter: number for number, letter in enumerate([END, "<pad>", *letters])}
        backend = Tokenizer(models.BPE(vocabulary, []))
        backend.decoder = decoders.Fuse()
    else:
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(
            add_prefix_space=False, use_regex=kind == "bpe"
        )
        backend.decoder = decoders.ByteLevel()
        if kind == "metaspace":
            spaces = pre_tokenizers.Metaspace(prepend_scheme="first")
            backend.pre_tokenizer = pre_tokenizers.Sequence([spaces, backend.pre_tokenizer])
            backend.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("▁", " ")])
        trainer = trainers.BpeTrainer(
            vocab_size={"bpe": 330, "merging": 1000, "metaspace": 400}[kind],
            special_tokens=[END, "<pad>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        backend.train_from_iterator(corpus * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END, pad_token="<pad>")
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config).eval()


def inputs_of(tokenizer: PreTrainedTokenizerBase) -> TaskInputs:
    task = task_from_labels("awkward", LABELS)
    return task_inputs(task, TEXTS, tokenizer, thinking="none", max_new_tokens=1)


@torch.no_grad()
def plain_scores(model: PreTrainedModel, inputs: TaskInputs) -> np.ndarray:
    """One sequence a label, in double precision from the logits on."""
    scores = np.zeros((len(inputs.prompts), len(inputs.label_ids)))
    for row, prompt in enumerate(inputs.prompts):
        for column, label in enumerate(inputs.label_ids):
            ids = torch.tensor([[*prompt, *label]])
            logits = model(input_ids=ids).logits[0].double().log_softmax(-1)
            steps = torch.arange(len(prompt) - 1, ids.shape[1] - 1)
            scores[row, column] = logits[steps, ids[0, 1:][steps]].sum()
    return scores


def learn(model: PreTrainedModel, inputs: TaskInputs, answers: Sequence[int]) -> None:
    """Teach the model one label a text."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    pairs = [
        (prompt, inputs.label_ids[answer])
        for prompt, answer in zip(inputs.prompts, answers, strict=True)
    ]
    longest = max(len(prompt) + len(label) for prompt, label in pairs)
    ids = torch.zeros(len(pairs), longest, dtype=torch.long)
    targets = torch.full_like(ids, -100)
    for row, (prompt, label) in enumerate(pairs):
        whole = torch.tensor([*prompt, *label])
        ids[row, : len(whole)] = whole
        targets[row, len(prompt) : len(whole)] = whole[len(prompt) :]
    for _ in range(STEPS):
        loss = model(input_ids=ids, labels=targets).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_scores_are_the_plain_log_likelihoods(kind, chat):
    tokenizer = make_tokenizer(kind, chat=chat)
    model, inputs = make_model(tokenizer), inputs_of(tokenizer)
    scores, _ = decide(model, tokenizer, inputs.prompts, inputs.label_ids, reasoning=None)
    np.testing.assert_allclose(scores, plain_scores(model, inputs), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_model_that_learned_a_label_is_read_as_that_label(kind):
    """Whichever of prefixes, cases and scripts it learned: each is decided, and surely."""
    tokenizer = make_tokenizer(kind)
    model, inputs = make_model(tokenizer), inputs_of(tokenizer)
    answers = np.random.default_rng(0).permutation(len(LABELS)).tolist()
    learn(model, inputs, answers)
    scores, _ = decide(model, tokenizer, inputs.prompts, inputs.label_ids, reasoning=None)
    assert scores.argmax(axis=1).tolist() == answers
    assert np.exp(scores.max(axis=1)).min() > 0.8


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_labels_are_what_they_are_meant_to_be(kind):
    """Merged with their space, or of many tokens; never one the prefix of another."""
    tokenizer = make_tokenizer(kind)
    inputs = inputs_of(tokenizer)
    assert [tokenizer.decode(ids) for ids in inputs.label_ids] == [
        f" {label}{END}" for label in inputs.labels
    ]
    for one, other in pairwise(sorted(inputs.label_ids)):
        assert other[: len(one)] != one
    tokens = {label: len(ids) for label, ids in zip(inputs.labels, inputs.label_ids, strict=True)}
    if kind == "merging":
        assert tokens["merger"] == tokens["merger failed again"] == 2  # the label and its end
    if kind == "characters":
        assert tokens["merger failed"] == len(" merger failed") + 1
