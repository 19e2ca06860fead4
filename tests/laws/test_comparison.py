"""Stopped runs, exponents by format, run-to-run spread, and the whole comparison."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from laws_tables import at_ratio, study_table, table

from distillscale.laws.comparison.compare import compare, run_spread
from distillscale.laws.comparison.exponents import exponent_differences
from distillscale.laws.comparison.knowledge import with_splits
from distillscale.laws.comparison.matched import design
from distillscale.laws.comparison.stability import stopped_runs
from distillscale.laws.fit import fit_law


def test_stopped_chains_are_counted() -> None:
    rows = [at_ratio(k, 0.5**k, cell="whole", stages=2) for k in range(3)]
    rows += [at_ratio(k, 0.5**k, cell="stopped", stages=2, seed=1) for k in range(2)]
    rows += [at_ratio(0, 1.0, cell="other", stages=2, supervision="cot", thinking="full")]
    label, cot = stopped_runs(design(table(rows)), 0.95).to_dict("records")
    assert (label["configuration"], label["chains"], label["stopped"]) == ("logit-label", 2, 1)
    assert label["where"] == "stopped after stage 1"
    assert (label["low"], label["high"]) == pytest.approx((0.0126, 0.9874), abs=1e-4)
    assert (cot["configuration"], cot["thinking"], cot["stopped"]) == ("logit-cot", "full", 1)


def data_law(beta: float, supervision: str, **group):
    rows = []
    for seed in range(3):
        for size in (50, 100, 200, 400, 800, 1600):
            value = 1 - 0.05 - 3 * size**-beta * (1 + 0.01 * (seed - 1))
            rows.append(at_ratio(1, 0.4, cell=f"{size}-{seed}", dataset_size=size, seed=seed,
                                 value=value, examples=10**9))  # fmt: skip
    described = {
        "task": "t", "supervision": supervision, "thinking": "none", "method": "logit",
        "schedule": "oneshot", "stages": 1, "final_ratio": 0.4,
    }  # fmt: skip
    return fit_law(table(rows), "data", "dataset_size", group=described | group)


def test_exponents_of_two_formats() -> None:
    fits = [data_law(0.9, "cot", thinking="full"), data_law(0.6, "label")]
    (found,) = exponent_differences(fits).to_dict("records")
    assert (found["earlier"], found["later"]) == ("label", "cot (full)")
    assert found["difference"] == pytest.approx(0.3, abs=0.02)
    assert found["low"] <= found["difference"] <= found["high"]
    assert found["identified"]


def test_a_differences_interval_is_put_together_from_those_that_were_chosen() -> None:
    fits = [data_law(0.9, "cot", thinking="full"), data_law(0.6, "label")]
    cot, label = (
        replace(fit, intervals=fit.intervals | {"beta": ends})
        for fit, ends in zip(fits, [(0.8, 1.2), (0.5, 0.64)], strict=True)
    )
    low, high = (cot.estimate["beta"] - label.estimate["beta"],) * 2
    down = np.hypot(cot.estimate["beta"] - 0.8, 0.64 - label.estimate["beta"])
    up = np.hypot(1.2 - cot.estimate["beta"], label.estimate["beta"] - 0.5)
    (found,) = exponent_differences([cot, label]).to_dict("records")
    assert (found["low"], found["high"]) == pytest.approx((low - down, high + up))


@pytest.mark.parametrize("change", [{"task": "u"}, {"method": "lora"}, {"final_ratio": 0.3}])
def test_exponents_of_chains_that_differ_otherwise_are_not_compared(change) -> None:
    fits = [data_law(0.6, "label"), data_law(0.9, "cot", thinking="full", **change)]
    assert exponent_differences(fits).empty


def test_splits_are_means_over_benchmarks_and_are_made_once() -> None:
    rows = [
        at_ratio(1, 0.4, metric=metric, value=value, chance=chance, replicates=[value, value + 0.2])
        for metric, value, chance in (("a_rehearsed", 0.4, 0.25), ("b_rehearsed", 0.8, 0.1))
    ]
    made = with_splits(table(rows))
    (mean,) = made[made["metric"] == "general_rehearsed"].to_dict("records")
    assert (mean["value"], mean["chance"]) == pytest.approx((0.6, 0.175))
    assert list(mean["replicates"]) == pytest.approx([0.6, 0.8])
    assert mean["examples"] == 1000
    assert len(with_splits(made)) == len(made) == 3
    missing = [rows[0], rows[1] | {"cell": "other"}]
    assert len(with_splits(table(missing))) == 2


def test_run_to_run_spread_is_pooled_over_settings() -> None:
    rows = []
    for size, values in ((100, (0.5, 0.7)), (200, (0.6, 0.6, 0.9))):
        for seed, value in enumerate(values):
            rows.append(at_ratio(1, 0.4, stages=1, cell=f"{size}-{seed}", dataset_size=size,
                                 seed=seed, value=value))  # fmt: skip
    (found,) = run_spread(table(rows), design(table(rows))).to_dict("records")
    pooled = (np.var([0.5, 0.7], ddof=1) + 2 * np.var([0.6, 0.6, 0.9], ddof=1)) / 3
    assert found["deviation"] == pytest.approx(np.sqrt(pooled))
    assert (found["settings"], found["degrees"]) == (2, 3)


def test_the_whole_comparison_of_a_study() -> None:
    found = compare(study_table((0, 1, 2)))
    best = found.contrasts.query("context == 'all' and metric == 'general'")
    gained = best.set_index(["factor", "contrast"])
    assert gained.loc[("supervision", "cot (full) - label"), "p_holm"] < 0.05
    assert gained.loc[("supervision", "cot (full) - label"), "difference"] > 0.1
    assert all(not rows.empty for rows in found.tables().values())


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_awkward_tables(value: float) -> None:
    """A metric that is constant, missing or endless; no dataset size; runs that come twice."""
    rows = study_table((0, 1)).assign(value=value, replicates=None)
    rows.loc[rows["method"] == "none", "dataset_size"] = np.nan
    twice = rows.assign(cell=rows["cell"] + "-again")
    found = compare(pd.concat([rows, twice], ignore_index=True))
    assert found.shares.empty
    assert found.stopped["stopped"].sum() == 0
    differences = found.contrasts["difference"]
    assert (differences == 0).all() if value == 0.5 else differences.empty
    assert "800.0" not in str(found.design.pairs.to_dict())
