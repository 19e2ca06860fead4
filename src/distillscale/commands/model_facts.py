"""What is known of a deployed model besides its weights: how it was made, on what, how it does."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from pydantic import TypeAdapter

from distillscale.errors import InputError
from distillscale.results import configuration_name
from distillscale.serving.deployment import read_beside_model
from distillscale.studies.grid import Cell
from distillscale.tasks import Example
from distillscale.tasks.prompt import Thinking

FACTS_FILE = "facts.json"
METRICS = ("macro_f1", "weighted_f1", "accuracy", "gold_nll", "ms_per_example")
LEVEL = 0.9


@dataclass(frozen=True)
class DataFacts:
    """The examples that a model was trained and tested on.

    `source` is a file's name without its folder, or a dataset's on the hub; `classes` counts the
    training examples of each label.
    """

    source: str
    train: int
    validation: int
    test: int
    classes: dict[str, int]


@dataclass(frozen=True)
class ModelFacts:
    """How a student was made and what was measured.

    Attributes:
        teacher: hub name, or the folder's name without its path.
        base_model: the teacher's hub name, None where it is no model of the hub.
        configuration: as figures name it, for example `logit-label`.
        params: parameters without embeddings and LM head; `params_with_embeddings` all of them.
        columns: of teacher, `pruned only` and the configuration the metrics that were measured.
        intervals: of the student's metrics, at `LEVEL`, over test examples.
    """

    teacher: str
    base_model: str | None
    configuration: str
    supervision: str
    method: str
    thinking: Thinking
    stages: int
    prune_ratio: float
    params: int
    params_with_embeddings: int
    teacher_params: int
    data: DataFacts
    columns: dict[str, dict[str, float]]
    intervals: dict[str, tuple[float, float]]

    def measured(self, metric: str) -> float | None:
        """The student's value of a metric; None where it was not measured."""
        return self.columns[self.configuration].get(metric)


_ADAPTER = TypeAdapter(ModelFacts)


def data_facts(source: str, examples: Sequence[Example]) -> DataFacts:
    """Counts of a dataset.

    Args:
        source: what the examples were read from.
        examples: of all splits.
    """
    splits = [example.split for example in examples]
    labels = pd.Series([one.label for one in examples if one.split == "train"], dtype=object)
    return DataFacts(
        source=Path(source).name if Path(source).exists() else source,
        train=splits.count("train"),
        validation=splits.count("validation"),
        test=splits.count("test"),
        classes={str(label): int(count) for label, count in labels.value_counts().items()},
    )


def model_facts(teacher: str, cell: Cell, results: pd.DataFrame, data: DataFacts) -> ModelFacts:
    """The facts about the end of a chain.

    Args:
        teacher: the study's `teacher.model`.
        cell: the chain.
        results: rows of the chain and of its pruned-only control.
        data: what it was trained and tested on.
    """
    configuration = configuration_name(cell.supervision, cell.method)
    own = results[results["cell"] == cell.cell]
    first, last = own[own["stage"] == 0], own[own["stage"] == own["stage"].max()]
    control = results[(results["method"] == "none") & (results["stage"] == last["stage"].iloc[0])]
    columns = {"teacher": first, "pruned only": control, configuration: last}
    local = Path(teacher).exists()
    return ModelFacts(
        teacher=Path(teacher).resolve().name if local else teacher,
        base_model=teacher if not local and _is_hub_name(teacher) else None,
        configuration=configuration,
        supervision=cell.supervision,
        method=cell.method,
        thinking=cell.thinking,  # type: ignore[arg-type]  # the grid has checked it
        stages=cell.stages,
        prune_ratio=float(last["prune_ratio"].iloc[0]),
        params=int(last["params"].iloc[0]),
        params_with_embeddings=int(last["params_with_embeddings"].iloc[0]),
        teacher_params=int(first["params"].iloc[0]),
        data=data,
        columns={name: _values(rows) for name, rows in columns.items()},
        intervals=_intervals(last),
    )


def write_facts(facts: ModelFacts, folder: Path) -> None:
    """Write them beside the model's files."""
    (folder / FACTS_FILE).write_bytes(_ADAPTER.dump_json(facts, indent=1))


def read_facts(folder: Path) -> ModelFacts:
    """Read what `write_facts` wrote.

    Raises:
        InputError: there is no such file, or it is not what `compress` writes.
    """
    path = folder / FACTS_FILE
    facts = read_beside_model(path, _ADAPTER)
    if facts.configuration not in facts.columns:
        raise InputError(f"{path}: columns has nothing of `{facts.configuration}`.")
    return facts


def _is_hub_name(name: str) -> bool:
    """Whether it can be a model of the hub: OWNER/NAME (`lab` is the model that comes with us)."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name


def _values(rows: pd.DataFrame) -> dict[str, float]:
    kept = rows[rows["metric"].isin(METRICS) & rows["value"].notna()]
    return {str(row["metric"]): float(row["value"]) for row in kept.to_dict("records")}


def _intervals(rows: pd.DataFrame) -> dict[str, tuple[float, float]]:
    intervals = {}
    for row in rows[rows["metric"].isin(METRICS)].to_dict("records"):
        ends = _ends(row["replicates"])
        if ends is not None:
            intervals[str(row["metric"])] = ends
    return intervals


def _ends(replicates: Any) -> tuple[float, float] | None:
    if replicates is None or isinstance(replicates, str | float):
        return None
    values = np.asarray(replicates, dtype=np.float64)
    if values.size == 0:
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
