"""What a report is made of: tables and records, handed over as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from distillscale.errors import InputError
from distillscale.report.answers import AnswerSheet
from distillscale.report.decision import Decision
from distillscale.results import BASELINE_COLUMNS, COLUMNS

_COLUMNS_OF: dict[str, tuple[str, ...]] = {
    "results": tuple(COLUMNS),
    "laws": (
        "law", "task", "configuration", "metric", "parameter",
        "estimate", "low", "high", "identified", "note",
    ),
    "curves": ("law", "task", "configuration", "metric", "x_name", "x", "value", "low", "high"),
    "recovery": (
        "task", "configuration", "against", "metric", "schedule", "stage", "prune_ratio",
        "dataset_size", "difference", "low", "high",
    ),
    "labels": ("task", "label", "category", "count"),
    "embedding": ("task", "x", "y", "label", "category", "text"),
    "lengths": ("task", "characters", "count"),
    "similarities": ("task", "similarity", "compared"),
    "law_lines": (
        "fit", "law", "task", "configuration", "metric", "x_name", "x", "value", "low", "high",
        "part",
    ),
    "law_points": (
        "fit", "law", "task", "configuration", "metric", "x_name", "x", "value", "low", "high",
        "residual",
    ),
    "joint_lines": (
        "fit", "law", "task", "configuration", "metric", "x_name", "panel", "dataset_size", "piece",
        "part", "x", "value", "low", "high",
    ),
    "joint_points": (
        "fit", "law", "task", "configuration", "metric", "x_name", "panel", "dataset_size", "x",
        "value", "low", "high", "predicted", "residual",
    ),
    "certificates": (
        "law", "task", "configuration", "metric", "x", "loss", "gradient", "starts", "reached",
        "second_basin", "other_solver", "doubts",
    ),
    "exponents": (
        "law", "task", "configuration", "metric", "x", "parameter", "value", "low", "high", "kind",
    ),
    "collapse": (
        "task", "configuration", "quantity", "in_domain", "general", "value", "low", "high", "kind",
    ),
    "contrasts": (
        "factor", "held", "metric", "contrast", "context", "difference", "low", "high", "p_holm",
        "pairs", "units",
    ),
    "shares": ("final_ratio", "metric", "source", "share", "p_holm", "cells"),
    "baselines": tuple(BASELINE_COLUMNS),
}  # fmt: skip


@dataclass(frozen=True)
class Segment:
    """A stretch of a teacher's text: what it reasoned, or what it answered."""

    text: str
    kind: Literal["reasoning", "answer"]


@dataclass(frozen=True)
class TraceSample:
    """One real trace of a supervision format, with what that format supervises on average.

    `prompt` is the input's text (the headline, not the whole template). The token counts are means
    per training example. `answer_share` in [0, 1] is the share of the training loss that the
    answer segment carries: 1 for `label`, the answer's share of the tokens for `cot`, w for
    `blended`.
    """

    task: str
    supervision: str
    thinking: str
    prompt: str
    segments: tuple[Segment, ...]
    mean_reasoning_tokens: float
    mean_answer_tokens: float
    answer_share: float


@dataclass(frozen=True)
class Judged:
    """One model's decisions on a task's test examples.

    `confusion`: counts, gold labels as index, predicted ones as columns. `reliability`: one row a
    bin of confidence, columns low, high, examples, confidence and accuracy. `error` is the expected
    calibration error.
    """

    task: str
    model: str
    confusion: pd.DataFrame
    reliability: pd.DataFrame
    error: float


@dataclass(frozen=True)
class ReportInputs:
    """Everything that a report shows.

    `facts` (name to value) is the list at the head of the page: teacher, sizes, cells, steps,
    machine, date, versions. `results` is the table of `distillscale.results`; an interval is read
    from its `replicates`. `curves` holds fitted laws on a grid of `x` inside their range, `x_name`
    being `dataset_size`, `params` or `prune_ratio`; where several curves describe one series, the
    first is drawn. `curves`, `laws` and `recovery` may have a column `thinking`, which tells apart
    configurations that were run with several depths, and `laws` a column `x`. `lengths` counts
    texts by length; `similarities` has, for each text that was looked at, its cosine with the most
    similar other one of `compared` texts, by the embedder `hashed`.

    `law_lines` holds each fitted law (`fit` tells them apart) on a grid of `x`, `part` being
    `fitted` or `beyond`, outside the range of its points; `law_points` the points behind it,
    `residual` being measured minus fitted. `joint_lines` and `joint_points` are the same for laws
    of several inputs or groups: a line is of one configuration and, where size and data vary
    together, one `dataset_size`; `panel` tells apart what is drawn side by side (a method, a
    teacher's size), `piece` the stretches of one line.

    `exponents` has a `kind`: `value`, `<` or `>` (only `high`, or only `low`, is known) or
    `unidentified`. `collapse`, `contrasts`, `shares` and `certificates` are tables of
    `distillscale.laws`. `decisions`, `sheets` and `judged` hold at
    most one entry a task. `baselines` are the models that students are compared with, and
    `hourly_price`, where it is known, is what an hour of the machine costs that measured all times.
    Tables without rows are allowed: what they would show is left out, and
    the page says so. `notes` are sentences on how far the numbers may be trusted.
    """

    title: str
    facts: Mapping[str, str]
    results: pd.DataFrame
    laws: pd.DataFrame
    curves: pd.DataFrame
    recovery: pd.DataFrame
    recommendation: str
    labels: pd.DataFrame
    traces: tuple[TraceSample, ...]
    embedding: pd.DataFrame
    lengths: pd.DataFrame
    similarities: pd.DataFrame
    law_lines: pd.DataFrame
    law_points: pd.DataFrame
    joint_lines: pd.DataFrame
    joint_points: pd.DataFrame
    certificates: pd.DataFrame
    exponents: pd.DataFrame
    collapse: pd.DataFrame
    contrasts: pd.DataFrame
    shares: pd.DataFrame
    baselines: pd.DataFrame
    hourly_price: float | None
    decisions: tuple[Decision, ...]
    sheets: tuple[AnswerSheet, ...]
    judged: tuple[Judged, ...]
    notes: tuple[str, ...]
    command: str

    def __post_init__(self) -> None:
        """Check that each table has its columns.

        Raises:
            InputError: a column is missing.
        """
        for name, columns in _COLUMNS_OF.items():
            missing = [c for c in columns if c not in getattr(self, name).columns]
            if missing:
                raise InputError(
                    f"report table `{name}`: column `{missing[0]}` is missing; it needs "
                    f"{', '.join(columns)}."
                )

    @property
    def tasks(self) -> list[str]:
        """The tasks that have results, in the order of the results table."""
        return [str(task) for task in self.results["task"].unique()]


def empty_table(name: str) -> pd.DataFrame:
    """A table without rows for the field `name` of `ReportInputs`, with the right columns."""
    return pd.DataFrame({column: [] for column in _COLUMNS_OF[name]})


class NotDrawn(Exception):
    """A figure has no data to show; its text is the sentence that the page prints instead."""
