"""`classify`: ask a deployed student for the class of a text."""

from pathlib import Path

import numpy as np

from distillscale.commands.deployment import read_deployment
from distillscale.evaluation import Reasoning
from distillscale.evaluation.in_domain import decide
from distillscale.models.checkpoint import load_model, load_tokenizer
from distillscale.tasks.prompt import (
    answer_format,
    encode_labels,
    encode_marker,
    encode_prompt,
    parse_completion,
)


def classify(folder: Path, texts: list[str]) -> None:
    """Print the most likely class of each text and its probability over the closed set.

    Raises:
        InputError: the folder is not one that `compress` wrote, or is damaged.
    """
    deployed = read_deployment(folder)
    task, thinking = deployed.task, deployed.thinking
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    style = answer_format(tokenizer)
    reasoning = None
    if thinking != "none":
        reasoning = Reasoning(
            deployed.max_new_tokens,
            encode_marker(tokenizer),
            lambda text: parse_completion(text, task, thinking, style),
        )
    texts = [" ".join(text.split()) for text in texts]  # as the texts trained on were read
    prompts = [encode_prompt(task, text, thinking, tokenizer) for text in texts]
    label_ids = encode_labels(task, tokenizer)
    scores, _ = decide(model, tokenizer, prompts, label_ids, reasoning=reasoning)
    for text, row in zip(texts, scores, strict=True):
        best = int(row.argmax())
        probability = float(np.exp(row[best] - np.logaddexp.reduce(row)))
        print(f"{task.labels[best]}\t{probability:.3f}\t{text}")
