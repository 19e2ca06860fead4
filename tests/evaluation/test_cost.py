"""Operations, memory, throughput and file size of a decision."""

import copy

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import MambaConfig, MambaForCausalLM

from distillscale.evaluation import measure_cost, throughput
from distillscale.evaluation.cost import decision_flops, measure_flops
from distillscale.evaluation.in_domain import Completion, Prediction, Reasoning, decide
from distillscale.evaluation.memory import peak_memory, weight_bytes
from distillscale.evaluation.task_inputs import TaskInputs
from distillscale.evaluation.throughput import measure_throughput
from distillscale.evaluation.token_tree import token_tree
from distillscale.models.checkpoint import save_checkpoint
from distillscale.models.flops import Flops, flops_of

LABELS = ((20, 21, 0), (20, 22, 0), (23, 0))
PROMPTS = ((5, 6, 7), (8, 9, 10, 11, 12))


def predictions(completions):
    return [Prediction("a", "a", 1.0, 0.0, completion) for completion in completions]


def test_operations_of_a_decision_are_near_those_that_it_really_takes(model, tokenizer):
    """What differs is that the packed pass computes masked products of attention, too."""
    eager = copy.deepcopy(model)  # of fused attention PyTorch's counter knows nothing on a CPU
    eager.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        decide(eager, tokenizer, PROMPTS[:1], LABELS, reasoning=None)
    inputs = TaskInputs(PROMPTS[:1], ("a", "b", "c"), LABELS, None)
    counted = measure_flops(model, inputs, predictions([None])).value
    flops, tokens = flops_of(model), len(PROMPTS[0]) + len(token_tree(LABELS).tokens)
    pairs = sum(range(1, len(PROMPTS[0]) + 1)) + sum(4 + d for d in token_tree(LABELS).depths)
    masked = flops.seen * (tokens**2 - pairs)
    assert counter.get_total_flops() - counted == masked


def test_a_reasoning_decision_is_prompt_tokens_one_by_one_and_a_second_reading():
    flops, tree = Flops(token=1000, seen=0, logits=1), token_tree(LABELS)
    nodes = len(tree.tokens)
    completion = Completion("because\nAnswer: a", "a", prefix_ids=(30, 31, 32, 33), written=6)
    generated = 1000 * (10 + 5) + (1 + 5)
    scored = 1000 * (10 + 4 + nodes) + (1 + nodes)
    assert decision_flops(flops, 10, tree, completion) == generated + scored
    assert decision_flops(flops, 10, tree, None) == 1000 * (10 + nodes) + (1 + nodes)


def test_everything_is_measured(model, tokenizer, tmp_path):
    save_checkpoint(model, tokenizer, tmp_path)
    reasoning = Reasoning(max_new_tokens=3, marker_ids=[8], parse=lambda text: (None, len(text)))
    inputs = TaskInputs(PROMPTS, ("a", "b", "c"), LABELS, reasoning)
    written = predictions([Completion("", None, (30, 8), 3)] * 2)
    measured = measure_cost(
        model, tokenizer, inputs, written, label_only_prompts=PROMPTS, folder=tmp_path
    )
    values = {item.metric: item.value for item in measured}
    assert set(values) == {
        "ms_per_example", "ms_per_example_batch_32", "examples_per_second", "peak_memory_bytes",
        "ms_per_example_label_only", "ms_per_example_label_only_batch_32", "flops_per_example",
        "prefill_tokens_per_second", "decode_tokens_per_second", "file_bytes",
    }  # fmt: skip
    assert values["file_bytes"] == (tmp_path / "model.safetensors").stat().st_size
    assert all(isinstance(value, float) and value > 0 for value in values.values())


def test_decoding_steps_are_those_of_generation(model, tokenizer, monkeypatch):
    """The steps that are timed write what greedy generation writes."""
    batch = throughput._Batch(model, PROMPTS[:1])
    batch.prefill(use_cache=True)
    steps = [batch._next.item()]
    for _ in range(4):
        batch.step()
        steps.append(batch._next.item())
    expected = model.generate(
        torch.tensor([PROMPTS[0]]), max_new_tokens=5, do_sample=False, eos_token_id=None,
        pad_token_id=1,
    )  # fmt: skip
    assert steps == expected[0, len(PROMPTS[0]) :].tolist()


def test_a_model_without_a_cache_has_no_decoding_rate():
    model = MambaForCausalLM(MambaConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1))
    prefill, decode = measure_throughput(model.eval(), PROMPTS)
    assert (prefill.metric, decode.metric) == (
        "prefill_tokens_per_second", "decode_tokens_per_second",
    )  # fmt: skip
    assert prefill.value > 0
    assert decode.value is None


def test_the_context_is_not_exceeded(model, monkeypatch):
    monkeypatch.setattr(model.config, "max_position_embeddings", 7)
    assert throughput._steps_left(model, PROMPTS) == 1
    monkeypatch.setattr(model.config, "max_position_embeddings", 10)
    assert throughput._steps_left(model, PROMPTS) == 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="resident memory is measured on CPUs")
def test_memory_that_is_used_for_a_while_counts(model):
    size = 2**24

    def work():
        block = np.ones(size, dtype=np.uint8)
        total = 0
        for _ in range(20):  # long enough to be looked at
            total += int(block.sum())
        return total

    result, peak = peak_memory(model, work)
    assert result == 20 * size
    if peak is not None:
        assert weight_bytes(model) + 0.9 * size < peak < weight_bytes(model) + 3 * size
    tied = {id(p): p.numel() * 4 for p in model.parameters()}
    assert weight_bytes(model) >= sum(tied.values())
