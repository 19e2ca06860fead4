"""A small results table: one distilled chain and its control, and a data law's cells."""

from typing import Any

import pandas as pd

from distillscale.results import COLUMNS

RATIOS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.16)
SIZES = (64, 256, 1024)


def results(task: str = "fin-headlines", study: str = "small") -> pd.DataFrame:
    """Macro F1 and one benchmark fall with size, the control's faster; more examples help."""
    rows: list[dict[str, Any]] = []
    for method, fall in (("logit", 0.05), ("none", 0.15)):
        for stage, ratio in enumerate(RATIOS):
            base = _cell(task, study, method, "uniform", 5, 1024) | _sizes(stage, ratio)
            rows += _measured(base, 1 - fall / ratio, 0.25 + 0.7 / (1 + (0.3 / ratio) ** 5))
    for size in SIZES:
        cell = _cell(task, study, "logit", "oneshot", 1, size)
        rows += _measured(cell | _sizes(0, 1.0), 0.95, 0.95)
        rows += _measured(cell | _sizes(1, 0.4), 0.9 - 3 / size**0.7, 0.8)
    columns = {"value": float, "chance": float}
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(columns)


def _cell(
    task: str, study: str, method: str, schedule: str, stages: int, size: int
) -> dict[str, Any]:
    supervision = "none" if method == "none" else "label"
    size = 0 if method == "none" else size
    return {
        "study": study, "cell": f"{task}-{method}-{schedule}-{size}", "task": task,
        "supervision": supervision, "thinking": "none", "method": method, "schedule": schedule,
        "stages": stages, "dataset_size": size, "seed": 0,
    }  # fmt: skip


def _sizes(stage: int, ratio: float) -> dict[str, Any]:
    params = round(1_000_000 * ratio)
    sizes = {"params": params, "params_with_embeddings": params + 100_000}
    return {"stage": stage, "prune_ratio": ratio, "largest_cut": 0.0} | sizes


def _measured(row: dict[str, Any], f1: float, facts: float) -> list[dict[str, Any]]:
    def one(metric: str, value: float, chance: float | None) -> dict[str, Any]:
        spread = [value - 0.01, value, value + 0.01] * 10
        measured = {"metric": metric, "value": value, "chance": chance, "examples": 400}
        return row | measured | {"replicates": spread}

    return [
        one("macro_f1", f1, None),
        one("gold_nll", 2 * (1 - f1), 3.5),
        one("lab_facts", facts, 0.25),
        one("general", facts, 0.25),
    ]
