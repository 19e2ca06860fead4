"""The results table that a study will have, before it has any values."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from distillscale.results import CELL_COLUMNS, COLUMNS
from distillscale.studies.grid import Cell, cells
from distillscale.studies.study_file import Grid, Study

# Planned for: one metric of each kind.
IN_DOMAIN = ("macro_f1", "gold_nll")
GENERAL = "general"
CHANCE = {"lab_facts": 0.25, "lab_joins": 0.1, "mmlu": 0.25, "mmlu_pro": 0.1}


def planned_table(study: Study, grids: Sequence[Grid], teacher_params: float) -> pd.DataFrame:
    """Rows without values for every cell, stage and planned metric of some grids.

    General knowledge is planned for where the chance level of every benchmark is known here.

    Args:
        study: whose test sets count.
        grids: the study's own, and what may be added.
        teacher_params: size of the teacher; 1 where it is not known: sizes are then shares of it.
    """
    found = cells(study.model_copy(update={"grids": tuple(grids)}))
    rows = [row for cell in found for row in _rows(study, cell, teacher_params)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"value": float, "chance": float})


def _rows(study: Study, cell: Cell, teacher_params: float) -> Iterator[dict[str, Any]]:
    described = {name: getattr(cell, name) for name in CELL_COLUMNS}
    for stage, ratio in enumerate((1.0, *cell.prune_ratios)):
        size = teacher_params * ratio
        shared = described | {
            "stage": stage,
            "prune_ratio": ratio,
            "largest_cut": 0.0,
            "params": size,
            "params_with_embeddings": size,
        }
        for metric in IN_DOMAIN:
            yield shared | {"metric": metric, "examples": study.dataset.test}
        benchmarks = study.evaluation.benchmarks
        if benchmarks and all(name in CHANCE for name in benchmarks):
            chance = sum(CHANCE[name] for name in benchmarks) / len(benchmarks)
            questions = study.dataset.questions * len(benchmarks)
            yield shared | {"metric": GENERAL, "examples": questions, "chance": chance}
