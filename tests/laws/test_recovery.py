import pandas as pd
import pytest
from laws_tables import at_ratio, row, study_table, table

from distillscale.laws.comparison.recovery import RECOVERY_COLUMNS, recover

COT = {"supervision": "cot", "thinking": "full"}
NONE = {"supervision": "none", "method": "none"}


def knowledge(cell: str, value: float, replicates=(), ratio: float = 0.5, **changes):
    common = {"stage": 1, "stages": 1, "metric": "general", "chance": 0.2}
    measured = {"value": value, "replicates": list(replicates), "cell": cell}
    return at_ratio(**({"ratio": ratio} | common | measured | changes))


def test_by_hand_with_paired_intervals() -> None:
    result = recover(table([
        knowledge("cot", 0.70, [0.68, 0.70, 0.72], **COT),
        knowledge("label", 0.50, [0.49, 0.50, 0.51]),
        knowledge("none", 0.40, [0.42, 0.40, 0.38], **NONE),
    ]))  # fmt: skip
    found = result.table.set_index(["configuration", "against"])
    assert found["recovery"].to_dict() == pytest.approx({
        ("logit-cot", "logit-label"): 0.2,
        ("logit-cot", "pruned only"): 0.3,
        ("logit-label", "pruned only"): 0.1,
    })  # fmt: skip
    # Differences on the three resamples: .19 .20 .21; their 5th and 95th percentile.
    against_label = found.loc[("logit-cot", "logit-label")]
    assert (against_label["low"], against_label["high"]) == pytest.approx((0.191, 0.209))
    # .26 .30 .34: the models err on different examples, so the interval is wider than either's.
    against_pruned = found.loc[("logit-cot", "pruned only")]
    assert (against_pruned["low"], against_pruned["high"]) == pytest.approx((0.264, 0.336))
    assert against_label["note"] == "intervals cover test sampling only, not run-to-run variation"
    assert list(result.table.columns) == RECOVERY_COLUMNS
    assert result.left_out == ()


def test_runs_are_paired_by_seed() -> None:
    rows = [knowledge(f"cot{s}", v, seed=s, **COT) for s, v in enumerate((0.6, 0.7, 0.8))]
    rows += [knowledge(f"label{s}", v, seed=s) for s, v in enumerate((0.5, 0.6, 0.7))]
    (pair,) = recover(table(rows)).table.to_dict("records")
    assert (pair["recovery"], pair["low"], pair["high"]) == pytest.approx((0.1, 0.1, 0.1))
    assert pair["seeds"] == 3


def test_missing_controls_are_named() -> None:
    result = recover(table([knowledge("cot", 0.7, **COT), knowledge("label", 0.5)]))
    assert len(result.table) == 1
    assert result.left_out == (
        "logit-cot (full thinking), uniform in 1 stages, 800 examples: no pruned only chain to "
        "compare with",
        "logit-label, uniform in 1 stages, 800 examples: no pruned only chain to compare with",
    )


def test_label_only_must_have_the_same_dataset_size_but_the_control_need_not() -> None:
    result = recover(table([
        knowledge("cot", 0.7, **COT),
        knowledge("label", 0.5, dataset_size=400),
        knowledge("none", 0.4, dataset_size=100, **NONE),
        knowledge("none2", 0.3, dataset_size=700, **NONE),
    ]))  # fmt: skip
    cot = result.table[result.table["configuration"] == "logit-cot"]
    assert list(cot["against"]) == ["pruned only"]
    assert list(cot["reference"]) == [0.3]
    assert "control made with 700 examples" in cot["note"].iloc[0]
    assert "no logit-label chain" in result.left_out[0]


@pytest.mark.parametrize(
    "control", [{"schedule": "decayed"}, {"stages": 2}, {"task": "other"}, {"ratio": 0.45}]
)
def test_unmatched_chains_are_not_compared(control) -> None:
    result = recover(table([knowledge("cot", 0.7, **COT), knowledge("label", 0.5, **control)]))
    assert result.table.empty
    assert any("logit-cot" in text and "logit-label" in text for text in result.left_out)


def test_stages_without_counterpart_are_named() -> None:
    chain = [(1, 0.5), (2, 0.3)]
    rows = [knowledge("cot", 0.7, stage=s, ratio=r, stages=2, **COT) for s, r in chain]
    shifted = [(1, 0.6), (2, 0.3)]
    rows += [knowledge("label", 0.5, stage=s, ratio=r, stages=2) for s, r in shifted]
    result = recover(table(rows))
    assert list(result.table["stage"]) == [2]
    assert "stage 1, seed 0, general: no logit-label counterpart" in result.left_out[0]


def test_seeds_without_counterpart_are_named() -> None:
    rows = [knowledge(f"cot{s}", 0.7, seed=s, **COT) for s in range(3)]
    result = recover(table([*rows, knowledge("label", 0.5, seed=1)]))
    assert list(result.table["seeds"]) == [1]
    assert "stage 1, seed 0, 2, general: no logit-label counterpart" in result.left_out[0]


def test_lora_is_compared_with_label_only_lora_and_label_only_lora_with_logit() -> None:
    rows = [
        knowledge("lora-cot", 0.7, method="lora", **COT),
        knowledge("lora-label", 0.6, method="lora"),
        knowledge("logit-label", 0.5),
    ]
    pairs = recover(table(rows)).table[["configuration", "against"]].values.tolist()
    assert sorted(pairs) == [["lora-cot", "lora-label"], ["lora-label", "logit-label"]]


def test_only_general_knowledge_after_stage_0_is_compared() -> None:
    table_ = study_table()
    found = recover(table_).table
    assert set(found["metric"]) == {"general", "lab_facts", "lab_joins"}
    assert found["stage"].min() == 1
    assert (found[found["configuration"] == "logit-cot"]["recovery"] > -0.1).all()


def test_missing_values_and_empty_tables() -> None:
    result = recover(table([knowledge("cot", float("nan"), **COT), knowledge("label", 0.5)]))
    assert result.table.empty
    assert recover(table([])).left_out == ()
    assert isinstance(recover(table([row()])).table, pd.DataFrame)
