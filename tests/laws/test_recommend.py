from typing import Any

import numpy as np
import pandas as pd
import pytest
from laws_tables import at_ratio, collapsed, exact, row, study_table, table

from distillscale.errors import InputError
from distillscale.laws import fit_laws, recommend

COT = {"cell": "cot", "supervision": "cot", "thinking": "full"}


def model(stage: int, ratio: float, f1: float, general: float, **cell: Any) -> list[dict[str, Any]]:
    """The two rows of one measured model."""
    named = {"cell": "label", "stages": 2} | cell
    return [
        at_ratio(stage, ratio, value=f1, replicates=[f1 - 0.01, f1, f1 + 0.01], **named),
        at_ratio(stage, ratio, metric="general", value=general, chance=0.175, **named),
    ]


@pytest.fixture
def small() -> pd.DataFrame:
    """Label-only and reasoning, a teacher and two stages each (1.6 M, 0.8 M and 0.4 M params)."""
    return table([
        *model(0, 1.0, 0.95, 0.90),
        *model(1, 0.5, 0.90, 0.50),
        *model(2, 0.25, 0.86, 0.30),
        *model(0, 1.0, 0.95, 0.90, **COT),
        *model(1, 0.5, 0.91, 0.80, **COT),
        *model(2, 0.25, 0.84, 0.62, **COT),
    ])  # fmt: skip


def test_the_smallest_model_that_satisfies_all_is_chosen(small: pd.DataFrame) -> None:
    found = recommend(small, [], {"macro_f1": 0.8, "general": 0.6}, {"params": 500_000})
    choice = found.choice
    assert (choice.configuration, choice.stage, choice.params) == ("logit-cot", 2, 400_000)
    assert found.probabilities[2] == 1
    assert found.conflict == ""
    (label,) = found.others
    assert str(label) == (
        "logit-label: fails general >= 0.6 (best under the others 0.3, at 400,000 params "
        "(uniform, stage 2, 800 examples)); params <= 500,000 (best under the others 1,600,000, "
        "at 1,600,000 params (uniform, stage 0, 800 examples))"
    )


def test_text_tells_how_to_make_the_model_and_what_to_expect(small: pd.DataFrame) -> None:
    text = recommend(small, [], {"macro_f1": 0.8, "general": 0.6}, {"params": 500_000}).as_text()
    for statement in (
        "logit-cot (full thinking) at 400,000 params (uniform, stage 2, 800 examples) is the "
        "smallest model with macro_f1 >= 0.8, general >= 0.6 and params <= 500,000; how likely a "
        "new run meets this is not known.",
        "  logit-cot",
        "  supervision cot, method logit, thinking full",
        "  schedule uniform in 2 stages, stage 2, prune ratio 0.25",
        "  800 examples, one run",
        "  400,000 parameters (662,144 with embeddings)",
        "  Expected of a new run, with 90% intervals:",
        "    macro_f1 0.84 (0.823 to 0.856), measured",
        "    general 0.62, measured",
        "    interval of macro_f1: test sampling only: nothing tells how runs differ",
        "    interval of general: nothing tells how runs differ",
        "  Probability that a new run meets: macro_f1 >= 0.8 unknown, general >= 0.6 unknown, all "
        "together unknown",
        "Note: this is the smallest size measured; a smaller one lies outside the fitted range",
    ):
        assert statement in text.splitlines()


def test_an_interval_across_the_threshold_is_mentioned(small: pd.DataFrame) -> None:
    found = recommend(small, [], {"macro_f1": 0.835, "general": 0.6}, {})
    assert "the interval of macro_f1 reaches across macro_f1 >= 0.835" in found.remarks
    sure = recommend(small, [], {"macro_f1": 0.8, "general": 0.6}, {})
    assert not any("reaches across" in remark for remark in sure.remarks)


def test_only_the_teacher_satisfies(small: pd.DataFrame) -> None:
    found = recommend(small, [], {"general": 0.85}, {})
    assert found.choice.stage == 0
    assert "no compressed model satisfies all: this is the teacher itself" in found.remarks


def test_infeasible_names_the_conflict_and_the_closest(small: pd.DataFrame) -> None:
    found = recommend(small, [], {"macro_f1": 0.8, "general": 0.7}, {"params": 500_000})
    assert found.choice is None
    assert found.conflict == (
        "Nothing measured or interpolated satisfies general >= 0.7 and params <= 500,000 "
        "together.\nClosest: logit-cot (full thinking), 400,000 params (uniform, stage 2, 800 "
        "examples): general 0.62 misses general >= 0.7 by 11.4%."
    )
    assert [outcome.label for outcome in found.others] == [
        "logit-cot (full thinking)",
        "logit-label",
    ]
    assert found.conflict in found.as_text()


def test_a_size_below_the_measured_ones_is_outside_the_fitted_range(small: pd.DataFrame) -> None:
    found = recommend(small, [], {"general": 0.6}, {"params": 100_000})
    assert "satisfies params <= 100,000." in found.conflict
    assert found.remarks == (
        "params <= 100,000 is outside the fitted range (400,000 to 1,600,000): no law is asked "
        "there",
    )


def test_more_examples_than_measured_are_an_extrapolation() -> None:
    rows = [
        at_ratio(1, 0.4, cell=str(size), stages=1, dataset_size=size, **exact(1 - 4 * size**-0.5))
        for size in (100, 200, 400, 800)
    ]
    study = table(rows)
    found = recommend(study, fit_laws(study), {"macro_f1": 0.9}, {})
    assert found.choice is None
    (remark,) = found.remarks
    # 1 - 4 D^-.5 = .9 at D = 1600.
    assert "data law of logit-label meets macro_f1 >= 0.9 at dataset_size = about 1,600" in remark
    assert "outside the fitted range (100 to 800)" in remark
    assert recommend(study, fit_laws(study), {"macro_f1": 0.999}, {}).remarks == ()


def test_ties_go_to_fewer_examples_then_to_the_higher_macro_f1() -> None:
    rows = [
        *model(2, 0.25, 0.90, 0.5, cell="a", dataset_size=800),
        *model(2, 0.25, 0.80, 0.5, cell="b", dataset_size=400),
        *model(2, 0.25, 0.85, 0.5, **COT | {"cell": "c"}, dataset_size=400),
    ]
    choice = recommend(table(rows), [], {}, {}).choice
    assert (choice.configuration, choice.dataset_size) == ("logit-cot", 400)


def test_seeds_are_averaged() -> None:
    rows = [*model(1, 0.5, 0.8, 0.5, seed=0), *model(1, 0.5, 0.9, 0.5, cell="label1", seed=1)]
    choice = recommend(table(rows), [], {"macro_f1": 0.85}, {}).choice
    assert choice.value("macro_f1") == pytest.approx(0.85)
    assert choice.seeds == 2


def lawful() -> pd.DataFrame:
    """A chain that follows its laws without noise: general .5(1+c) at ratio .4."""
    rows = []
    for stage, ratio in enumerate((1.0, 0.7, 0.5, 0.35, 0.25)):
        f1 = 1 - (0.02 + 0.05 * ratio**-1.0)
        general = collapsed(0.95, 0.4, 5, 0.175, ratio)
        rows.append(at_ratio(stage, ratio, stages=4, **exact(f1)))
        rows.append(
            at_ratio(stage, ratio, stages=4, metric="general", chance=0.175, **exact(general))
        )
    return table(rows)


def test_a_size_between_stages_is_found_by_the_laws() -> None:
    study = lawful()
    halfway = 0.175 + 0.5 * (0.95 - 0.175)
    found = recommend(study, fit_laws(study), {"general": halfway}, {"params": 790_000})
    choice = found.choice
    assert choice.stage is None
    assert choice.prune_ratio == pytest.approx(0.4, abs=0.005)
    assert choice.params == pytest.approx(640_000, rel=0.01)
    assert choice.params_with_embeddings - choice.params == 262_144
    assert choice.value("macro_f1") == pytest.approx(1 - (0.02 + 0.05 / 0.4), abs=0.003)
    assert any("smallest measured model that satisfies all: none" in r for r in found.remarks)
    assert "predicted" in found.as_text()


def test_a_size_between_stages_must_meet_the_size_limits_too() -> None:
    study = lawful()
    halfway = 0.175 + 0.5 * (0.95 - 0.175)
    assert (
        recommend(study, fit_laws(study), {"general": halfway}, {"params": 600_000}).choice is None
    )


def test_without_a_law_for_a_demand_nothing_is_interpolated() -> None:
    study = lawful()
    timed = [
        at_ratio(stage, ratio, stages=4, metric="ms_per_example", value=ratio)
        for stage, ratio in enumerate((1.0, 0.7, 0.5, 0.35, 0.25))
    ]
    both = pd.concat([study, table(timed)])
    found = recommend(both, fit_laws(both), {"general": 0.6}, {"ms_per_example": 0.9})
    assert found.choice.stage == 2


def test_a_metric_that_was_not_measured_does_not_satisfy(small: pd.DataFrame) -> None:
    extra = table([at_ratio(1, 0.5, **COT, stages=2, metric="reasoned_accuracy", value=0.9)])
    found = recommend(pd.concat([small, extra]), [], {"reasoned_accuracy": 0.8}, {})
    assert found.choice.configuration == "logit-cot"
    assert "reasoned_accuracy >= 0.8 (not measured" in str(found.others[0])


@pytest.mark.parametrize(
    ("minimum", "maximum", "message"),
    [
        (
            {"macrof1": 0.8},
            {},
            r"--min macrof1: .*did you mean `macro_f1`\? known: params, .*general",
        ),
        ({}, {"parameters": 5}, r"--max parameters: .*did you mean `params`"),
        ({"zzz": 1}, {}, r"--min zzz: no such metric or size; known: params"),
        ({"macro_f1": float("nan")}, {}, "give a number"),
        ({"general": 0.9}, {"general": 0.8}, "--min general=0.9 exceeds --max general=0.8"),
    ],
)
def test_wrong_constraints_are_refused(small, minimum, maximum, message: str) -> None:
    with pytest.raises(InputError, match=message):
        recommend(small, [], minimum, maximum)


def test_several_tasks_ask_for_a_choice() -> None:
    both = table([row(), row(task="support-tickets", cell="d", value=0.5)])
    with pytest.raises(InputError, match="hold the tasks fin-headlines, support-tickets; choose"):
        recommend(both, [], {}, {})
    with pytest.raises(InputError, match="task `fin`: not in the results"):
        recommend(both, [], {}, {}, task="fin")
    assert recommend(both, [], {}, {}, task="support-tickets").choice.value("macro_f1") == 0.5
    with pytest.raises(InputError, match="no rows"):
        recommend(table([]), [], {}, {})


def test_a_whole_study_with_its_laws_is_deterministic() -> None:
    study = study_table(seeds=(0, 1, 2))
    fits = fit_laws(study[study["metric"].isin(["macro_f1", "general"])])
    demands = ({"macro_f1": 0.75, "general": 0.6}, {"params": 700_000})
    first, second = (recommend(study, fits, *demands) for _ in range(2))
    assert first == second
    assert first.choice.configuration in ("logit-cot", "logit-blended")
    covers = first.forecasts["macro_f1"].covers
    assert covers == (
        "run-to-run variation (repeated runs, 40 degrees of freedom), the misfit of the size laws, "
        "test sampling"
    )
    assert np.isfinite(first.choice.value("general"))
