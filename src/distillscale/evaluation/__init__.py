"""What a checkpoint can do: in its domain, in general knowledge, and how fast.

Each function returns `Measurement`s, rows that the results table takes as they are.
"""

from distillscale.evaluation.closed_set import closed_set_scores
from distillscale.evaluation.cost import measure_cost
from distillscale.evaluation.divergence import kl_by_segment
from distillscale.evaluation.harness import (
    BenchmarkSettings,
    benchmark_measurements,
    harness_benchmarks,
    harness_knowledge,
)
from distillscale.evaluation.harness_backend import hf_backend, vllm_backend
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
from distillscale.evaluation.prediction_file import (
    PREDICTIONS,
    StoredPredictions,
    read_predictions,
    write_predictions,
)
from distillscale.evaluation.task_inputs import TaskInputs, task_inputs
from distillscale.evaluation.text_classifier import Score, evaluate_text_classifier

__all__ = [
    "PREDICTIONS",
    "BenchmarkSettings",
    "Completion",
    "InDomain",
    "Measurement",
    "Prediction",
    "Reasoning",
    "Score",
    "StoredPredictions",
    "TaskInputs",
    "benchmark_measurements",
    "bootstrap_weights",
    "closed_set_scores",
    "evaluate_in_domain",
    "evaluate_knowledge",
    "evaluate_text_classifier",
    "harness_benchmarks",
    "harness_knowledge",
    "hf_backend",
    "kl_by_segment",
    "measure_cost",
    "measure_latency",
    "read_predictions",
    "task_inputs",
    "vllm_backend",
    "write_predictions",
]
