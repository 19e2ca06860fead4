"""The results table, derived from the artifacts at any time: one row a cell, stage and metric.

And beside it that of the baselines: one row a baseline, seed and metric.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from distillscale.evaluation import Measurement
from distillscale.results import BASELINE_COLUMNS, CELL_COLUMNS, COLUMNS
from distillscale.studies.baseline_graph import Baseline
from distillscale.studies.evaluate_step import read_size
from distillscale.studies.graph import StageSteps, StudyGraph
from distillscale.studies.grid import Cell
from distillscale.studies.store import Store
from distillscale.tasks.records import read_records


def results_table(graph: StudyGraph, store: Store) -> pd.DataFrame:
    """All results of a study that are there; columns as in `results.COLUMNS`.

    A stage whose evaluation is missing (not run yet, or diverged) has no rows.
    """
    rows = [row for cell, chain in graph.stages.items() for row in _cell_rows(cell, chain, store)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def baselines_table(graph: StudyGraph, store: Store) -> pd.DataFrame:
    """All baselines of a study that are there; columns as in `results.BASELINE_COLUMNS`."""
    rows = [
        row
        for baseline, step in graph.baselines.items()
        if (folder := store.open(step)) is not None
        for row in _baseline_rows(baseline, folder)
    ]
    table = pd.DataFrame(rows, columns=list(BASELINE_COLUMNS))
    return table.astype({"seed": "Int64", "steps": "Int64"})  # both may be missing


def _baseline_rows(baseline: Baseline, folder: Path) -> Iterator[dict[str, Any]]:
    size = read_size(folder)
    shared = {
        "study": baseline.study,
        "task": baseline.task,
        "baseline": baseline.name,
        "seed": baseline.seed,
        "dataset_size": baseline.dataset_size,
        "steps": baseline.steps,
        "params": size.params,
        "params_with_embeddings": size.params_with_embeddings,
    }
    for measurement in read_records(folder / "measurements.parquet", Measurement):
        yield shared | _measured(measurement)


def _cell_rows(cell: Cell, chain: tuple[StageSteps, ...], store: Store) -> Iterator[dict[str, Any]]:
    teacher = store.open(chain[0].evaluate)
    if teacher is None:
        return
    teacher_params = read_size(teacher).params
    described = {name: getattr(cell, name) for name in CELL_COLUMNS}
    kept, largest_cut = 1.0, 0.0
    for stage in chain:
        folder = store.open(stage.evaluate)
        if folder is None:
            return
        size = read_size(folder)
        ratio = size.params / teacher_params
        largest_cut = max(largest_cut, 1 - ratio / kept)
        kept = ratio
        shared = {
            **described,
            "stage": stage.stage,
            "prune_ratio": ratio,
            "largest_cut": largest_cut,
            "params": size.params,
            "params_with_embeddings": size.params_with_embeddings,
        }
        for measurement in _measurements(stage, folder, store):
            yield shared | _measured(measurement)


def _measurements(stage: StageSteps, folder: Path, store: Store) -> Iterator[Measurement]:
    yield from read_records(folder / "measurements.parquet", Measurement)
    trained = store.open(stage.distill) if stage.distill else None
    if trained is not None:
        log = json.loads((trained / "log.json").read_text())
        yield Measurement("train_loss", log["last_loss"], None, 0)
        yield Measurement("gradient_norm_spread", log["gradient_norm_spread"], None, 0)


def _measured(measurement: Measurement) -> dict[str, Any]:
    return {
        "metric": measurement.metric,
        "value": measurement.value,
        "chance": measurement.chance,
        "examples": measurement.examples,
        "replicates": list(measurement.replicates),
    }
