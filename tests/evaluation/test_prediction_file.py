"""Stored decisions: what is read back, and that every measure can be taken again from it."""

import numpy as np
import pandas as pd
import pytest

from distillscale.errors import InputError
from distillscale.evaluation import (
    InDomain,
    Prediction,
    evaluate_in_domain,
    read_predictions,
    write_predictions,
)
from distillscale.evaluation.assessment import assess
from distillscale.evaluation.in_domain import Completion, label_indices
from distillscale.evaluation.metrics import closed_set_measurements

LABELS = ("drug_approval", "permit_granted", "earnings_beat")
TEXTS = ["Novarix wins approval", 'Teklon Energy, "again"', "Orbital\tFoods", "é 📈"]


@pytest.fixture(scope="module")
def label_ids(tokenizer):
    return [[*tokenizer.encode(f" {label}"), tokenizer.eos_token_id] for label in LABELS]


@pytest.fixture(scope="module")
def result(model, tokenizer, label_ids) -> InDomain:
    return evaluate_in_domain(
        model,
        tokenizer,
        [tokenizer.encode(f"Headline: {text}\nAnswer:") for text in TEXTS],
        ["drug_approval", "permit_granted", "permit_granted", "earnings_beat"],
        labels=LABELS,
        label_ids=label_ids,
    )


def store(result: InDomain, path, label_ids):
    write_predictions(
        result, path, ids=["a", "b", "c", "d"], texts=TEXTS, labels=LABELS, label_ids=label_ids
    )
    return read_predictions(path)


def test_rows_are_read_back(result, label_ids, tmp_path):
    stored = store(result, tmp_path / "p.parquet", label_ids)
    assert stored.table["id"].tolist() == ["a", "b", "c", "d"]
    assert stored.table["text"].tolist() == TEXTS
    for column in ("gold", "predicted"):
        assert stored.table[column].tolist() == [getattr(p, column) for p in result.predictions]
    assert stored.table[["completion", "written"]].isna().all(axis=None)
    assert stored.labels == LABELS
    assert stored.label_tokens == tuple(map(len, label_ids))
    assert stored.scores.dtype == np.float32
    np.testing.assert_allclose(stored.scores, result.scores, rtol=1e-6)


def test_plain_pandas_reads_it_too(result, label_ids, tmp_path):
    store(result, tmp_path / "p.parquet", label_ids)
    table = pd.read_parquet(tmp_path / "p.parquet")
    assert (table["gold"] == table["predicted"]).mean() == result.measurements[0].value
    assert len(table["scores"][0]) == len(LABELS)


def test_every_measure_can_be_taken_again(result, label_ids, tmp_path):
    stored = store(result, tmp_path / "p.parquet", label_ids)
    gold = label_indices(stored.table["gold"], stored.labels)
    scores = stored.scores.astype(np.float64)
    again = {item.metric: item.value for item in closed_set_measurements(scores, gold)}
    measured = {item.metric: item.value for item in result.measurements}
    assert again == pytest.approx(measured, abs=1e-5)
    assessment = assess(scores, gold, stored.labels, stored.label_tokens)
    assert assessment.confusion.to_numpy().trace() == sum(
        item.gold == item.predicted for item in result.predictions
    )
    np.testing.assert_allclose(
        stored.table["probability"], [item.probability for item in result.predictions], rtol=1e-6
    )


def test_what_was_written_is_kept_apart_from_what_was_decided(label_ids, tmp_path):
    completions = [Completion(" a firm", None, (), 3), Completion(" x\nAnswer: up", "up", (), 5)]
    result = InDomain(
        tuple(Prediction(LABELS[0], LABELS[1], 0.9, 2.3, written) for written in completions),
        np.log([[0.05, 0.9, 0.05]] * 2),
        (),
    )
    write_predictions(
        result, tmp_path / "p", ids=["a", "b"], texts=TEXTS[:2], labels=LABELS, label_ids=label_ids
    )
    table = read_predictions(tmp_path / "p").table
    assert table["completion"].tolist() == [" a firm", " x\nAnswer: up"]
    assert table["written"].isna().tolist() == [True, False]
    assert table["predicted"].tolist() == [LABELS[1]] * 2


def test_no_rows_are_read_back_as_none(label_ids, tmp_path):
    nothing = InDomain((), np.zeros((0, 3)), ())
    write_predictions(nothing, tmp_path / "p", ids=[], texts=[], labels=LABELS, label_ids=label_ids)
    assert read_predictions(tmp_path / "p").scores.shape == (0, 3)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("nothing")
    pd.DataFrame({"id": [1]}).to_parquet(tmp_path / "table")
    for name in ("text", "table", "missing"):
        with pytest.raises(InputError, match=f"{name}: not a file of predictions"):
            read_predictions(tmp_path / name)


def test_length_normalised_decisions_divide_by_tokens_and_by_characters():
    """Sums favour the short label, means a token the one of few long tokens."""
    labels, tokens = ("up", "merger_failed", "rate"), (2, 2, 4)
    scores = np.array([[-3.0, -4.0, -4.4], [-3.0, -13.0, -5.0]])
    # per token: -1.5 -2 -1.1 | -1.5 -6.5 -1.25; per character: -1.5 -.31 -1.1 | -1.5 -1 -1.25
    found = assess(scores, np.array([2, 1]), labels, tokens).normalised
    values = {item.metric: item.value for item in found}
    assert values["accuracy_per_token"] == 0.5
    assert values["accuracy_per_character"] == 0.5
    assert values["macro_f1_per_token"] == pytest.approx((2 / 3 + 0) / 2)
    assert values["macro_f1_per_character"] == pytest.approx((0 + 2 / 3) / 2)
