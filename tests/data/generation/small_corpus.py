"""A recipe for corpora that are made in a second."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distillscale.data.generation.filters import FilterRules
from distillscale.data.generation.recipe import Recipe
from distillscale.data.generation.weights import target_shares
from distillscale.tasks import load_task

TASK = load_task("fin-headlines")
RESULTS = ("examples.parquet", "dropped.parquet", "report.json")


def recipe_of(**changes: Any) -> Recipe:
    fields: dict[str, Any] = {
        "task": TASK,
        "generator": "lab",
        "source": "lab",
        "target": 700,
        "batch_size": 200,
        "threshold": 0.9,
        "embedder": "hashed",
        "seed": 0,
        "shares": target_shares(TASK, {}),
        "rules": FilterRules(),
        "few_shot": 2,
    }
    return Recipe(**{**fields, **changes})


def results_of(folder: Path) -> Mapping[str, bytes]:
    return {name: (folder / name).read_bytes() for name in RESULTS}
