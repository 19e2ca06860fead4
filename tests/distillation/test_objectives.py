import pytest
import torch

from distillscale.distillation.objectives import OBJECTIVES, LossWeights
from distillscale.distillation.segments import ANSWER, REASONING, SegmentTotals

SEGMENTS = {
    "both": [REASONING, REASONING, ANSWER, REASONING, ANSWER],
    "no reasoning": [ANSWER] * 5,
    "no answer": [REASONING] * 5,
    "none": [],
}
WEIGHTS = [LossWeights(), LossWeights(0.8, 0.1, 0.3), LossWeights(1.0, 0.0, 1.0)]


def naive(name, segments, divergence, cross_entropy, w: LossWeights) -> float:
    """The formulas of the docs, from the values D_t and CE_t of every position."""
    where = {
        segment: [t for t, own in enumerate(segments) if own == segment]
        for segment in (REASONING, ANSWER)
    }
    mean = lambda values, places: sum(values[t] for t in places) / max(len(places), 1)  # noqa: E731
    everywhere = range(len(segments))
    if name == "label":
        return mean(divergence, where[ANSWER])
    if name == "cot":
        return mean(divergence, everywhere)
    if name == "cross_entropy":
        return mean(cross_entropy, everywhere)
    parts = [
        (1 - anchor) * mean(divergence, where[s]) + anchor * mean(cross_entropy, where[s])
        for s, anchor in ((REASONING, w.reasoning_anchor), (ANSWER, w.answer_anchor))
    ]
    return (1 - w.answer_weight) * parts[0] + w.answer_weight * parts[1]


def loss(name, segments, divergence, cross_entropy, weights, totals=None):
    segments = torch.tensor(segments, dtype=torch.long)
    position = OBJECTIVES[name](segments, totals or SegmentTotals.of(segments), weights)
    assert position.divergence.shape == position.cross_entropy.shape == segments.shape
    return (position.divergence * divergence + position.cross_entropy * cross_entropy).sum()


@pytest.fixture
def values():
    return torch.rand(2, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("segments", SEGMENTS.values(), ids=SEGMENTS.keys())
@pytest.mark.parametrize("weights", WEIGHTS, ids=["default", "other", "extreme"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_weights_make_the_formula(name, weights, segments, values):
    divergence, cross_entropy = values[:, : len(segments)]
    got = loss(name, segments, divergence, cross_entropy, weights)
    expected = naive(name, segments, divergence.tolist(), cross_entropy.tolist(), weights)
    assert got.item() == pytest.approx(expected)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_micro_batches_with_the_step_s_totals_add_up_to_the_step(name, values):
    """However unevenly they split the segments, one of them being all reasoning."""
    segments = SEGMENTS["both"]
    totals = SegmentTotals(reasoning=3, answer=2)
    whole = loss(name, segments, *values, LossWeights(0.8, 0.1, 0.3))
    parts = sum(
        loss(name, segments[part], *values[:, part], LossWeights(0.8, 0.1, 0.3), totals)
        for part in (slice(0, 2), slice(2, 3), slice(3, 5))
    )
    torch.testing.assert_close(parts, whole)


def test_answer_weight_and_not_length_balances_the_blend(values):
    """Repeating every reasoning position tenfold leaves `blended` alone but moves `cot`."""
    segments = torch.tensor(SEGMENTS["both"])
    repeats = torch.where(segments == REASONING, 10, 1)
    short = (segments.tolist(), *values)
    long = (segments.repeat_interleave(repeats).tolist(), *values.repeat_interleave(repeats, 1))
    losses = {
        name: (loss(name, *short, LossWeights()), loss(name, *long, LossWeights()))
        for name in ("blended", "cot")
    }
    torch.testing.assert_close(*losses["blended"])
    assert not torch.isclose(*losses["cot"])


def test_label_puts_no_weight_on_reasoning():
    segments = torch.tensor(SEGMENTS["both"])
    weights = OBJECTIVES["label"](segments, SegmentTotals.of(segments), LossWeights())
    assert weights.divergence.tolist() == [0, 0, 0.5, 0, 0.5]
    assert not weights.cross_entropy.any()
