"""What a checkpoint can do: in its domain, in general knowledge, and how fast.

Each function returns `Measurement`s, rows that the results table takes as they are.
"""

from distillscale.evaluation.closed_set import closed_set_scores
from distillscale.evaluation.divergence import kl_by_segment
from distillscale.evaluation.harness import harness_benchmarks, harness_knowledge
from distillscale.evaluation.in_domain import (
    Completion,
    InDomain,
    Prediction,
    Reasoning,
    evaluate_in_domain,
)
from distillscale.evaluation.knowledge import evaluate_knowledge
from distillscale.evaluation.latency import measure_latency
from distillscale.evaluation.measurement import Measurement
from distillscale.evaluation.metrics import bootstrap_weights

__all__ = [
    "Completion",
    "InDomain",
    "Measurement",
    "Prediction",
    "Reasoning",
    "bootstrap_weights",
    "closed_set_scores",
    "evaluate_in_domain",
    "evaluate_knowledge",
    "harness_benchmarks",
    "harness_knowledge",
    "kl_by_segment",
    "measure_latency",
]
