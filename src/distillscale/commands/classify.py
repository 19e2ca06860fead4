"""`classify`: ask a deployed student for the class of a text."""

from pathlib import Path

from distillscale.serving.classifier import load_classifier


def classify(folder: Path, texts: list[str]) -> None:
    """Print the most likely class of each text and its probability over the closed set.

    Raises:
        InputError: the folder is not one that `compress` or `export` wrote, or is damaged.
    """
    decisions = load_classifier(folder).classify(texts)
    for text, decision in zip(texts, decisions, strict=True):
        print(f"{decision.label}\t{decision.probability:.3f}\t{' '.join(text.split())}")
