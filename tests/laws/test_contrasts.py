import numpy as np
import pytest
from laws_tables import at_ratio, table
from scipy.stats import ttest_1samp

from distillscale.laws.comparison.contrasts import EVERYWHERE, contrasts
from distillscale.laws.comparison.multiplicity import holm

COT = {"supervision": "cot", "thinking": "full"}
NONE = {"supervision": "none", "method": "none", "dataset_size": 0}
RATIOS = (0.4, 0.16)


def chain(cell: str, values, metric: str = "macro_f1", replicates=None, **changes):
    named = {"cell": cell, "stages": 2, "metric": metric} | changes
    rows = []
    for stage, value in enumerate(values, start=1):
        own = [] if replicates is None else [value + r for r in replicates[stage - 1]]
        rows.append(at_ratio(stage, RATIOS[stage - 1], value=value, replicates=own, **named))
    return rows


def whole(rows, **columns):
    found = contrasts(table(rows))
    found = found[found["context"] == EVERYWHERE]
    for column, value in columns.items():
        found = found[found[column] == value]
    return found


def test_stages_are_averaged_and_seeds_are_the_evidence() -> None:
    label = [(0.8, 0.6), (0.8, 0.7), (0.7, 0.6)]
    cot = [(0.9, 0.5), (0.8, 0.8), (0.8, 0.8)]
    rows = []
    for seed in range(3):
        rows += chain(f"l{seed}", label[seed], seed=seed)
        rows += chain(f"c{seed}", cot[seed], seed=seed, **COT)
    (found,) = whole(rows).to_dict("records")
    differences = (np.array(cot) - label).mean(axis=1)
    reference = ttest_1samp(differences, 0)
    assert found["contrast"] == "cot (full) - label"
    assert found["difference"] == pytest.approx(differences.mean())
    assert found["p"] == pytest.approx(reference.pvalue)
    assert (found["low"], found["high"]) == pytest.approx(tuple(reference.confidence_interval()))
    assert found["at_end"] == pytest.approx((np.array(cot) - label)[:, 1].mean())
    assert (found["pairs"], found["units"], found["tests"]) == (3, 3, 1)


def test_the_order_of_rows_does_not_matter() -> None:
    rows = [*chain("a", (0.8, 0.6)), *chain("b", (0.9, 0.5), **COT)]
    assert whole(rows).equals(whole(rows[::-1]))


def test_pairs_that_share_a_control_count_once() -> None:
    rows = []
    for seed, control in enumerate((0.1, 0.2, 0.4)):
        rows += chain(f"n{seed}", (control, control), seed=seed, **NONE)
        rows += chain(f"l{seed}", (0.5, 0.5), seed=seed)
        rows += chain(f"x{seed}", (0.7, 0.7), seed=seed, method="lora")
    (found,) = whole(rows, factor="supervision").to_dict("records")
    differences = 0.6 - np.array([0.1, 0.2, 0.4])
    assert (found["pairs"], found["units"]) == (6, 3)
    assert found["difference"] == pytest.approx(differences.mean())
    assert found["p"] == pytest.approx(ttest_1samp(differences, 0).pvalue)


def test_stages_at_other_ratios_are_not_compared() -> None:
    rows = chain("a", (0.8, 0.6))
    shorter = [row | {"prune_ratio": 0.3} if row["stage"] == 1 else row for row in
               chain("b", (0.9, 0.5), **COT)]  # fmt: skip
    (found,) = whole([*rows, *shorter]).to_dict("records")
    assert found["difference"] == found["at_end"] == pytest.approx(-0.1)


def test_a_chain_that_stopped_has_no_end() -> None:
    rows = [*chain("a", (0.8, 0.6)), *chain("b", (0.9,), **COT)]
    (found,) = whole(rows).to_dict("records")
    assert found["difference"] == pytest.approx(0.1)
    assert found["at_end"] is None or np.isnan(found["at_end"])


def test_test_examples_are_paired() -> None:
    """Two models that every resample moves alike differ by as much on each."""
    moves = np.random.default_rng(0).normal(0, 0.05, (2, 200))
    rows = [*chain("a", (0.8, 0.6), replicates=moves)]
    rows += chain("b", (0.9, 0.7), replicates=moves, **COT)
    (found,) = whole(rows).to_dict("records")
    assert (found["low"], found["high"]) == pytest.approx((0.1, 0.1))
    assert found["p"] is None or np.isnan(found["p"])


def test_families_are_corrected() -> None:
    rng = np.random.default_rng(3)
    rows = []
    for seed in range(3):
        for metric in ("macro_f1", "gold_nll"):
            for name, changes in {"l": {}, "c": COT, "b": COT | {"supervision": "blended"}}.items():
                values = rng.normal(0.5 + (name == "c") * 0.3, 0.02, 2)
                rows += chain(f"{name}{seed}", values, metric, seed=seed, **changes)
    found = whole(rows, group="task")
    assert len(found) == 6
    assert found["tests"].unique().tolist() == [6]
    assert found["p_holm"].tolist() == pytest.approx(holm(found["p"].tolist()))


def test_contexts_are_described_but_not_tested() -> None:
    rows = []
    for seed in range(3):
        for task, gain in (("one", 0.1), ("two", 0.3)):
            common = {"seed": seed, "task": task}
            rows += chain(f"l{task}{seed}", (0.5, 0.5), **common)
            rows += chain(f"c{task}{seed}", (0.5 + gain + seed / 100,) * 2, **common, **COT)
    found = contrasts(table(rows))
    own = found[found["factor"] == "supervision"].set_index("context")
    assert own.loc[EVERYWHERE, "difference"] == pytest.approx(0.21)
    assert own.loc["logit, one, 800 examples", "difference"] == pytest.approx(0.11)
    assert own.loc["logit, two, 800 examples", "difference"] == pytest.approx(0.31)
    assert own.drop(EVERYWHERE)["p_holm"].isna().all()


def test_rehearsed_and_unrehearsed_knowledge() -> None:
    rows = []
    for name, changes, gain in (("l", {}, 0.0), ("c", COT, 0.2)):
        for metric, extra in (("facts", 0.1), ("joins", 0.3)):
            rows += chain(name, (0.3, 0.3 + gain + extra), f"{metric}_rehearsed", **changes)
            rows += chain(name, (0.3, 0.3 - gain), f"{metric}_unrehearsed", **changes)
    found = whole(rows).set_index("metric")["at_end"].astype(float)
    assert found.to_dict() == pytest.approx({"general_rehearsed": 0.2, "general_unrehearsed": -0.2})


def test_a_table_without_pairs() -> None:
    assert contrasts(table(chain("a", (0.8, 0.6)))).empty
    assert contrasts(table([])).empty
