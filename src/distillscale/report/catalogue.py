"""The figures of a report, in the order of the page."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from altair.typing import ChartType

from distillscale.report import (
    comparisons,
    dataset,
    dataset_views,
    knowledge,
    procedure,
    schedule_comparison,
    spectrum,
    stability,
)
from distillscale.report.inputs import NotDrawn, ReportInputs, TraceSample
from distillscale.report.metrics import BENCHMARKS
from distillscale.report.series import name_thinking, several_depths, with_configurations


@dataclass(frozen=True)
class TaskData:
    """What the figures of one task are drawn from; `results` has the column `configuration`."""

    results: pd.DataFrame
    curves: pd.DataFrame
    labels: pd.DataFrame
    embedding: pd.DataFrame
    lengths: pd.DataFrame
    similarities: pd.DataFrame
    traces: tuple[TraceSample, ...]


@dataclass(frozen=True)
class FigurePlan:
    """A figure's file name, its section of the page, what it is called and how to read it."""

    name: str
    section: str
    heading: str
    caption: str
    draw: Callable[[TaskData], ChartType]


@dataclass(frozen=True)
class Figure:
    """A figure of one task: its chart, or the sentence on why there is none."""

    name: str
    task: str
    plan: FigurePlan
    chart: ChartType | None
    reason: str


_Compare = Callable[[pd.DataFrame, pd.DataFrame, list[str], str], ChartType]
_VIEWS = (
    (
        "dataset-size", "against dataset size", comparisons.against_dataset_size,
        "What more training examples are worth, at one kept ratio.",
    ),
    (
        "model-size", "against model size", comparisons.against_model_size,
        "What each configuration still can do as the model shrinks, the pruned-only control with "
        "them.",
    ),
    (
        "schedule", "by schedule", schedule_comparison.against_schedule,
        "Whether it matters in how many and how large steps the model was pruned to a size.",
    ),
)  # fmt: skip
_METRIC_PAIRS = (
    ("f1-likelihood", "quality", "Macro F1 and gold-label likelihood", ["macro_f1", "gold_nll"]),
    ("weighted-f1-accuracy", "quality", "Weighted F1 and accuracy", ["weighted_f1", "accuracy"]),
    ("knowledge", "knowledge", "General knowledge", list(BENCHMARKS)),
)


def _comparison(
    compare: _Compare, metrics: list[str], what: str
) -> Callable[[TaskData], ChartType]:
    return lambda data: compare(data.results, data.curves, metrics, what)


def _comparison_plans() -> list[FigurePlan]:
    return [
        FigurePlan(
            f"{name}-by-{view}", section, f"{what} {how}", caption,
            _comparison(compare, metrics, what),
        )
        for name, section, what, metrics in _METRIC_PAIRS
        for view, how, compare, caption in _VIEWS
    ]  # fmt: skip


PLANS: tuple[FigurePlan, ...] = (
    FigurePlan(
        "label-distribution", "dataset", "Label distribution",
        "How often each label occurs, grouped by category.",
        lambda data: dataset.label_distribution(data.labels),
    ),
    FigurePlan(
        "category-by-label", "dataset", "Categories and their labels",
        "How the labels share out each category.",
        lambda data: dataset_views.category_by_label(data.labels),
    ),
    FigurePlan(
        "lengths", "dataset", "Lengths of texts",
        "What a context of a given length would cut off.",
        lambda data: dataset_views.length_histogram(data.lengths),
    ),
    FigurePlan(
        "similarities", "dataset", "Similarity to the nearest text",
        "Orange: training texts that have a near-duplicate among the training texts.",
        lambda data: dataset_views.similarity_histogram(
            data.similarities["similarity"].to_numpy(),
            total=int(data.similarities["compared"].max()) if len(data.similarities) else 0,
        ),
    ),
    FigurePlan(
        "embedding", "dataset", "The dataset in two dimensions",
        "Hover for the text; click a category in the legend to see it alone.",
        lambda data: dataset.embedding_view(data.embedding),
    ),
    FigurePlan(
        "supervision-spectrum", "method", "The supervision spectrum",
        "The same input under each format of supervision: from the bare label to full reasoning. "
        "In cot the loss is a mean over all tokens, so a long reasoning drowns the answer; blended "
        "weighs the two segments apart.",
        lambda data: spectrum.supervision_spectrum(data.traces),
    ),
    FigurePlan(
        "schedules", "method", "The iterative procedure and its schedules",
        "One stage prunes and distills; the schedule says how much each stage keeps.",
        lambda data: procedure.schedules(data.results),
    ),
    *_comparison_plans(),
    FigurePlan(
        "knowledge-rehearsed", "knowledge", "Rehearsed and unrehearsed knowledge",
        "If reasoning only repeated facts, its advantage would vanish on the right.",
        lambda data: knowledge.rehearsed(data.results, data.curves),
    ),
    FigurePlan(
        "stability", "stability", "Stability of learning from reasoning",
        "Lower is steadier. A chain stops early where its training diverges, or where the study "
        "was interrupted.",
        lambda data: stability.stability(data.results),
    ),
)  # fmt: skip


def draw_all(inputs: ReportInputs) -> list[Figure]:
    """Every figure of every task; of several tasks, each figure's name begins with the task's."""
    results = with_configurations(inputs.results)
    curves = name_thinking(inputs.curves, several_depths(inputs.results))
    prefixes = _file_prefixes(inputs.tasks)
    return [
        _drawn(plan, task, prefixes[task] + plan.name, _task_data(inputs, results, curves, task))
        for plan in PLANS
        for task in inputs.tasks
    ]


def _task_data(
    inputs: ReportInputs, results: pd.DataFrame, curves: pd.DataFrame, task: str
) -> TaskData:
    return TaskData(
        results=results[results["task"] == task],
        curves=curves[curves["task"] == task],
        labels=inputs.labels[inputs.labels["task"] == task],
        embedding=inputs.embedding[inputs.embedding["task"] == task],
        lengths=inputs.lengths[inputs.lengths["task"] == task],
        similarities=inputs.similarities[inputs.similarities["task"] == task],
        traces=tuple(trace for trace in inputs.traces if trace.task == task),
    )


def _drawn(plan: FigurePlan, task: str, name: str, data: TaskData) -> Figure:
    try:
        chart = plan.draw(data)
    except NotDrawn as reason:
        return Figure(name, task, plan, None, str(reason))
    if name != plan.name:
        chart.title.text = f"{chart.title.text} · {task}"
    return Figure(name, task, plan, chart, "")


def _file_prefixes(tasks: list[str]) -> dict[str, str]:
    """What a task's file names begin with: nothing for a single task, else its name, made safe."""
    if len(tasks) == 1:
        return {tasks[0]: ""}
    slugs = [re.sub(r"[^A-Za-z0-9_-]+", "-", task).strip("-") or "task" for task in tasks]
    return {
        task: f"{slug}{'' if slugs.count(slug) == 1 else f'-{place}'}-"
        for place, (task, slug) in enumerate(zip(tasks, slugs, strict=True), start=1)
    }
