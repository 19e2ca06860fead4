import math

import pandas as pd
import pytest
from synthetic_study import cells, law_tables, ratios, recovery_table, results_table

from distillscale.report import tables


def test_results_have_one_row_for_each_cell_and_stage():
    results = results_table()
    table = tables.results_table(results)
    expected = sum(int(str(cell["stages"])) + 1 for cell in cells())
    assert len(table.rows) == expected
    assert all(len(row) == len(table.header) for row in table.rows)
    row = next(r for r in table.rows if r[0].text == "lora-label" and r[3].text == "5")
    value = results[
        (results["method"] == "lora") & (results["stage"] == 5) & (results["metric"] == "macro_f1")
    ]["value"].item()
    assert row[table.header.index("macro F1")].order == pytest.approx(value)
    assert row[table.header.index("kept")].text == f"{ratios('uniform')[5]:.0%}"


def test_missing_stays_missing():
    results = results_table()
    table = tables.results_table(
        results[~((results["metric"] == "accuracy") & (results["stage"] > 0))]
    )
    cell = table.rows[1][table.header.index("accuracy")]
    assert (cell.text, cell.order) == ("–", None)


def test_the_kl_that_truncation_hides_is_stated_where_the_kl_is_shown():
    results = results_table()
    assert tables.results_table(results).note == ""
    kl = results[results["metric"].isin(["kl_answer", "kl_reasoning"])].reset_index(drop=True)
    names = "kl_truncation_error_" + kl["metric"].str.removeprefix("kl_")
    hidden = kl.assign(metric=names, value=0.25 * kl["value"])
    own = {"cell": "teacher", "stage": 0, "metric": "kl_truncation_error_answer", "value": 1e3}
    table = tables.results_table(pd.concat([results, hidden, kl[:1].assign(**own)]))
    for segment in ("answer", "reasoning"):
        exact, error = (table.header.index(f"KL {how}{segment}") for how in ("", "hidden, "))
        measured = [row for row in table.rows if row[exact].order is not None]
        assert measured
        for row in measured:
            assert row[error].order == pytest.approx(0.25 * row[exact].order)
        values = hidden.loc[hidden["metric"].str.endswith(segment), "value"]
        assert (
            f"on the {segment} {tables.number(values.mean())} nats per token in the mean of all "
            f"students and {tables.number(values.max())} at most"
        ) in table.note


def test_task_and_seed_are_columns_only_where_they_vary():
    assert not {"task", "seed"} & set(tables.results_table(results_table()).header)
    two = tables.results_table(results_table(("a", "b"), seeds=2))
    assert {"task", "seed"} <= set(two.header)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (2000, "2,000"), (1_574_912.4, "1,574,912"), (0.00012, "1.2e-04"),
     (0.0, "0"), (43.21, "43.2"), (math.nan, "–"), (2.5e12, "2.50e+12"), (math.inf, "inf")],
)  # fmt: skip
def test_numbers_are_short(value, text):
    assert tables.number(value) == text


def test_laws_have_a_row_a_fit_and_mark_what_is_not_identified():
    data, size, collapse = tables.law_tables(law_tables()[0])
    assert data.title == "data law"
    assert data.header == ("metric", "configuration", "e_inf", "B", "beta")
    assert data.note == "5 sizes"
    assert len(data.rows) == 2
    assert len(size.rows) == len(collapse.rows) == 10
    assert data.rows[0][4].text == "0.420 [0.336, 0.546]"
    assert data.rows[0][2].text == "0.050 [0.040, 0.065] ?"
    assert data.rows[0][2].look == "unsure"


def test_recovery_shades_only_what_excludes_zero():
    recovery = recovery_table()
    recovery.loc[0, ["difference", "low", "high"]] = [-0.05, -0.08, -0.02]
    recovery.loc[1, ["difference", "low", "high"]] = [0.01, -0.02, 0.04]
    first, second = tables.recovery_tables(recovery)
    assert first.title == "logit-cot − logit-label: fin-headlines, uniform schedule"
    looks = [cell.look for cell in first.rows[0][2:]]
    assert looks[0] == "loss"
    assert looks[1] == ""
    assert set(looks[2:]) == {"gain"}
    assert first.rows[0][3].text == "+0.010 [-0.020, 0.040]"
    assert first.header[2] == "stage 1, 70% kept"
    assert "pruned only" in second.title


def test_what_a_law_was_fitted_over_keeps_fits_apart():
    laws = law_tables()[0]
    size = laws[laws["law"] == "size"].assign(thinking="none", x="params")
    twice = pd.concat([size, size.assign(x="params_with_embeddings")])
    (table,) = tables.law_tables(twice)
    assert len(table.rows) == 20
    assert table.header == ("metric", "configuration", "x", "e_inf", "A", "alpha")


def test_remarks_name_their_parameters_and_common_ones_are_said_once():
    laws = law_tables()[0].head(6)
    notes = ["vague; one seed", "vague; one seed", "one seed"] + ["no trend; one seed"] * 3
    (table,) = tables.law_tables(laws.assign(note=notes))
    assert [row[-1].text for row in table.rows] == ["e_inf, B: vague", "no trend"]
    assert table.note == "one seed"


def test_a_law_that_was_not_fitted_has_a_row_that_says_so():
    laws = law_tables()[0].head(3)
    unfitted = laws.head(1).assign(
        parameter="", estimate=None, low=None, high=None, configuration="lora-label", note="why"
    )
    (table,) = tables.law_tables(pd.concat([laws, unfitted]))
    assert [cell.text for cell in table.rows[1]] == ["macro F1", "lora-label", "–", "–", "–", "why"]


def test_oneshot_sizes_have_columns_of_their_own():
    recovery = recovery_table().head(2).assign(schedule="oneshot", stage=1, thinking="full")
    (table,) = tables.recovery_tables(recovery)
    assert table.title == "logit-cot (full thinking) − logit-label: fin-headlines, oneshot schedule"
    assert table.header[2:] == ("stage 1, 70% kept", "stage 1, 48% kept")


def test_empty_tables_give_no_tables():
    laws, _ = law_tables()
    assert tables.law_tables(laws.head(0)) == []
    assert tables.recovery_tables(recovery_table().head(0)) == []
    assert isinstance(laws, pd.DataFrame)
