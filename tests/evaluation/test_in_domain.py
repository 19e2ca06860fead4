"""In-domain evaluation: scored labels, reasoning that is cut at its marker, parsed answers."""

import numpy as np
import pytest
import torch

from distillscale.errors import InputError
from distillscale.evaluation import in_domain
from distillscale.evaluation.in_domain import Reasoning, evaluate_in_domain, read_completion

LABELS = ("drug_approval", "permit_granted", "earnings_beat")
MARKER = "\nAnswer:"


def parse(text: str) -> tuple[str | None, int]:
    found = text.find(MARKER)
    if found < 0:
        return None, len(text)
    start = found + len(MARKER)
    answer = text[start:].strip()
    return (answer if answer in LABELS else None), start


def ids(tokenizer, text: str) -> tuple[int, ...]:
    return tuple(tokenizer.encode(text))


def label_ids(tokenizer) -> list[list[int]]:
    return [[*tokenizer.encode(f" {label}"), tokenizer.eos_token_id] for label in LABELS]


def reasoning(tokenizer) -> Reasoning:
    return Reasoning(max_new_tokens=12, marker_ids=ids(tokenizer, MARKER), parse=parse)


def inputs(tokenizer) -> dict:
    texts = ["Headline: Novarix wins approval", "Headline: Teklon Energy", "Headline: Orbital"]
    return {
        "prompts": [ids(tokenizer, text + "\nThink:") for text in texts],
        "gold": ["drug_approval", "permit_granted", "permit_granted"],
        "labels": LABELS,
        "label_ids": label_ids(tokenizer),
    }


@torch.no_grad()
def gold_nll_by_hand(model, context, label, tokenizer) -> float:
    scores = []
    for choice in label_ids(tokenizer):
        logits = model(input_ids=torch.tensor([[*context, *choice]])).logits[0].log_softmax(-1)
        scores.append(sum(logits[len(context) - 1 + i, y] for i, y in enumerate(choice)))
    return -torch.stack(scores).log_softmax(0)[LABELS.index(label)].item()


def by_name(result) -> dict:
    return {item.metric: item for item in result.measurements}


def test_without_reasoning_labels_are_scored_after_the_prompt(model, tokenizer):
    given = inputs(tokenizer)
    result = evaluate_in_domain(model, tokenizer, **given)
    for prompt, gold, prediction in zip(
        given["prompts"], given["gold"], result.predictions, strict=True
    ):
        assert prediction.completion is None
        assert prediction.gold == gold
        by_hand = gold_nll_by_hand(model, prompt, gold, tokenizer)
        assert prediction.gold_nll == pytest.approx(by_hand, abs=1e-4)
    shares = np.exp(result.scores) / np.exp(result.scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose([p.probability for p in result.predictions], shares.max(axis=1))
    assert [p.predicted for p in result.predictions] == [LABELS[i] for i in shares.argmax(axis=1)]
    metrics = by_name(result)
    hits = [item.predicted == item.gold for item in result.predictions]
    assert metrics["accuracy"].value == pytest.approx(np.mean(hits))
    assert metrics["gold_nll"].value == pytest.approx(
        np.mean([item.gold_nll for item in result.predictions])
    )
    assert len(metrics["macro_f1"].replicates) == 200
    assert "reasoned_accuracy" not in metrics


def test_padding_side_and_batch_size_change_nothing(model, tokenizer, monkeypatch):
    given = inputs(tokenizer) | {"reasoning": reasoning(tokenizer)}
    expected = evaluate_in_domain(model, tokenizer, **given)
    monkeypatch.setattr(tokenizer, "padding_side", "left")
    left = evaluate_in_domain(model, tokenizer, **given, batch_size=1)
    monkeypatch.setattr(tokenizer, "padding_side", "right")
    right = evaluate_in_domain(model, tokenizer, **given, batch_size=2)
    for one, other, base in zip(
        left.predictions, right.predictions, expected.predictions, strict=True
    ):
        assert one.completion == other.completion == base.completion
        assert one.gold_nll == pytest.approx(base.gold_nll, abs=1e-5)
        assert other.gold_nll == pytest.approx(base.gold_nll, abs=1e-5)


def test_reasoning_that_never_ends_gets_the_marker_appended(model, tokenizer):
    given = inputs(tokenizer)
    result = evaluate_in_domain(model, tokenizer, **given, reasoning=reasoning(tokenizer))
    for prompt, prediction in zip(given["prompts"], result.predictions, strict=True):
        assert prediction.completion is not None
        prefix = prediction.completion.prefix_ids
        assert tokenizer.decode(prefix) == prediction.completion.text + MARKER
        by_hand = gold_nll_by_hand(model, (*prompt, *prefix), prediction.gold, tokenizer)
        assert prediction.gold_nll == pytest.approx(by_hand, abs=1e-4)
    assert by_name(result)["parse_failure_rate"].value == 1
    assert by_name(result)["reasoned_accuracy"].value == 0


def test_written_answers_are_parsed_and_unparsed_counts_as_wrong(model, tokenizer, monkeypatch):
    written = [
        " a pharma firm.\nAnswer: drug_approval<end>",  # right
        " an energy firm.\nAnswer: earnings_beat<end>",  # wrong
        " a firm.\nAnswer: nothing known<end>",  # no class
    ]
    monkeypatch.setattr(
        in_domain, "generate", lambda *_, **__: [ids(tokenizer, text) for text in written]
    )
    result = evaluate_in_domain(
        model, tokenizer, **inputs(tokenizer), reasoning=reasoning(tokenizer)
    )
    metrics = by_name(result)
    assert metrics["reasoned_accuracy"].value == pytest.approx(1 / 3)
    assert metrics["parse_failure_rate"].value == pytest.approx(1 / 3)
    assert [item.completion.label for item in result.predictions] == [
        "drug_approval",
        "earnings_beat",
        None,
    ]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (" a pharma firm.\nAnswer: drug_approval<end>", " a pharma firm.\nAnswer:"),
        (" a firm.\nAnswer: who knows", " a firm.\nAnswer:"),
        (" a firm.\nAnswer:", " a firm.\nAnswer:"),
        (" a firm.\nAnswer:<end>", " a firm.\nAnswer:"),
        (" a firm<end>", " a firm\nAnswer:"),
        ("", "\nAnswer:"),
    ],
)
def test_completions_are_cut_at_the_marker(tokenizer, text, kept):
    completion = read_completion(ids(tokenizer, text), tokenizer, reasoning(tokenizer))
    assert tokenizer.decode(completion.prefix_ids) == kept
    assert completion.text == text.removesuffix("<end>")


def test_the_models_own_tokens_are_kept(tokenizer):
    spelled = [token for letter in " firm.\nAnswer:" for token in ids(tokenizer, letter)]
    completion = read_completion(
        [*spelled, *ids(tokenizer, " earnings_beat")], tokenizer, reasoning(tokenizer)
    )
    assert completion.prefix_ids == tuple(spelled)
    assert completion.label == "earnings_beat"


def test_a_token_across_the_marker_gives_way_to_the_markers_own(tokenizer):
    class Merging:
        eos_token_id = 0
        pieces = ("", " firm", ".\n", "Answer", ": x", ":", "\n")

        def decode(self, tokens, skip_special_tokens):
            return "".join(self.pieces[token] for token in tokens)

    format_ = Reasoning(max_new_tokens=9, marker_ids=(6, 3, 5), parse=parse)
    completion = read_completion((1, 2, 3, 4, 0), Merging(), format_)
    assert completion.prefix_ids == (1, 6, 3, 5)
    assert completion.label is None


def test_a_gold_label_outside_the_closed_set_is_named(model, tokenizer):
    given = inputs(tokenizer) | {"gold": ["drug_approval", "merger", "drug_approval"]}
    with pytest.raises(InputError, match="`merger` of example 1 is not one of the 3 classes"):
        evaluate_in_domain(model, tokenizer, **given)


def test_without_examples_everything_is_missing(model, tokenizer):
    given = inputs(tokenizer) | {"prompts": [], "gold": []}
    result = evaluate_in_domain(model, tokenizer, **given, reasoning=reasoning(tokenizer))
    assert result.predictions == ()
    assert {item.value for item in result.measurements} == {None}
