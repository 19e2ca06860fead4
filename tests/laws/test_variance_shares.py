from itertools import product

import numpy as np
import pytest
from laws_tables import at_ratio, table

from distillscale.laws.comparison.variance_shares import (
    INTERACTIONS,
    OVERLAP,
    RUNS,
    variance_shares,
)

REASONED = {"label": "none", "cot": "full", "blended": "full"}


def study(effect, drop=(), seeds=3, noise: float = 0.0):
    rng = np.random.default_rng(0)
    rows = []
    factors = product(REASONED, ("logit", "lora"), ("one", "two"), range(seeds))
    for supervision, method, task, seed in factors:
        if (supervision, method) in drop:
            continue
        value = effect(supervision, method, task, seed) + rng.normal(0, noise)
        rows.append(
            at_ratio(
                1, 0.4, stages=1, cell=f"{supervision}-{method}-{task}-{seed}", task=task,
                supervision=supervision, method=method, seed=seed, value=value,
                thinking=REASONED[supervision],
            )
        )  # fmt: skip
    return table(rows)


def shares(table_):
    found = variance_shares(table_, metrics=["macro_f1"])
    return found.set_index("source")["share"].astype(float)


def test_a_balanced_design_adds_up_and_equals_the_textbook() -> None:
    data = study(lambda s, m, t, _: (s == "cot") * 0.2 + (m == "lora") * 0.1, noise=0.05)
    found = shares(data)
    assert found.sum() == pytest.approx(1)
    assert found[OVERLAP] == pytest.approx(0, abs=1e-9)
    values = data["value"]
    total = ((values - values.mean()) ** 2).sum()
    for factor in ("supervision", "method", "task", "seed"):
        between = data.groupby(factor)["value"].transform("mean") - values.mean()
        assert found[factor] == pytest.approx((between**2).sum() / total)
    setting = ["supervision", "method", "task"]
    cells = data.groupby(setting)["value"].transform("mean")
    seeds = data.groupby("seed")["value"].transform("mean") - values.mean()
    assert found[RUNS] == pytest.approx(((values - cells - seeds) ** 2).sum() / total)


def test_an_unbalanced_design_is_type_ii() -> None:
    data = study(
        lambda s, m, t, _: (s == "cot") * 0.2 + (m == "lora") * 0.1 + (t == "two") * 0.05,
        drop=[("blended", "lora")], noise=0.05,
    )  # fmt: skip
    columns = {f: _dummies(data[f]) for f in ("supervision", "method", "task", "seed")}

    def residual(without: str = "") -> float:
        kept = [block for name, block in columns.items() if name != without]
        design = np.column_stack([np.ones(len(data)), *kept])
        fitted = design @ np.linalg.lstsq(design, data["value"].to_numpy(), rcond=None)[0]
        return float(((data["value"] - fitted) ** 2).sum())

    total = ((data["value"] - data["value"].mean()) ** 2).sum()
    found = shares(data)
    for factor in columns:
        assert found[factor] == pytest.approx((residual(factor) - residual()) / total)
    assert found.sum() == pytest.approx(1)


def _dummies(column) -> np.ndarray:
    levels = sorted(column.unique())[1:]
    return np.stack([(column == level).to_numpy(float) for level in levels], axis=1)


def test_an_interaction_is_told_from_the_runs() -> None:
    found = shares(study(lambda s, m, t, _: (s == "cot") * (m == "lora") * 0.3))
    assert found[INTERACTIONS] > 0.2
    assert found[RUNS] == pytest.approx(0, abs=1e-9)


def test_depth_of_reasoning_is_what_depths_differ_in() -> None:
    """Label-only chains have none, and what they differ in belongs to the supervision."""
    rows = []
    for (name, thinking), seed in product(
        [("label", "none"), ("cot", "brief"), ("cot", "full")], range(3)
    ):
        value = 0.5 + (name == "cot") * 0.2 + (thinking == "brief") * 0.1 + seed / 1000
        rows.append(at_ratio(1, 0.4, stages=1, cell=f"{name}{thinking}{seed}", seed=seed,
                             supervision=name, thinking=thinking, value=value))  # fmt: skip
    found = variance_shares(table(rows), metrics=["macro_f1"]).set_index("source")
    total = table(rows)["value"].var(ddof=0) * 9
    assert found.loc["thinking", "share"] == pytest.approx(1.5 * 0.1**2 / total)
    assert found.loc["supervision", "share"] == pytest.approx(1.5 * 0.2**2 / total)
    assert found.loc["thinking", "p"] < 1e-6


def test_without_repetition_nothing_is_tested() -> None:
    found = variance_shares(study(lambda s, *_: float(s == "cot"), seeds=1), metrics=["macro_f1"])
    assert found["p"].isna().all()
    assert RUNS not in set(found["source"])


def test_what_does_not_vary_has_no_shares() -> None:
    assert variance_shares(study(lambda *_: 0.5), metrics=["macro_f1"]).empty
    assert variance_shares(table([])).empty
