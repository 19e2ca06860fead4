"""Latency counts decisions; how long they take is the machine's affair."""

from distillscale.evaluation import latency
from distillscale.evaluation.in_domain import Reasoning
from distillscale.evaluation.latency import measure_latency


def test_single_decisions_and_batches_are_timed(model, tokenizer, monkeypatch):
    calls = []
    original = latency.decide

    def recording(model_, tokenizer_, prompts, *arguments, batch_size, **options):
        calls.append((len(prompts), batch_size))
        return original(model_, tokenizer_, prompts, *arguments, batch_size=batch_size, **options)

    monkeypatch.setattr(latency, "decide", recording)
    monkeypatch.setattr(latency, "_SECONDS_FOR_SINGLES", 1e9)
    prompts = [[5, 6, 7 + number] for number in range(8)]
    alone, together = measure_latency(
        model, tokenizer, prompts, [[9, 10], [11]], singles=3, batch_size=4
    )
    assert calls == [(1, 1), (1, 1), (1, 1), (1, 1), (4, 4)]
    assert (alone.metric, alone.examples, alone.replicates) == ("ms_per_example", 3, ())
    assert (together.metric, together.examples) == ("examples_per_second", 4)
    assert alone.value > 0
    assert together.value > 0
    assert alone.chance is None


def test_generation_is_part_of_a_reasoning_models_decision(model, tokenizer, monkeypatch):
    generated = []
    original = latency.decide

    def recording(*arguments, **options):
        scores, completions = original(*arguments, **options)
        generated.extend(completions)
        return scores, completions

    monkeypatch.setattr(latency, "decide", recording)
    reasoning = Reasoning(max_new_tokens=3, marker_ids=[8], parse=lambda text: (None, len(text)))
    measure_latency(
        model, tokenizer, [[5, 6]], [[9], [11]], reasoning=reasoning, singles=1, batch_size=1
    )
    assert len(generated) == 3


def test_slow_decisions_are_repeated_less(model, tokenizer, monkeypatch):
    monkeypatch.setattr(latency, "_SECONDS_FOR_SINGLES", 1e-9)
    alone, _ = measure_latency(model, tokenizer, [[5, 6]] * 4, [[9], [11]])
    assert alone.examples == 1
