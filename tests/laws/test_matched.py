import pandas as pd
import pytest
from laws_tables import RATIOS, at_ratio, study_table, table

from distillscale.laws.comparison.matched import describe_cells, design

COT = {"supervision": "cot", "thinking": "full"}
NONE = {"supervision": "none", "method": "none", "dataset_size": 0}


def chain(cell: str, last: int = 2, ratios=(1.0, 0.4, 0.16), **changes):
    """The rows of one cell up to its last measured stage."""
    named = {"cell": cell, "stages": len(ratios) - 1} | changes
    return [at_ratio(stage, ratios[stage], **named) for stage in range(last + 1)]


def pairs_of(rows, factor: str) -> list[tuple[str, str]]:
    found = design(table(rows)).pairs
    own = found[found["factor"] == factor]
    names = zip(own["earlier_cell"], own["later_cell"], strict=True)
    return [(earlier[1], later[1]) for earlier, later in names]


@pytest.mark.parametrize(
    ("factor", "change"),
    [
        ("supervision", {"supervision": "blended"}),
        ("method", {"method": "lora"}),
        ("thinking", {"thinking": "zzz"}),
        ("schedule", {"schedule": "zzz"}),
        ("task", {"task": "zzz"}),
        ("dataset_size", {"dataset_size": 900}),
        ("seed", {"seed": 1}),
    ],
)
def test_a_pair_differs_in_one_factor_and_no_other(factor: str, change: dict[str, object]) -> None:
    base = COT | {"seed": 0}
    rows = [*chain("a", **base), *chain("b", **(base | change))]
    found = design(table(rows))
    assert found.pairs["factor"].tolist() == [factor]
    assert pairs_of(rows, factor) == [("a", "b")]
    assert factor not in found.fixed
    assert len(found.fixed) == 6
    both = base | change | {"method": "lora" if factor != "method" else "logit", "cell": "c"}
    if factor != "method":
        assert pairs_of([*chain("a", **base), *chain(**both)], factor) == []


def test_a_factor_without_a_meaning_agrees_with_every_level() -> None:
    rows = [
        *chain("label"),
        *chain("brief", supervision="cot", thinking="brief"),
        *chain("full", **COT),
        *chain("lora", method="lora"),
        *chain("none", **NONE),
    ]
    found = design(table(rows)).pairs
    own = found[found["factor"] == "supervision"]
    contrasts = set(zip(own["earlier"], own["later"], strict=True))
    assert contrasts == {
        ("label", "cot (brief)"), ("label", "cot (full)"), ("pruned only", "label"),
        ("pruned only", "cot (brief)"), ("pruned only", "cot (full)"),
    }  # fmt: skip
    assert pairs_of(rows, "thinking") == [("brief", "full")]
    assert pairs_of(rows, "method") == [("label", "lora")]
    assert {("none", "label"), ("none", "lora")} <= set(pairs_of(rows, "supervision"))


def test_chains_that_aim_elsewhere_or_have_another_seed_or_study_are_not_matched() -> None:
    base = chain("a")
    for change in ({"ratios": (1.0, 0.4, 0.3)}, {"seed": 1}, {"study": "other"}):
        assert design(table([*base, *chain("b", **COT, **change)])).pairs.empty


def test_neighbouring_dataset_sizes_are_compared() -> None:
    rows = [row for size in (100, 400, 200) for row in chain(f"n{size}", dataset_size=size)]
    assert pairs_of(rows, "dataset_size") == [("n100", "n200"), ("n200", "n400")]


def test_a_chain_that_stopped_keeps_its_partners() -> None:
    rows = [*chain("label"), *chain("label1", seed=1), *chain("cot", last=1, **COT)]
    cells = describe_cells(table(rows)).set_index("cell")
    assert cells["measured"].to_dict() == {"label": 2, "label1": 2, "cot": 1}
    assert cells["planned_ratio"].nunique() == 1
    assert pairs_of(rows, "supervision") == [("label", "cot")]


def test_where_a_stopped_chain_was_going_is_not_guessed() -> None:
    forked = [*chain("a"), *chain("b", ratios=(1.0, 0.4, 0.3)), *chain("c", last=1, **COT)]
    cells = describe_cells(table(forked)).set_index("cell")
    assert pd.isna(cells.loc["c", "planned_ratio"])
    alone = describe_cells(table(chain("c", last=1))).set_index("cell")
    assert pd.isna(alone.loc["c", "planned_ratio"])


def test_schedules_meet_at_their_last_ratio() -> None:
    rows = [*chain("uniform"), *chain("oneshot", 1, (1.0, 0.161), schedule="oneshot")]
    found = design(table(rows)).pairs
    assert pairs_of(rows, "schedule") == [("oneshot", "uniform")]
    assert found["held"].unique().tolist() == ["to 0.16"]


def test_a_study_table() -> None:
    found = design(study_table((0, 1)))
    assert found.fixed == ("thinking", "schedule", "task")
    assert found.levels("supervision") == ["pruned only", "label", "cot (full)", "blended (full)"]
    assert found.levels("dataset_size") == ["100", "200", "400", "800"]
    uniform = found.pairs[found.pairs["held"] == f"uniform in 5 to {RATIOS[-1]:g}"]
    own = uniform[uniform["factor"] == "supervision"]
    assert own["later"].value_counts().to_dict() == {
        "blended (full)": 6, "cot (full)": 4, "label": 4,
    }  # fmt: skip
