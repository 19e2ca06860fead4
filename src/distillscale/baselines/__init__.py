"""What somebody would use instead of a pruned student: classifiers trained on the gold labels.

Both give log-probabilities of the labels, as `evaluation.metrics` takes them.
"""

from distillscale.baselines.encoder import (
    EncoderClassifier,
    encoder_learning_rate,
    load_encoder,
    new_encoder,
    train_encoder,
)
from distillscale.baselines.tfidf import TfidfClassifier, fit_tfidf

__all__ = [
    "EncoderClassifier",
    "TfidfClassifier",
    "encoder_learning_rate",
    "fit_tfidf",
    "load_encoder",
    "new_encoder",
    "train_encoder",
]
