"""How metrics are named on axes and in tables."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricText:
    """`short` heads a table's column, `axis` titles an axis, with the unit and what is better."""

    short: str
    axis: str


METRICS: dict[str, MetricText] = {
    "macro_f1": MetricText("macro F1", "Macro F1 (0–1, higher is better)"),
    "weighted_f1": MetricText("weighted F1", "Weighted F1 (0–1, higher is better)"),
    "accuracy": MetricText("accuracy", "Accuracy (0–1, higher is better)"),
    "gold_nll": MetricText("gold NLL", "Gold-label NLL (nats, lower is better)"),
    "gold_probability": MetricText("gold prob.", "Gold-label probability (0–1, higher is better)"),
    "ece": MetricText("ECE", "Expected calibration error (0–1, lower is better)"),
    "aurc": MetricText("AURC", "Area under the risk-coverage curve (0–1, lower is better)"),
    "reasoned_accuracy": MetricText("reasoned acc.", "Reason-then-answer accuracy (0–1)"),
    "parse_failure_rate": MetricText("unparsed", "Unparsed answers (share)"),
    "general": MetricText("general", "General knowledge (mean accuracy)"),
    "lab_facts": MetricText("facts (4-way)", "Single facts, four choices (accuracy)"),
    "lab_joins": MetricText("joins (10-way)", "Joined facts, ten choices (accuracy)"),
    "lab_facts_rehearsed": MetricText("facts rehearsed", "Single facts, rehearsed (accuracy)"),
    "lab_facts_unrehearsed": MetricText("facts unreh.", "Single facts, unrehearsed (accuracy)"),
    "lab_joins_rehearsed": MetricText("joins rehearsed", "Joined facts, rehearsed (accuracy)"),
    "lab_joins_unrehearsed": MetricText("joins unreh.", "Joined facts, unrehearsed (accuracy)"),
    "mmlu": MetricText("MMLU", "MMLU (accuracy)"),
    "mmlu_pro": MetricText("MMLU-Pro", "MMLU-Pro (accuracy)"),
    "kl_answer": MetricText("KL answer", "KL on the answer (nats per token)"),
    "kl_reasoning": MetricText("KL reasoning", "KL on the reasoning (nats per token)"),
    "kl_truncation_error_answer": MetricText(
        "KL hidden, answer", "KL that truncation hides, on the answer (nats per token)"
    ),
    "kl_truncation_error_reasoning": MetricText(
        "KL hidden, reasoning", "KL that truncation hides, on the reasoning (nats per token)"
    ),
    "train_loss": MetricText("train loss", "Training loss (nats per token)"),
    "gradient_norm_spread": MetricText("grad. spread", "Gradient-norm spread (no unit)"),
    "ms_per_example": MetricText("ms/example", "Milliseconds per example"),
    "examples_per_second": MetricText("examples/s", "Examples per second"),
    "ms_per_example_batch_32": MetricText("ms in 32", "Milliseconds per example in batches of 32"),
    "prefill_tokens_per_second": MetricText("prefill/s", "Prompt tokens read per second"),
    "decode_tokens_per_second": MetricText("decode/s", "Tokens written per second"),
    "peak_memory_bytes": MetricText("peak memory", "Peak memory of a batch of 32 (bytes)"),
    "flops_per_example": MetricText("FLOPs", "Floating-point operations per example"),
    "file_bytes": MetricText("file size", "Size of the weights' files (bytes)"),
}

BENCHMARKS = ("lab_facts", "lab_joins", "mmlu", "mmlu_pro")


def short_name(metric: str) -> str:
    """What heads the metric's column in a table."""
    return METRICS[metric].short if metric in METRICS else metric.replace("_", " ")


def axis_title(metric: str) -> str:
    """What titles the metric's axis, unit included."""
    return METRICS[metric].axis if metric in METRICS else metric.replace("_", " ")
