"""The decision's options as a table."""

from collections.abc import Iterator

from distillscale.report.decision import Decision, Option
from distillscale.report.tables import Cell, Table, number

_HEADER = (
    "", "model", "where", "parameters", "with emb.", "macro F1", "new run", "general",
    "ms/example", "probability",
)  # fmt: skip


def decision_table(decision: Decision) -> Table | None:
    """One row an option, the answer first; None where there is no answer."""
    if not decision.options:
        return None
    rows = tuple(tuple(_cells(option)) for option in decision.options)
    note = (
        "in parentheses: share of the teacher's. New run: interval of its macro F1, where known. "
        "ms/example: of the model or the next larger measured one. Probability: that a new run "
        "keeps the rule"
    )
    return Table(decision.task, _HEADER, rows, note)


def _cells(option: Option) -> Iterator[Cell]:
    yield Cell(option.role)
    yield Cell(option.model)
    yield Cell(option.place)
    yield Cell(f"{option.params:,} ({option.share:.0%})", float(option.params), "number")
    yield Cell(f"{option.params_with_embeddings:,}", None, "number")
    yield _with_share(option.macro_f1, option.f1_share)
    ends = option.interval
    yield Cell("–" if ends is None else f"{number(ends[0])} to {number(ends[1])}", None, "number")
    yield _with_share(option.general, option.general_share)
    time, probability = option.milliseconds, option.probability
    yield Cell("–" if time is None else f"{time:.3g}", time, "number")
    yield Cell("–" if probability is None else f"{probability:.2f}", probability, "number")


def _with_share(value: float | None, share: float | None) -> Cell:
    if value is None or share is None:
        return Cell("–", None, "number")
    return Cell(f"{number(value)} ({share:.0%})", value, "number")
