"""Studies whose runs scatter by a known amount, for the tests of advice."""

from typing import Any

import numpy as np
import pandas as pd
from laws_tables import RATIOS, at_ratio, collapsed, row, table

CONFIGURATIONS = (
    ("label", "logit", "none", 0.45),
    ("label", "lora", "none", 0.42),
    ("cot", "logit", "full", 0.30),
)
SIZES = (100, 200, 400, 800)
RUN = 0.08  # standard deviation of a run, as an angle
INHERITED = 0.6  # correlation of a model's error with its parent's


def angle(share: float) -> float:
    """2 arcsin sqrt(share)."""
    return float(2 * np.arcsin(np.sqrt(share)))


def moved(share: float, by: float) -> float:
    """A share moved on the angle's scale."""
    return float(np.sin(np.clip(angle(share) + by, 0, np.pi) / 2) ** 2)


def noisy_study(seed: int, runs: int = 3, run: float = RUN) -> pd.DataFrame:
    """Chains and dataset sizes that follow their laws exactly but for how runs scatter."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for supervision, method, thinking, star in CONFIGURATIONS:
        named = {"supervision": supervision, "method": method, "thinking": thinking}
        for number in range(runs):
            cell = named | {"cell": f"{method}-{supervision}-{number}", "seed": number}
            rows += _chain(cell, star, rng, run)
            rows += _dataset_sizes(cell, rng, run)
    return table(rows)


def _chain(
    cell: dict[str, Any], star: float, rng: np.random.Generator, run: float
) -> list[dict[str, Any]]:
    rows = []
    error = np.zeros(2)
    for stage, ratio in enumerate(RATIOS):
        if stage:
            fresh = 1.0 if stage == 1 else np.sqrt(1 - INHERITED**2)
            error = INHERITED * error + rng.normal(0, run * fresh, 2)
        f1 = moved(1 - 0.02 - 0.05 / ratio, error[0])
        general = moved(collapsed(0.95, star, 5, 0.175, ratio), error[1])
        rows.append(at_ratio(stage, ratio, **cell, value=f1))
        rows.append(at_ratio(stage, ratio, **cell, metric="general", chance=0.175, value=general))
    return rows


def _dataset_sizes(
    cell: dict[str, Any], rng: np.random.Generator, run: float
) -> list[dict[str, Any]]:
    rows = []
    for size in SIZES:
        shape = {"schedule": "oneshot", "stages": 1, "dataset_size": size}
        named = cell | shape | {"cell": f"{cell['cell']}-{size}"}
        rows.append(at_ratio(0, 1.0, **named, value=0.95))
        f1 = moved(0.95 - 4 * size**-0.6, rng.normal(0, run))
        rows.append(at_ratio(1, 0.4, **named, value=f1))
    return rows


def repeated(values: dict[int, list[float]], metric: str = "macro_f1", **cell: Any) -> pd.DataFrame:
    """Runs of one-stage chains with these values, by dataset size."""
    rows = []
    for size, runs in values.items():
        for seed, value in enumerate(runs):
            shape = {"schedule": "oneshot", "stages": 1, "dataset_size": size, "seed": seed}
            named = {"cell": f"{size}-{seed}"} | shape | cell
            rows.append(row(**named, metric=metric, value=0.95))
            rows.append(at_ratio(1, 0.4, **named, metric=metric, value=value))
    return table(rows)
