"""Results tables with known truth, for the tests of the laws."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from distillscale.results import COLUMNS

TEACHER_PARAMS = 1_600_000
EMBEDDINGS = 262_144
RATIOS = (1.0, 0.69, 0.48, 0.33, 0.23, 0.16)
CHANCE = {"lab_facts": 0.25, "lab_joins": 0.1, "general": 0.175}

Replicates = Sequence[float]


def row(**changes: Any) -> dict[str, Any]:
    """One row of a results table: a teacher's, unless told otherwise."""
    plain = {
        "study": "test", "cell": "c", "task": "fin-headlines", "supervision": "label",
        "thinking": "none", "method": "logit", "schedule": "uniform", "stages": 5,
        "dataset_size": 800, "seed": 0, "stage": 0, "prune_ratio": 1.0, "largest_cut": 0.0,
        "params": TEACHER_PARAMS, "params_with_embeddings": TEACHER_PARAMS + EMBEDDINGS,
        "metric": "macro_f1", "value": 0.9, "chance": None, "examples": 500, "replicates": [],
    }  # fmt: skip
    return plain | changes


def table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a table with the columns and number types of a real one."""
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"value": float, "chance": float})


def at_ratio(stage: int, ratio: float, **changes: Any) -> dict[str, Any]:
    """A row of a pruned model, its sizes following from the ratio."""
    params = round(TEACHER_PARAMS * ratio)
    sizes = {"params": params, "params_with_embeddings": params + EMBEDDINGS}
    return row(**({"stage": stage, "prune_ratio": ratio} | sizes | changes))


def examinee(
    rng: np.random.Generator, examples: int = 600, resamples: int = 200, shared: float = 0.7
) -> Callable[[float], dict[str, Any]]:
    """A test set: given a probability of success, a model's score on it with its replicates.

    Models find the same examples hard (correlation `shared` of their latent scores), and the
    replicates of all models come from the same resamples, as in a real table.
    """
    hardness = rng.normal(size=examples)
    drawn = rng.integers(0, examples, (resamples, examples))

    def take(probability: float) -> dict[str, Any]:
        latent = np.sqrt(shared) * hardness + np.sqrt(1 - shared) * rng.normal(size=examples)
        right = norm.cdf(latent) < probability
        replicates = right[drawn].mean(axis=1).tolist()
        return {"value": float(right.mean()), "examples": examples, "replicates": replicates}

    return take


def exact(value: float) -> dict[str, Any]:
    """A score without noise, on a test set so large that its replicates hardly differ."""
    return {"value": value, "examples": 10**9, "replicates": [value] * 20}


def collapsed(score: float, ratio_star: float, steepness: float, chance: float, ratio: float):
    """The collapse law, written out."""
    kept = 1 / (1 + np.exp(-steepness * (np.log(ratio) - np.log(ratio_star))))
    return chance + (score - chance) * kept


def study_table(seeds: Sequence[int] = (0,), noise: int = 1) -> pd.DataFrame:
    """A small study: four configurations and a control on a uniform chain, and four dataset sizes.

    General knowledge collapses at .45 for label-only, .40 for the control, .30 with reasoning.
    """
    rng = np.random.default_rng(noise)
    score = {metric: examinee(rng) for metric in ("macro_f1", *CHANCE)}
    rows = []
    for supervision, method, thinking, star in (
        ("label", "logit", "none", 0.45),
        ("label", "lora", "none", 0.42),
        ("cot", "logit", "full", 0.30),
        ("blended", "logit", "full", 0.32),
        ("none", "none", "none", 0.40),
    ):
        common = {"supervision": supervision, "method": method, "thinking": thinking}
        for seed in seeds:
            cell = {"cell": f"{method}-{supervision}-{seed}", "seed": seed, **common}
            rows += _chain(cell, star, score)
            if method != "none":
                rows += _data_cells(cell, score["macro_f1"])
    return table(rows)


def _chain(cell: dict[str, Any], star: float, score: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for stage, ratio in enumerate(RATIOS):
        error = 0.04 + 0.05 * ratio**-1.0
        f1 = score["macro_f1"](1 - error)
        rows.append(at_ratio(stage, ratio, **cell, **f1))
        rows.append(at_ratio(stage, ratio, **cell, metric="gold_nll", **exact(2 * error)))
        for metric, chance in CHANCE.items():
            right = score[metric](collapsed(0.95, star, 5, chance, ratio))
            rows.append(at_ratio(stage, ratio, **cell, metric=metric, chance=chance, **right))
    return rows


def _data_cells(cell: dict[str, Any], take: Callable[[float], Any]) -> list[dict[str, Any]]:
    rows = []
    for size in (100, 200, 400, 800):
        shape = {"schedule": "oneshot", "stages": 1, "dataset_size": size}
        named = cell | shape | {"cell": f"{cell['cell']}-{size}"}
        rows.append(at_ratio(0, 1.0, **named, **take(0.95)))
        rows.append(at_ratio(1, 0.4, **named, **take(1 - 0.05 - 4 * size**-0.6)))
    return rows
