"""A small encoder with a classification head, fine-tuned on the gold labels."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn.functional import cross_entropy
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    get_cosine_schedule_with_warmup,
)

from distillscale.models.checkpoint import default_device, load_sequence_classifier

_VOCABULARY, _CONTEXT = 4096, 256
_SPECIAL = {
    "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
}  # fmt: skip
_ENDS = ("cls_token", "sep_token")
_PRETRAINED_RATE, _NEW_RATE = 5e-5, 1e-3
_WARMUP, _WEIGHT_DECAY, _MAX_GRADIENT_NORM = 0.1, 0.01, 1.0


@dataclass(frozen=True)
class EncoderClassifier:
    """A model in evaluation mode with its tokenizer; logits in the order of the labels."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @torch.inference_mode()
    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Log-probability of each label, shape [texts, labels], all texts as one batch."""
        logits = self.model(**_encode(self.model, self.tokenizer, texts)).logits
        scores: NDArray[np.float64] = logits.double().log_softmax(dim=-1).cpu().numpy()
        return scores

    @property
    def params(self) -> int:
        """All parameters, embeddings included."""
        return sum(parameter.numel() for parameter in self.model.parameters())


def load_encoder(source: str | Path, labels: Sequence[str], seed: int) -> EncoderClassifier:
    """A pretrained encoder from a folder or a hub name, its classification head from the seed.

    Raises:
        InputError: there is no such checkpoint with safetensors weights, or it cannot classify.
    """
    return EncoderClassifier(*load_sequence_classifier(source, labels, seed))


def _peak_rate(*, pretrained: bool) -> float:
    """The peak learning rate: 5e-5 as BERT's authors advise (arXiv 1810.04805), 1e-3 from scratch.

    The latter is an assumption of ours; neither is tuned.
    """
    return _PRETRAINED_RATE if pretrained else _NEW_RATE


def new_encoder(texts: Sequence[str], labels: Sequence[str], seed: int) -> EncoderClassifier:
    """A small BERT with random weights: four layers of width 128, word parts of these texts.

    It stands in for a pretrained one where none can be had, and does worse than one would.
    """
    tokenizer = _new_tokenizer(texts)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=_CONTEXT,
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    torch.manual_seed(seed)
    model = BertForSequenceClassification(config).to(default_device())
    return EncoderClassifier(model.eval(), tokenizer)


def _new_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerBase:
    """Byte-level BPE in lower case, as `[CLS] text [SEP]`.

    Not WordPiece: its trainer numbers the pieces in another order each time, so that equal seeds
    would give different models.
    """
    pieces = Tokenizer(models.BPE())
    pieces.normalizer = normalizers.Lowercase()
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=list(_SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pieces.train_from_iterator(texts, trainer)
    numbers = {token: number for number, token in enumerate(_SPECIAL.values())}  # come first
    start, end = ((_SPECIAL[name], numbers[_SPECIAL[name]]) for name in _ENDS)
    pieces.post_processor = processors.BertProcessing(end, start)
    return PreTrainedTokenizerFast(tokenizer_object=pieces, model_max_length=_CONTEXT, **_SPECIAL)


def fit_encoder(
    source: str | Path | None,
    texts: Sequence[str],
    labels: Sequence[int],
    names: Sequence[str],
    *,
    steps: int,
    batch_size: int,
    seed: int,
    progress: Callable[[float], None] = lambda _: None,
) -> EncoderClassifier:
    """Fine-tune the encoder that `source` names; without one, a small one from random weights.

    Args:
        labels: of each text the number of its label.
        names: all labels, in the order of their numbers.
        progress: told the share of steps that are done, from 0 to 1.

    Raises:
        InputError: `source` holds no encoder that can be loaded.
    """
    if source is None:
        encoder = new_encoder(texts, names, seed)
    else:
        encoder = load_encoder(source, names, seed)
    train_encoder(
        encoder,
        texts,
        labels,
        steps=steps,
        batch_size=batch_size,
        learning_rate=_peak_rate(pretrained=source is not None),
        seed=seed,
        progress=progress,
    )
    return encoder


def train_encoder(
    encoder: EncoderClassifier,
    texts: Sequence[str],
    labels: Sequence[int],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Train all weights in place by cross-entropy on the gold labels.

    AdamW; the learning rate rises over a tenth of the steps and falls as a cosine to zero.

    Args:
        labels: of each text the number of its label.
        progress: told the share of steps that are done, from 0 to 1.
    """
    torch.manual_seed(seed)  # dropout
    model = encoder.model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=_WEIGHT_DECAY)
    schedule = get_cosine_schedule_with_warmup(optimizer, int(_WARMUP * steps), steps)
    batches = _batches(len(texts), batch_size, seed)
    for step in range(steps):
        rows = next(batches)
        inputs = _encode(model, encoder.tokenizer, [texts[row] for row in rows])
        gold = torch.tensor([labels[row] for row in rows], device=model.device)
        cross_entropy(model(**inputs).logits, gold).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _MAX_GRADIENT_NORM)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        progress((step + 1) / steps)
    model.eval()


def _batches(total: int, size: int, seed: int) -> Iterator[list[int]]:
    """Endless passes over all rows, each in a new order; the last batch of a pass may be short."""
    rng = random.Random(f"encoder {seed}")
    while True:
        order = rng.sample(range(total), total)
        for start in range(0, total, size):
            yield order[start : start + size]


def _encode(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> dict[str, torch.Tensor]:
    context = getattr(model.config, "max_position_embeddings", tokenizer.model_max_length)
    longest = min(context, tokenizer.model_max_length, 512)
    encoded = tokenizer(
        list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt"
    )
    return dict(encoded.to(model.device))
