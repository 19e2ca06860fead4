from itertools import product

import numpy as np
import pandas as pd
import pytest
from laws_tables import at_ratio, table

from distillscale.laws.comparison.sums_of_squares import partial_effects
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


def by_statsmodels(data, factors) -> pd.DataFrame:
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    terms = " + ".join(f"C({name})" for name in factors)
    return anova_lm(ols(f"value ~ {terms}", data).fit(), typ=2)


@pytest.mark.parametrize("drop", [(), [("blended", "lora")]])
def test_without_aliases_it_is_the_type_ii_table_of_statsmodels(drop) -> None:
    data = study(lambda s, m, t, _: (s == "cot") * 0.2 + (m == "lora") * 0.1, drop, noise=0.05)
    factors = ["supervision", "method", "task", "seed"]
    reference = by_statsmodels(data, factors)
    found = variance_shares(data, metrics=["macro_f1"]).set_index("source")
    total = data["value"].var(ddof=0) * len(data)
    assert (found["aliased_with"].fillna("") == "").all()
    for name in factors:
        own = reference.loc[f"C({name})"]
        assert found.loc[name, "share"] == pytest.approx(own["sum_sq"] / total)
        assert found.loc[name, "degrees"] == own["df"]


def aliased(noise: float = 0.02):
    """Methods that hang on the format: label is trained by lora, the others by logit."""
    drop = [("label", "logit"), ("cot", "lora"), ("blended", "lora")]
    return study(lambda s, m, t, _: (m == "lora") * 0.3 + (s == "cot") * 0.1, drop, noise=noise)


def test_what_aliased_factors_share_is_credited_to_neither_and_counted_once() -> None:
    data = aliased()
    found = variance_shares(data, metrics=["macro_f1"]).set_index("source")
    total = data["value"].var(ddof=0) * len(data)
    assert found.loc["method", "aliased_with"] == "supervision"
    assert found.loc["supervision", "aliased_with"] == "method"
    assert found.loc["method", ["share", "degrees"]].tolist() == [0, 0]
    assert pd.isna(found.loc["method", "p"])
    # What supervision adds to the method is cot against blended alone.
    logit = data[data["method"] == "logit"].groupby("supervision")["value"].mean()
    assert found.loc["supervision", "degrees"] == 1
    contrast = 3 * (logit["cot"] - logit["blended"]) ** 2
    assert found.loc["supervision", "share"] == pytest.approx(contrast / total)
    # Together they account for what supervision alone does, the method being part of it.
    whole = by_statsmodels(data, ["supervision", "task", "seed"]).loc["C(supervision)", "sum_sq"]
    shared = found.loc["supervision or method"]
    assert shared["degrees"] == 1
    assert shared["share"] + found.loc["supervision", "share"] == pytest.approx(whole / total)
    assert shared["p"] < 1e-6
    assert found["share"].sum() == pytest.approx(1)
    assert found.loc[OVERLAP, "share"] == pytest.approx(0, abs=1e-9)


def test_factors_that_are_one_another_have_nothing_of_their_own() -> None:
    """Supervision and method vary as one, and the order of the rows does not matter."""
    data = study(lambda s, *_: (s == "cot") * 0.2, [("label", "lora"), ("cot", "logit"),
                 ("blended", "logit"), ("blended", "lora")], noise=0.02)  # fmt: skip
    for rows in (data, data.iloc[::-1]):
        found = variance_shares(rows, metrics=["macro_f1"]).set_index("source")
        assert found.loc[["supervision", "method"], "share"].tolist() == [0, 0]
        assert found.loc["supervision or method", "share"] > 0.8
        assert found["share"].sum() == pytest.approx(1)


def test_three_factors_of_which_each_follows_from_the_other_two_are_aliased_together() -> None:
    """A Latin square of two levels: no pair is aliased, the three are."""
    names = ["a", "b"]
    columns = {
        "one": ["a", "a", "b", "b"] * 2,
        "two": ["a", "b", "a", "b"] * 2,
        "sum": ["a", "b", "b", "c"] * 2,  # the number of b among the two
        "free": ["a"] * 4 + ["b"] * 4,
    }
    value = np.array([0.0, 1, 2, 4, 0.5, 1.5, 2.5, 4.5])
    effects = {effect.factors: effect for effect in partial_effects(value, columns)}
    group = ("one", "two", "sum")
    assert effects["one",].aliased_with == ("two", "sum")
    assert [effects[name,].degrees for name in group] == [0, 0, 1]
    assert effects[group].degrees == 2
    assert effects["free",].aliased_with == ()
    assert effects["free",].degrees == len(names) - 1
    whole = ((value - value.mean()) ** 2).sum()
    assert sum(effect.squares for effect in effects.values()) == pytest.approx(whole)
