"""Laws of several inputs or groups: planned from a table, fitted, compared, stored."""

import json
from pathlib import Path

import numpy as np
import pytest
from laws_tables import at_ratio, exact, row, table

from distillscale.errors import InputError
from distillscale.laws import (
    fit_joint_law,
    fit_joint_laws,
    fit_law,
    joint_table,
    load_joint_laws,
    load_laws,
    plan_joint_laws,
    save_laws,
)
from distillscale.laws.store import LAWS_TABLE_COLUMNS

RATIOS = (0.7, 0.5, 0.35, 0.25)
SIZES = (100, 400, 1600, 6400)
EXPONENTS = {"label": 0.5, "cot": 0.3}


def grid(value, supervisions=("label",), sizes=SIZES, ratios=RATIOS, **changes):
    """A cell for each dataset size and ratio, with its teacher, of a loss that is known."""
    rows = []
    for supervision in supervisions:
        thinking = "none" if supervision == "label" else "full"
        for size in sizes:
            for ratio in ratios:
                cell = {"cell": f"{supervision}{size}-{ratio}", "supervision": supervision,
                        "thinking": thinking, "schedule": "oneshot", "stages": 1,
                        "dataset_size": size, "metric": "gold_nll"} | changes  # fmt: skip
                rows.append(at_ratio(0, 1.0, **cell, **exact(0.4)))
                there = at_ratio(1, ratio, **cell)
                rows.append(there | exact(value(there)))
    return table(rows)


def additive(place) -> float:
    return 0.3 + 2e3 * place["params"] ** -0.6 + 4 * place["dataset_size"] ** -0.4


def by_format(place) -> float:
    return 0.2 + 5 * place["dataset_size"] ** -EXPONENTS[place["supervision"]]


def pruned(place) -> float:
    return 0.4 + place["prune_ratio"] ** -0.8 * (0.05 + 6 * place["dataset_size"] ** -0.5)


def laws_of(rows) -> dict[tuple[str, tuple[str, ...]], int]:
    counts: dict[tuple[str, tuple[str, ...]], int] = {}
    for plan in plan_joint_laws(rows):
        counts[plan.law, plan.columns] = counts.get((plan.law, plan.columns), 0) + 1
    return counts


def test_a_grid_of_sizes_allows_an_additive_and_a_p2_law_and_states_size_twice() -> None:
    assert laws_of(grid(additive)) == {
        ("additive", ("params", "dataset_size")): 1,
        ("additive", ("params_with_embeddings", "dataset_size")): 1,
        ("pruned_one_teacher", ("dataset_size", "prune_ratio", "teacher_loss")): 1,
    }


def test_formats_of_one_ratio_allow_a_law_with_exponents_to_compare() -> None:
    rows = grid(by_format, ("label", "cot"), ratios=(0.4,))
    assert laws_of(rows) == {("data", ("dataset_size",)): 1}
    (fit,) = fit_joint_laws(rows)
    assert fit.levels == ("cot (full thinking)", "label")
    assert fit.estimate["beta[label]"] == pytest.approx(0.5, rel=1e-2)
    assert fit.estimate["beta[cot (full thinking)]"] == pytest.approx(0.3, rel=1e-2)
    difference, ends = fit.difference("beta[label]", "beta[cot (full thinking)]")
    assert difference == pytest.approx(0.2, abs=0.01)
    assert ends is not None
    assert ends[0] - 1e-9 <= difference <= ends[1] + 1e-9
    place = {"dataset_size": 900}
    assert fit.predict(place, "label") == pytest.approx(0.2 + 5 * 900**-0.5, rel=1e-3)
    with pytest.raises(InputError, match="no group `x`; there are cot"):
        fit.predict(place, "x")
    with pytest.raises(InputError, match="asked at a positive dataset_size"):
        fit.predict({}, "label")
    with pytest.raises(InputError, match="not `beta`"):
        fit.difference("beta", "beta[label]")


def test_one_format_or_one_size_allows_none() -> None:
    assert laws_of(grid(by_format, ratios=(0.4,))) == {}
    assert laws_of(grid(additive, sizes=(100,))) == {}
    assert laws_of(table([])) == {}


def test_pruned_only_chains_take_no_part() -> None:
    rows = grid(additive, supervision="none", method="none")
    assert laws_of(rows) == {}


def test_the_additive_law_is_recovered_with_its_ranges() -> None:
    (fit,) = [f for f in fit_joint_laws(grid(additive)) if f.columns[0] == "params"]
    wanted = {"E": 0.3, "A": 2e3, "B": 4, "alpha": 0.6, "beta": 0.4}
    assert fit.estimate == pytest.approx(wanted, rel=0.02)
    assert fit.certificate.doubts == ()
    assert fit.ranges == {"params": (400_000, 1_120_000), "dataset_size": (100, 6400)}
    assert fit.statement("alpha").startswith("alpha = 0.6")
    place = {"params": 8e5, "dataset_size": 1000}
    assert fit.predict(place) == pytest.approx(additive(place), rel=1e-3)


def test_the_p2_law_of_one_teacher_is_recovered() -> None:
    (fit,) = [f for f in fit_joint_laws(grid(pruned)) if f.form == "pruned_one_teacher"]
    wanted = {"E": 0.05, "B": 6, "beta": 0.5, "gamma": 0.8}
    assert fit.estimate == pytest.approx(wanted, rel=0.02)


def test_several_teachers_keep_their_size_apart_from_the_ratio() -> None:
    def value(place) -> float:
        size, kept, data = place["teacher"], place["prune_ratio"], place["dataset_size"]
        return 0.4 + kept**-0.8 * (0.02 + 40 * size**-0.35 + 6 * data**-0.5)

    rows = []
    for teacher in (1e6, 4e6, 16e6, 64e6):
        for size in SIZES:
            for ratio in RATIOS:
                cell = {"cell": f"{teacher}{size}{ratio}", "schedule": "oneshot", "stages": 1,
                        "dataset_size": size, "metric": "gold_nll"}  # fmt: skip
                place = {"teacher": teacher, "prune_ratio": ratio, "dataset_size": size}
                rows.append(row(**cell, params=teacher, **exact(0.4)))
                rows.append(row(**cell, stage=1, prune_ratio=ratio, params=teacher * ratio,
                                **exact(value(place))))  # fmt: skip
    plans = [plan for plan in plan_joint_laws(table(rows)) if plan.law.startswith("pruned")]
    assert [plan.law for plan in plans] == ["pruned"]
    assert plans[0].columns[:3] == ("teacher_params", "dataset_size", "prune_ratio")
    (fit,) = [f for f in fit_joint_laws(table(rows)) if f.form == "pruned"]
    assert fit.estimate["gamma"] == pytest.approx(0.8, rel=0.05)
    assert fit.estimate["beta"] == pytest.approx(0.5, rel=0.05)
    embedded = table(rows).assign(params_with_embeddings=lambda t: t["params"] + 1e6)
    sizes = [plan.columns[0] for plan in plan_joint_laws(embedded) if plan.law == "pruned"]
    assert sizes == ["teacher_params", "teacher_params_with_embeddings"]


def test_laws_of_both_kinds_go_through_the_file(tmp_path: Path) -> None:
    rows = grid(by_format, ("label", "cot"), ratios=(0.4,))
    single = fit_law(rows[(rows["supervision"] == "label") & (rows["stage"] == 1)], "data",
                     "dataset_size", prior={"e_inf": (0.2, 0.1)})  # fmt: skip
    joint = fit_joint_laws(rows)
    path = tmp_path / "laws.json"
    save_laws([single], path, joint)
    assert load_laws(path) == [single]
    assert load_joint_laws(path) == joint
    assert json.loads(path.read_text())["version"] == 3


def test_a_file_of_version_1_is_read_and_a_later_one_refused(tmp_path: Path) -> None:
    rows = grid(by_format, ratios=(0.4,))
    fit = fit_law(rows[rows["stage"] == 1], "data", "dataset_size")
    path = tmp_path / "laws.json"
    save_laws([fit], path)
    content = json.loads(path.read_text())
    old = {"laws": [{k: v for k, v in entry.items()
                     if k not in ("likelihood", "noise", "prior", "deltas", "first_order")}
                    for entry in content["laws"]]}  # fmt: skip
    path.write_text(json.dumps(old))
    (read,) = load_laws(path)
    assert (read.likelihood, read.noise, read.deltas) == ("log", {}, ())
    assert read.estimate == fit.estimate
    assert load_joint_laws(path) == []
    path.write_text(json.dumps(content | {"version": 4}))
    with pytest.raises(InputError, match="version 4, this program reads up to 3"):
        load_laws(path)


def test_the_table_has_a_row_a_parameter() -> None:
    frame = joint_table(fit_joint_laws(grid(additive)))
    assert list(frame.columns) == LAWS_TABLE_COLUMNS
    assert len(frame) == 5 + 5 + 4
    assert frame["x"].iloc[0] == "params x dataset_size"


@pytest.mark.parametrize(
    ("law", "columns", "message"),
    [
        ("cubic", ["params"], "no such law"),
        ("additive", ["params"], "takes N, D: give as many columns, not 1"),
        ("additive", ["params", "stage"], "4 different points do not determine them"),
    ],
)
def test_requests_that_allow_no_fit_are_refused(law, columns, message: str) -> None:
    rows = grid(additive)
    with pytest.raises(InputError, match=message):
        fit_joint_law(rows[rows["stage"] == 1], law, columns)


def test_noise_of_shares_is_weighted_in_joint_laws_too() -> None:
    rng = np.random.default_rng(0)
    rows = grid(additive, metric="macro_f1")
    values = 1 - rows["value"] / 4 + 0.01 * rng.normal(size=len(rows))
    rows = rows.assign(value=values.clip(0, 1), examples=400)
    fit = fit_joint_law(rows[rows["stage"] == 1], "additive", ["params", "dataset_size"])
    assert fit.likelihood == "error"
    assert 0.003 < fit.noise["extra_sd"] < 0.02
