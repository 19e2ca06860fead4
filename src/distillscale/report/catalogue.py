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
    decision_view,
    evaluation_views,
    evidence_views,
    joint_law_views,
    knowledge,
    law_views,
    procedure,
    schedule_comparison,
    spectrum,
    stability,
)
from distillscale.report.decision import Decision
from distillscale.report.inputs import Judged, NotDrawn, ReportInputs, TraceSample
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
    law_lines: pd.DataFrame
    law_points: pd.DataFrame
    joint_lines: pd.DataFrame
    joint_points: pd.DataFrame
    exponents: pd.DataFrame
    collapse: pd.DataFrame
    contrasts: pd.DataFrame
    shares: pd.DataFrame
    baselines: pd.DataFrame
    hourly_price: float | None
    decisions: tuple[Decision, ...]
    judged: tuple[Judged, ...]


@dataclass(frozen=True)
class FigurePlan:
    """A figure's file name, its section of the page, what it is called and how to read it.

    `of_study`: drawn once for all tasks together; its data are not of one task. `with_price`: only
    part of reports whose study states one.
    """

    name: str
    section: str
    heading: str
    caption: str
    draw: Callable[[TaskData], ChartType]
    of_study: bool = False
    with_price: bool = False


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


def _laws(kind: law_views.LawKind) -> Callable[[TaskData], ChartType]:
    return lambda data: law_views.laws_with_data(kind, data.law_lines, data.law_points)


def _joint(kind: joint_law_views.JointKind) -> Callable[[TaskData], ChartType]:
    return lambda data: joint_law_views.joint_laws_with_data(
        kind, data.joint_lines, data.joint_points
    )


def _confusion(judged: tuple[Judged, ...]) -> ChartType:
    chart = evaluation_views.confusion_view(_chosen(judged).confusion)
    return _named(chart, judged)


def _reliability(judged: tuple[Judged, ...]) -> ChartType:
    chosen = _chosen(judged)
    return _named(evaluation_views.reliability_view(chosen.reliability, chosen.error), judged)


def _chosen(judged: tuple[Judged, ...]) -> Judged:
    if not judged:
        raise NotDrawn("No scores of the chosen student are stored.")
    return judged[0]


def _named(chart: ChartType, judged: tuple[Judged, ...]) -> ChartType:
    chart.title.text = f"{chart.title.text} · {judged[0].model}"
    return chart


def _money(data: TaskData) -> ChartType:
    if data.hourly_price is None:
        raise NotDrawn("The study states no price.")
    return decision_view.money(data.results, data.decisions, data.baselines, data.hourly_price)


PLANS: tuple[FigurePlan, ...] = (
    FigurePlan(
        "fronts", "decision", "What each model keeps, and what it costs",
        "Every measured model; the answer above is ringed. Hover for its configuration.",
        lambda data: decision_view.fronts(data.results, data.decisions, data.baselines),
    ),
    FigurePlan(
        "money", "decision", "What a million texts cost",
        "At the price that the study states, of a machine that is busy all the time; times were "
        "taken in batches of 32.",
        _money, with_price=True,
    ),
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
    *(
        FigurePlan(
            f"laws-{kind.law}", "laws", f"{kind.title}, with their data and residuals",
            "Whether a law follows its points, and how fast its band opens beyond them. Residuals "
            "that bend together mean that the form is wrong.",
            _laws(kind),
        )
        for kind in (law_views.DATA, law_views.SIZE, law_views.COLLAPSE)
    ),
    *(
        FigurePlan(
            name, "laws", f"{kind.title}: data and residuals",
            "Laws fitted to several inputs or formats at once. Bands and lines as above; a line is "
            "dashed wherever nothing was measured on it.",
            _joint(kind),
        )
        for name, kind in joint_law_views.KINDS.items()
    ),
    FigurePlan(
        "exponents", "laws", "Exponents by format of supervision",
        "How fast the error falls with examples (beta) and with parameters (alpha).",
        lambda data: evidence_views.exponent_forest(data.exponents),
    ),
    FigurePlan(
        "collapse-points", "laws", "Collapse points by format",
        "Whether general knowledge is lost before the task is; the gap is paired: same runs, same "
        "resamples.",
        lambda data: evidence_views.collapse_points(data.collapse),
    ),
    FigurePlan(
        "contrasts", "comparison", "What each factor changes, all else equal",
        "distillscale laws compare prints the same with p-values and all metrics.",
        lambda data: evidence_views.contrast_plot(data.contrasts), of_study=True,
    ),
    FigurePlan(
        "variance-shares", "comparison", "What the differences between models come from",
        "Analysis of variance; distillscale laws compare prints its tests.",
        lambda data: evidence_views.variance_bars(data.shares), of_study=True,
    ),
    FigurePlan(
        "confusion", "answers", "Which class was taken for which",
        "Of the student that the decision names, or the nearest one that was measured.",
        lambda data: _confusion(data.judged),
    ),
    FigurePlan(
        "reliability", "answers", "Is the student as right as it says?",
        "A threshold on its confidence leaves doubtful headlines to a person.",
        lambda data: _reliability(data.judged),
    ),
)  # fmt: skip


def draw_all(inputs: ReportInputs) -> list[Figure]:
    """Every figure of every task; of several tasks, each figure's name begins with the task's.

    Figures of the whole study are drawn once, and belong to no task.
    """
    results = with_configurations(inputs.results)
    several = several_depths(inputs.results)
    named = {
        name: name_thinking(getattr(inputs, name), several)
        for name in (
            "curves",
            "law_lines",
            "law_points",
            "joint_lines",
            "joint_points",
            "exponents",
            "collapse",
        )
    }
    tables = {name: getattr(inputs, name) for name in _OF_A_TASK if name not in named}
    tables |= named | {"results": results}
    prefixes = _file_prefixes(inputs.tasks)
    data = {task: _task_data(inputs, tables, task) for task in inputs.tasks}
    whole = next(iter(data.values()))
    return [
        _drawn(plan, *place)
        for plan in PLANS
        if inputs.hourly_price is not None or not plan.with_price
        for place in (
            [("", plan.name, whole)]
            if plan.of_study
            else [(task, prefixes[task] + plan.name, data[task]) for task in inputs.tasks]
        )
    ]


_OF_A_TASK = (
    "results", "curves", "labels", "embedding", "lengths", "similarities", "law_lines",
    "law_points", "joint_lines", "joint_points", "exponents", "collapse", "baselines",
)  # fmt: skip


def _task_data(inputs: ReportInputs, tables: dict[str, pd.DataFrame], task: str) -> TaskData:
    own = {name: table[table["task"] == task] for name, table in tables.items()}
    return TaskData(
        **own,
        contrasts=inputs.contrasts,
        shares=inputs.shares,
        hourly_price=inputs.hourly_price,
        traces=tuple(trace for trace in inputs.traces if trace.task == task),
        decisions=tuple(entry for entry in inputs.decisions if entry.task == task),
        judged=tuple(entry for entry in inputs.judged if entry.task == task),
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
