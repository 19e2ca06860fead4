"""How well a model does its task: closed-set decisions, after reasoning where it reasons.

Reason-then-answer decoding: the model writes its reasoning freely and greedily, then its answer is
constrained to the labels. The answer is the label of the highest log-likelihood behind the
reasoning, found by scoring every path of the tree of labels: the exact maximum, which a greedy or
beam search through the tree can miss. The label that the model writes without the constraint is
read as well, and reported apart.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distillscale.errors import InputError
from distillscale.evaluation.closed_set import closed_set_scores
from distillscale.evaluation.measurement import Measurement
from distillscale.evaluation.metrics import (
    REPLICATES,
    closed_set_measurements,
    log_probabilities,
    measure_mean,
)
from distillscale.models.generate import generate


@dataclass(frozen=True)
class Reasoning:
    """How a model reasons before it answers, and how its text is read.

    Attributes:
        max_new_tokens: the budget for reasoning, marker and answer together.
        marker_ids: tokens of the text that closes the reasoning.
        parse: reads a completion's text; returns the label (None where there is none) and the
            character at which the answer begins (the text's length where there is no marker).
    """

    max_new_tokens: int
    marker_ids: Sequence[int]
    parse: Callable[[str], tuple[str | None, int]]


@dataclass(frozen=True)
class Completion:
    """What a model wrote after a prompt.

    `prefix_ids` are the tokens after the prompt that the closed set is scored behind: reasoning and
    marker. `label` is the answer that the model itself wrote, None where it could not be read.
    `written` counts its tokens, answer and end-of-sequence token included.
    """

    text: str
    label: str | None
    prefix_ids: tuple[int, ...]
    written: int


@dataclass(frozen=True)
class Prediction:
    """The decision on one example; `completion` is None for models that do not reason.

    `probability` is that of the predicted label within the closed set, `gold_nll` the negative
    log-probability of the gold one (nats).
    """

    gold: str
    predicted: str
    probability: float
    gold_nll: float
    completion: Completion | None


@dataclass(frozen=True)
class InDomain:
    """Predictions in the order of the prompts, and the metrics over them.

    `scores` are the labels' log-likelihoods behind the predictions, shape [prompts, labels].
    """

    predictions: tuple[Prediction, ...]
    scores: NDArray[np.float64]
    measurements: tuple[Measurement, ...]


def evaluate_in_domain(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    gold: Sequence[str],
    *,
    labels: Sequence[str],
    label_ids: Sequence[Sequence[int]],
    reasoning: Reasoning | None = None,
    batch_size: int = 32,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> InDomain:
    """Decide every prompt over the closed set of labels.

    Without reasoning the labels are scored right after the prompt. With it the model first writes
    greedily; the labels are scored after its reasoning and marker, and `reasoned_accuracy` (the
    label that it wrote itself is gold; unparsed counts as wrong) and `parse_failure_rate` are
    measured as well.

    Args:
        prompts: token ids, one sequence an example.
        gold: label of each example.
        labels: the closed set, with `label_ids` their token ids as an answer.
        batch_size: prompts in a forward pass.
        seed: of the bootstrap resamples.

    Raises:
        InputError: a gold label is not in the closed set.
    """
    label_indices(gold, labels)  # before the model is asked
    scores, completions = decide(
        model, tokenizer, prompts, label_ids, reasoning=reasoning, batch_size=batch_size
    )
    return measure_decisions(scores, completions, gold, labels, replicates=replicates, seed=seed)


def measure_decisions(
    scores: NDArray[np.float64],
    completions: Sequence[Completion],
    gold: Sequence[str],
    labels: Sequence[str],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> InDomain:
    """Measure what `decide` found, scores that are no numbers too.

    Raises:
        InputError: a gold label is not in the closed set.
    """
    gold_index = label_indices(gold, labels)
    log_probability = log_probabilities(scores)
    predictions = tuple(
        Prediction(
            gold=gold[row],
            predicted=labels[scores[row].argmax()],
            probability=float(np.exp(log_probability[row].max())),
            gold_nll=-float(log_probability[row, gold_index[row]]),
            completion=completions[row] if completions else None,
        )
        for row in range(len(scores))
    )
    measurements = closed_set_measurements(scores, gold_index, replicates=replicates, seed=seed)
    if completions:
        measurements += _written_answers(completions, gold, replicates, seed)
    return InDomain(predictions, scores, tuple(measurements))


def decide(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    label_ids: Sequence[Sequence[int]],
    *,
    reasoning: Reasoning | None,
    batch_size: int = 32,
) -> tuple[NDArray[np.float64], list[Completion]]:
    """Log-likelihoods of the labels, shape [prompts, labels], and what the model wrote before.

    The answer constrained to the labels is each row's argmax. Without reasoning nothing is written
    and the list is empty.
    """
    contexts = [tuple(prompt) for prompt in prompts]
    completions: list[Completion] = []
    if reasoning is not None:
        completions = reason(model, tokenizer, prompts, reasoning, batch_size=batch_size)
        contexts = [
            context + written.prefix_ids
            for context, written in zip(contexts, completions, strict=True)
        ]
    scores = closed_set_scores(model, contexts, [label_ids] * len(contexts), batch_size=batch_size)
    return np.array(scores).reshape(len(prompts), len(label_ids)), completions


def reason(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    reasoning: Reasoning,
    *,
    batch_size: int,
) -> list[Completion]:
    """Let the model write greedily after each prompt, and read what it wrote.

    Decoding steps are cheap next to closed-set passes, so batches are four times as large.
    """
    written = generate(
        model,
        tokenizer,
        prompts,
        max_new_tokens=reasoning.max_new_tokens,
        batch_size=4 * batch_size,
    )
    return [read_completion(ids, tokenizer, reasoning) for ids in written]


def read_completion(
    ids: Sequence[int], tokenizer: PreTrainedTokenizerBase, reasoning: Reasoning
) -> Completion:
    """Split a completion at its answer marker; where there is none, the marker is appended.

    The model's own tokens are kept up to the answer (to encode their text again might split it
    otherwise); only where one token holds both the marker's end and the answer's beginning are the
    marker's own tokens put in its place.
    """
    text, marker = _decode(tokenizer, ids), _decode(tokenizer, reasoning.marker_ids)
    label, start = reasoning.parse(text)
    kept = ids
    if text[:start].endswith(marker):
        kept = _tokens_within(start, ids, tokenizer)
        if len(_decode(tokenizer, kept)) == start:
            return Completion(text, label, _without_end(kept, tokenizer), len(ids))
        kept = _tokens_within(start - len(marker), ids, tokenizer)
    prefix = (*_without_end(kept, tokenizer), *reasoning.marker_ids)
    return Completion(text, label, prefix, len(ids))


def _tokens_within(
    character: int, ids: Sequence[int], tokenizer: PreTrainedTokenizerBase
) -> Sequence[int]:
    """The first tokens, as many as have their text end at or before a character."""
    ends = range(1, len(ids) + 1)
    return ids[: bisect_right(ends, character, key=lambda end: len(_decode(tokenizer, ids[:end])))]


def _written_answers(
    completions: Sequence[Completion], gold: Sequence[str], replicates: int, seed: int
) -> list[Measurement]:
    labels = [completion.label for completion in completions]
    right = np.array([label == own for label, own in zip(labels, gold, strict=True)], dtype=bool)
    unparsed = np.array([label is None for label in labels], dtype=bool)
    return [
        measure_mean("reasoned_accuracy", right, replicates=replicates, seed=seed),
        measure_mean("parse_failure_rate", unparsed, replicates=replicates, seed=seed),
    ]


def _decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return tokenizer.decode(list(ids), skip_special_tokens=True)


def _without_end(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    return tuple(token for token in ids if token != tokenizer.eos_token_id)


def label_indices(gold: Sequence[str], labels: Sequence[str]) -> NDArray[np.intp]:
    """The number of each label in the closed set, shape [examples].

    Raises:
        InputError: a label is not one of them.
    """
    position = {label: number for number, label in enumerate(labels)}
    for row, label in enumerate(gold):
        if label not in position:
            raise InputError(
                f"gold label `{label}` of example {row} is not one of the {len(labels)} classes."
            )
    return np.array([position[label] for label in gold], dtype=np.intp)
