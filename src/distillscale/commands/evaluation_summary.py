"""What `evaluate` prints."""

from collections.abc import Iterator, Sequence

from distillscale.commands.cost_summary import WIDTH, cost_lines
from distillscale.commands.judged import Comparison, Judged, Subject
from distillscale.evaluation import Measurement

_SHOWN = 5
_COVERAGES = (0.5, 0.8, 0.9)
_METRICS = {
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "accuracy": "accuracy",
    "gold_probability": "gold-label probability",
    "gold_nll": "gold-label NLL (nats)",
    "ece": "calibration error (ECE)",
    "aurc": "area under risk-coverage",
    "accuracy_per_token": "accuracy, score / tokens",
    "accuracy_per_character": "accuracy, score / characters",
    "reasoned_accuracy": "accuracy as written",
    "parse_failure_rate": "unparsed answers (share)",
}


def summary(
    subject: Subject,
    judged: Sequence[Judged],
    comparison: Comparison | None,
    hourly_price: float | None,
) -> str:
    """The measures of one or two models as text; money only at a stated price."""
    lines = [
        f"{subject.task}: {subject.examples:,} examples of {subject.data}, {subject.classes} "
        "classes; in brackets the middle 90 % of resamples of the examples"
    ]
    for own in judged:
        lines += ["", f"{own.model} (thinking: {own.thinking})", *_of_model(own)]
        lines += ["  on this machine, now:", *cost_lines(own.cost, hourly_price)]
    if comparison is not None:
        names = " against ".join(own.model for own in judged)
        lines += ["", names, *_of_comparison(comparison)]
    return "\n".join(lines)


def _of_model(own: Judged) -> Iterator[str]:
    measured = own.measurements
    for name, title in _METRICS.items():
        if name in measured:
            yield f"  {title:<{WIDTH}}{_number(measured[name])}"
    coverage = own.assessment.coverage
    shares = coverage[coverage["asked"].isin(_COVERAGES)]
    parts = [f"{row.accuracy:.4f} on the surest {row.coverage:.0%}" for row in shares.itertuples()]
    yield f"  {'accuracy at coverage':<{WIDTH}}{', '.join(parts)}"
    worst = own.assessment.classes.dropna(subset="f1")
    worst = (
        worst[(worst["support"] > 0) & (worst["f1"] < 1)]
        .sort_values("f1", kind="stable")
        .head(_SHOWN)
    )
    if len(worst):
        yield "  worst classes: " + "; ".join(
            f"{row.label} F1 {row.f1:.3f} of {row.support}" for row in worst.itertuples()
        )
    pairs = own.assessment.pairs.head(_SHOWN)
    if len(pairs):
        yield "  most confused: " + "; ".join(
            f"{row.gold} taken for {row.predicted} ({row.times})"
            for row in pairs.rename(columns={"count": "times"}).itertuples()
        )


def _of_comparison(comparison: Comparison) -> Iterator[str]:
    test = comparison.accuracy
    yield (
        f"  accuracy: right alone on {test.only_first} and {test.only_second} examples, McNemar's "
        f"exact test p = {test.p:.4g}"
    )
    for item in comparison.f1:
        yield (
            f"  {_METRICS[item.metric]}: {item.value:+.4f} [{item.low:+.4f}, {item.high:+.4f}], "
            f"paired bootstrap p = {item.p:.4g}"
        )


def _number(item: Measurement) -> str:
    if item.value is None:
        return "not measured"
    interval = item.interval()
    inside = "" if interval is None else f"  [{interval[0]:.4f}, {interval[1]:.4f}]"
    chance = "" if item.chance is None else f"  chance {item.chance:.4f}"
    return f"{item.value:.4f}{inside}{chance}"
