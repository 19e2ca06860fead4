"""The sentence on a baseline that is as good at lower cost: when it stands, what it says."""

from dataclasses import replace

import pandas as pd
import pytest

from distillscale.commands.report_baselines import weighed
from distillscale.report import empty_table
from distillscale.report.decision import Decision, Option

ANSWER = Option(
    role="smallest", model="logit-label", place="here", params=100, params_with_embeddings=200,
    share=0.5, macro_f1=0.85, interval=None, f1_share=0.95, general=0.6, general_share=0.9,
    milliseconds=3.0, probability=None, batch_milliseconds=2.0,
)  # fmt: skip
DECISION = Decision("mine", "the rule", 0.84, "the answer.", (ANSWER,), (), "", "")


def baselines(**measured: dict[str, float]) -> pd.DataFrame:
    """Tables of one seed; `f1` and `ms` of each, and `general` where it was measured."""
    names = {"f1": "macro_f1", "ms": "ms_per_example_batch_32", "general": "general"}
    rows = [
        {
            "task": "mine", "baseline": name, "dataset_size": 2048, "metric": names[key],
            "value": value, "replicates": [value - 0.01, value + 0.01] if key == "f1" else [],
        }
        for name, values in measured.items()
        for key, value in values.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def instead(table: pd.DataFrame, decision: Decision = DECISION) -> str:
    (found,) = weighed([decision], table)
    assert replace(found, instead="") == replace(decision, instead="")
    return found.instead


def test_the_best_of_those_that_are_as_good_and_cheaper_is_named():
    table = baselines(
        tfidf={"f1": 0.86, "ms": 0.03}, encoder={"f1": 0.87, "ms": 0.5}, other={"f1": 0.9, "ms": 2}
    )
    assert instead(table) == (
        "encoder, which was trained on 2,048 texts, is at least as good at lower cost: "
        "macro F1 0.870 [0.861, 0.879] against 0.850, 0.5 ms a text in batches of 32 against 2; it "
        "has no general knowledge."
    )


@pytest.mark.parametrize(
    "measured", [{"f1": 0.849, "ms": 0.03}, {"f1": 0.9, "ms": 2.0}, {"f1": 0.9}, {"ms": 0.1}]
)
def test_worse_or_slower_or_unmeasured_is_no_reason(measured):
    assert instead(baselines(tfidf=measured)) == ""


def test_equal_is_enough_and_means_are_over_seeds():
    assert instead(baselines(tfidf={"f1": 0.85, "ms": 1.9}))
    two = pd.concat([baselines(tfidf={"f1": f1, "ms": 1.0}) for f1 in (0.83, 0.86)])
    assert instead(two) == ""


def test_general_knowledge_is_told_where_both_have_it():
    said = instead(baselines(shape={"f1": 0.9, "ms": 1, "general": 0.25}))
    assert said.endswith("; its general knowledge is 0.250 against 0.600.")
    alone = replace(DECISION, options=(replace(ANSWER, general=None),))
    assert said.partition(";")[0] + "." == instead(
        baselines(shape={"f1": 0.9, "ms": 1, "general": 0.25}), alone
    )


def test_where_there_is_no_answer_the_rule_is_what_counts():
    nobody = replace(DECISION, options=())
    said = instead(baselines(tfidf={"f1": 0.845, "ms": 5}), nobody)
    assert "keeps the rule: macro F1 0.845 [0.836, 0.854], 5 ms a text" in said
    assert instead(baselines(tfidf={"f1": 0.835, "ms": 5}), nobody) == ""


def test_without_baselines_or_the_answers_cost_nothing_is_said():
    assert instead(empty_table("baselines")) == ""
    untimed = replace(DECISION, options=(replace(ANSWER, batch_milliseconds=None),))
    assert instead(baselines(tfidf={"f1": 0.9, "ms": 0.1}), untimed) == ""
    other = replace(DECISION, task="another")
    assert instead(baselines(tfidf={"f1": 0.9, "ms": 0.1}), other) == ""
