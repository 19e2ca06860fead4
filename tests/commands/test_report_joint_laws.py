"""Laws of several inputs in the report: lines, points, and their rows in the tables."""

import pandas as pd
import pytest
from small_table import results

from distillscale.commands.report_joint_laws import (
    BY_FORMAT,
    joint_laws_table,
    joint_lines,
    joint_points,
    with_own_name,
)
from distillscale.laws import JointFit, certificate_table, fit_joint_laws


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """A label-only chain with its dataset sizes, and the same with reasoning, worse throughout."""
    rows = results()
    rows = rows[(rows["method"] == "logit") & rows["metric"].isin(["macro_f1", "gold_nll"])]
    reasoned = rows.assign(supervision="cot", thinking="full", cell=rows["cell"] + "-cot")
    losses = reasoned["metric"] == "gold_nll"
    reasoned["value"] = reasoned["value"].where(~losses, 1.2 * reasoned["value"])
    return pd.concat([rows, reasoned], ignore_index=True)


@pytest.fixture(scope="module")
def joint(table: pd.DataFrame) -> list[JointFit]:
    return fit_joint_laws(table)


def test_a_line_is_solid_between_its_own_points_only(table, joint) -> None:
    lines, points = joint_lines(table, joint), joint_points(table, joint)
    assert set(lines["law"]) == {"data", "additive", "pruned_one_teacher"}
    keys = ["fit", "configuration", "thinking", "panel", "dataset_size"]
    for key, line in lines.groupby(keys, dropna=False):
        same = [points[k].isna() if pd.isna(v) else points[k] == v
                for k, v in zip(keys, key, strict=True)]  # fmt: skip
        own = points[pd.concat(same, axis=1).all(axis=1)]
        low, high = own["x"].min(), own["x"].max()
        fitted, beyond = (line[line["part"] == part]["x"] for part in ("fitted", "beyond"))
        if own["x"].nunique() == 1:
            assert fitted.empty
            continue
        assert (fitted.min(), fitted.max()) == pytest.approx((low, high))
        assert not beyond.between(low * 1.001, high * 0.999).any()
        if line["x_name"].iloc[0] == "dataset_size":
            assert beyond.max() == pytest.approx(2 * high)
        else:
            assert beyond.min() == pytest.approx(low / 2)


def test_points_are_all_that_were_fitted_with_what_the_law_misses(table, joint) -> None:
    points = joint_points(table, joint)
    for number, fit in enumerate(joint):
        own = points[points["fit"] == number]
        if "params_with_embeddings" in fit.columns:
            assert own.empty  # the same points at another x: their parameters are in the table
            continue
        assert len(own) == fit.points
        assert (own["value"] - own["predicted"]).to_numpy() == pytest.approx(own["residual"])
        assert own["low"].notna().all()
    additive = next(n for n, fit in enumerate(joint)
                    if fit.form == "additive" and "params" in fit.columns)  # fmt: skip
    row = points[points["fit"] == additive].iloc[0]
    place = {"params": row["x"], "dataset_size": row["dataset_size"]}
    assert joint[additive].predict(place) == pytest.approx(row["predicted"])


def test_bands_hold_their_line(table, joint) -> None:
    lines = joint_lines(table, joint)
    fitted = lines[lines["part"] == "fitted"]
    assert (fitted["low"] <= fitted["high"]).all()
    inside = fitted["value"].between(fitted["low"] - 1e-3, fitted["high"] + 1e-3)
    assert inside.mean() > 0.9


def test_the_law_of_all_formats_is_told_from_those_of_one(joint) -> None:
    laws = joint_laws_table(joint)
    assert {BY_FORMAT, "additive", "pruned_one_teacher"} <= set(laws["law"])
    assert "data" not in set(laws["law"])
    sizes = laws[laws["law"] == "additive"]["x"].unique()
    assert {"params x dataset_size", "params_with_embeddings x dataset_size"} == set(sizes)
    certificates = with_own_name(certificate_table(joint), joint)
    assert len(certificates) == len(joint)
    assert BY_FORMAT in set(certificates["law"])


def test_without_joint_laws_there_are_no_lines(table) -> None:
    assert joint_lines(table, []).empty
    assert joint_points(table.iloc[:0], []).empty
    assert "piece" in joint_lines(table, []).columns
