"""What the models of a study answered to the test examples, read from `evaluate` artifacts."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from distillscale.evaluation import PREDICTIONS, StoredPredictions, read_predictions
from distillscale.evaluation.calibration import reliability_table
from distillscale.evaluation.class_tables import confusion_counts
from distillscale.report.answers import AnswerSheet, ModelAnswers
from distillscale.report.decision import Decision
from distillscale.report.inputs import Judged
from distillscale.report.theme import configuration_order
from distillscale.results import configuration_name
from distillscale.studies.graph import StageSteps, StudyGraph
from distillscale.studies.grid import Cell
from distillscale.studies.store import Store

_MOST_CONFIGURATIONS = 8  # more make an example unreadable
_DEPTHS = ("full", "brief", "none")

Place = tuple[str, StageSteps]  # a model's name, and the steps behind it


def answer_sheets(
    graph: StudyGraph, store: Store, results: pd.DataFrame, decisions: Sequence[Decision]
) -> tuple[AnswerSheet, ...]:
    """Each task's test examples with the answers of the teacher, the chosen student and others.

    The chosen student is as in `judged_students`; of each configuration there is one more. The
    teacher's reasoning is what it wrote about the test example when it was evaluated.
    """
    sheets = (
        _sheet(task, graph, store, _chosen(task, graph, results, decisions))
        for task in results["task"].unique()
    )
    return tuple(sheet for sheet in sheets if sheet is not None)


def judged_students(
    graph: StudyGraph, store: Store, results: pd.DataFrame, decisions: Sequence[Decision]
) -> tuple[Judged, ...]:
    """Confusion and reliability of the smallest measured student that satisfies each decision.

    Where none does, of the student of highest macro F1. Tasks whose scores are not stored are left
    out.
    """
    found = (
        _judged(task, _chosen(task, graph, results, decisions), store)
        for task in results["task"].unique()
    )
    return tuple(judged for judged in found if judged is not None)


def _sheet(task: str, graph: StudyGraph, store: Store, chosen: Place | None) -> AnswerSheet | None:
    places = list(_shown(task, graph))
    steps = [stage.evaluate for _, stage in places]
    if chosen is not None and chosen[1].evaluate not in steps:
        places.insert(1, (f"chosen: {chosen[0]}", chosen[1]))
    read = [(name, _stored(stage, store)) for name, stage in places]
    stored = [(name, predictions.table) for name, predictions in read if predictions is not None]
    if len(stored) < 2 or not stored[0][0].startswith("teacher"):
        return None
    first = stored[0][1]
    same = [(name, table) for name, table in stored if table["id"].equals(first["id"])]
    return AnswerSheet(
        task=task,
        texts=first["text"].tolist(),
        gold=first["gold"].tolist(),
        models=tuple(
            ModelAnswers(
                name,
                table["predicted"].tolist(),
                table["probability"].tolist(),
                [text if isinstance(text, str) else None for text in table["completion"]],
            )
            for name, table in same
        ),
    )


def _shown(task: str, graph: StudyGraph) -> Iterator[Place]:
    """The teacher as it reasons most, then each configuration's smallest model.

    Of a configuration's chains the one with most stages is taken, then that of most examples, then
    of the first seed; its smallest model is its last.
    """
    own = [(cell, chain) for cell, chain in graph.stages.items() if cell.task == task]
    own.sort(key=lambda pair: _DEPTHS.index(pair[0].thinking))
    if own:
        yield "teacher", own[0][1][0]
    best: dict[tuple[str, str], tuple[Cell, tuple[StageSteps, ...]]] = {}
    for cell, chain in own:
        key = (configuration_name(cell.supervision, cell.method), cell.thinking)
        if key not in best or _longer(cell, best[key][0]):
            best[key] = (cell, chain)
    order = configuration_order(pd.Series([name for name, _ in best], dtype=object))
    for key in sorted(best, key=lambda key: (order.index(key[0]), key))[:_MOST_CONFIGURATIONS]:
        cell, chain = best[key]
        depth = "" if key[1] == "none" else f", {key[1]}"
        yield f"{key[0]}{depth}, {cell.prune_ratios[-1]:.0%} kept", chain[-1]


def _longer(cell: Cell, other: Cell) -> bool:
    return (cell.stages, cell.dataset_size, -cell.seed) > (
        other.stages, other.dataset_size, -other.seed,
    )  # fmt: skip


def _judged(task: str, chosen: Place | None, store: Store) -> Judged | None:
    stored = _stored(chosen[1], store) if chosen else None
    if chosen is None or stored is None or stored.scores.size == 0:
        return None
    number = {label: place for place, label in enumerate(stored.labels)}
    gold = np.array([number[label] for label in stored.table["gold"]], dtype=np.intp)
    predicted = stored.scores.argmax(axis=1)
    counts = confusion_counts(gold, predicted, len(stored.labels))
    bins = reliability_table(stored.table["probability"].to_numpy(dtype=float), predicted == gold)
    weight = bins["examples"] / bins["examples"].sum()
    return Judged(
        task=task,
        model=chosen[0],
        confusion=pd.DataFrame(counts, index=list(stored.labels), columns=list(stored.labels)),
        reliability=bins,
        error=float((weight * (bins["accuracy"] - bins["confidence"]).abs()).sum()),
    )


def _chosen(
    task: str, graph: StudyGraph, results: pd.DataFrame, decisions: Sequence[Decision]
) -> Place | None:
    """The smallest student above the decision's threshold, else the one of highest macro F1."""
    rows = results[
        (results["task"] == task) & (results["metric"] == "macro_f1") & (results["stage"] > 0)
    ]
    rows = rows[rows["value"].notna()]
    if rows.empty:
        return None
    threshold = next((d.threshold for d in decisions if d.task == task), float("inf"))
    enough = rows[rows["value"] >= threshold].sort_values(
        ["params", "value"], ascending=[True, False]
    )
    row = enough.iloc[0] if len(enough) else rows.sort_values("value").iloc[-1]
    chain = next((c for cell, c in graph.stages.items() if cell.cell == row["cell"]), ())
    name = configuration_name(row["supervision"], row["method"])
    found = [stage for stage in chain if stage.stage == row["stage"]]
    return (f"{name}, {row['params']:,.0f} parameters", found[0]) if found else None


def _stored(stage: StageSteps, store: Store) -> StoredPredictions | None:
    folder: Path | None = store.open(stage.evaluate)
    path = folder / PREDICTIONS if folder else None
    return read_predictions(path) if path is not None and path.is_file() else None
