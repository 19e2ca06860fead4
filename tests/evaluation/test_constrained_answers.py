"""Reason, then answer within the labels: exact where a search through the tree can miss."""

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from distillscale.evaluation.in_domain import Reasoning, decide

MARKER = "\nAnswer:"
# Many labels of three to four tokens with common beginnings.
LABELS = [f"{first}{second}{third}" for first in "abc" for second in "def" for third in "ghi"]


@pytest.fixture(scope="module")
def label_ids(tokenizer) -> list[list[int]]:
    return [
        [token for letter in label for token in tokenizer.encode(letter)] + [tokenizer.eos_token_id]
        for label in LABELS
    ]


@pytest.fixture(scope="module")
def prompts(tokenizer) -> list[list[int]]:
    return [tokenizer.encode(f"Headline: number {number}\nThink:") for number in range(12)]


@pytest.fixture(scope="module")
def reasoning(tokenizer) -> Reasoning:
    return Reasoning(8, tokenizer.encode(MARKER), lambda text: (None, len(text)))


@torch.no_grad()
def search(
    model: PreTrainedModel, context: tuple[int, ...], label_ids: list[list[int]], beams: int
) -> int:
    """The label that transformers' own constrained search finds, by greedy or beam search."""

    def allowed(_: int, written: torch.Tensor) -> list[int]:
        own = written.tolist()[len(context) :]
        end = model.config.eos_token_id
        if end in own:
            return [end]
        return sorted({ids[len(own)] for ids in label_ids if ids[: len(own)] == own})

    output = model.generate(
        input_ids=torch.tensor([context]),
        attention_mask=torch.ones(1, len(context), dtype=torch.long),
        max_new_tokens=max(map(len, label_ids)),
        num_beams=beams,
        do_sample=False,
        length_penalty=0.0,
        prefix_allowed_tokens_fn=allowed,
        pad_token_id=model.config.pad_token_id,
    )
    return label_ids.index(output[0, len(context) :].tolist())


def test_the_answer_is_the_best_path_of_the_tree(model, tokenizer, prompts, label_ids, reasoning):
    """A beam as wide as the tree finds the same label; the greedy path is never more likely."""
    scores, written = decide(model, tokenizer, prompts, label_ids, reasoning=reasoning)
    contexts = [
        (*prompt, *completion.prefix_ids)
        for prompt, completion in zip(prompts, written, strict=True)
    ]
    exact = scores.argmax(axis=1)
    beam = [search(model, context, label_ids, len(LABELS)) for context in contexts]
    greedy = [search(model, context, label_ids, 1) for context in contexts]
    assert exact.tolist() == beam
    rows = np.arange(len(prompts))
    assert (scores[rows, exact] >= scores[rows, greedy]).all()
    assert exact.tolist() != greedy  # and here, it misses the best


def test_answers_stay_within_the_labels_whatever_was_written(
    model, tokenizer, prompts, label_ids, reasoning
):
    """The random model never wrote the marker: the answer is read behind it all the same."""
    scores, written = decide(model, tokenizer, prompts, label_ids, reasoning=reasoning)
    assert scores.shape == (len(prompts), len(LABELS))
    assert np.isfinite(scores).all()
    for completion in written:
        assert completion.label is None
        assert tokenizer.decode(completion.prefix_ids).endswith(MARKER)
