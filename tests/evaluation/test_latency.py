"""Latency counts decisions; how long they take is the machine's affair."""

import pytest

from distillscale.evaluation import latency
from distillscale.evaluation.in_domain import Reasoning
from distillscale.evaluation.latency import measure_latency

REASONING = Reasoning(max_new_tokens=3, marker_ids=[8], parse=lambda text: (None, len(text)))


def recorded(monkeypatch):
    """The calls of `decide`: prompts, batch size, and whether the model reasoned."""
    calls = []
    original = latency.decide

    def recording(model_, tokenizer_, prompts, *arguments, batch_size, reasoning):
        calls.append((len(prompts), batch_size, reasoning is not None))
        return original(
            model_, tokenizer_, prompts, *arguments, batch_size=batch_size, reasoning=reasoning
        )

    monkeypatch.setattr(latency, "decide", recording)
    return calls


def test_single_decisions_and_batches_are_timed(model, tokenizer, monkeypatch):
    calls = recorded(monkeypatch)
    monkeypatch.setattr(latency, "_SECONDS", 1e9)
    prompts = [[5, 6, 7 + number] for number in range(40)]
    measured = measure_latency(model, tokenizer, prompts, [[9, 10], [11]], singles=3)
    assert calls == [(1, 1, False), (32, 32, False)] + [(1, 1, False)] * 3 + [(32, 32, False)] * 2
    by_name = {item.metric: item for item in measured}
    assert {name: item.examples for name, item in by_name.items()} == {
        "ms_per_example": 3, "ms_per_example_batch_32": 32, "examples_per_second": 32,
        "peak_memory_bytes": 32,
    }  # fmt: skip
    milliseconds = by_name["ms_per_example_batch_32"].value
    assert by_name["examples_per_second"].value * milliseconds == pytest.approx(1000)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    assert by_name["peak_memory_bytes"].value >= weights
    assert by_name["ms_per_example"].chance is None


def test_a_reasoning_model_is_timed_with_and_without_its_reasoning(model, tokenizer, monkeypatch):
    calls = recorded(monkeypatch)
    monkeypatch.setattr(latency, "_SECONDS", 1e-9)
    measured = measure_latency(
        model, tokenizer, [[5, 6], [5, 7]], [[9], [11]], reasoning=REASONING,
        label_only_prompts=[[5, 8]],
    )  # fmt: skip
    assert calls == [
        (1, 1, True), (2, 2, True), (1, 1, True),  # warm-up, a batch, one alone
        (1, 1, False), (1, 1, False), (1, 1, False),
    ]  # fmt: skip
    assert [item.metric for item in measured if "label_only" in item.metric] == [
        "ms_per_example_label_only", "ms_per_example_label_only_batch_32",
    ]  # fmt: skip


def test_slow_decisions_are_repeated_less(model, tokenizer, monkeypatch):
    calls = recorded(monkeypatch)
    monkeypatch.setattr(latency, "_SECONDS", 1e-9)
    alone, together, *_ = measure_latency(model, tokenizer, [[5, 6]] * 4, [[9], [11]])
    assert alone.examples == 1
    assert together.examples == 4
    assert len(calls) == 3
