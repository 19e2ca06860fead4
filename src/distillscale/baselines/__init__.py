"""What somebody would use instead of a pruned student.

TF-IDF and the encoder give log-probabilities of the labels, as `evaluation.metrics` takes them.
"""

from distillscale.baselines.encoder import (
    EncoderClassifier,
    fit_encoder,
    load_encoder,
    new_encoder,
    train_encoder,
)
from distillscale.baselines.same_shape import random_model
from distillscale.baselines.tfidf import TfidfClassifier, fit_tfidf, load_tfidf, save_tfidf

__all__ = [
    "EncoderClassifier",
    "TfidfClassifier",
    "fit_encoder",
    "fit_tfidf",
    "load_encoder",
    "load_tfidf",
    "new_encoder",
    "random_model",
    "save_tfidf",
    "train_encoder",
]
