"""The closed-set scorer against one sequence a choice, for every way in which it reads a model."""

import inspect

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from distillscale.errors import InputError
from distillscale.evaluation import cached_scores, closed_set
from distillscale.evaluation.cached_scores import has_cache
from distillscale.evaluation.closed_set import TREE_FAMILIES, closed_set_scores, scores_trees
from distillscale.evaluation.token_tree import token_tree
from distillscale.models.batches import masked_batches

PROMPTS = [[7, 12, 40, 41, 9], [8] * 9, [50, 3, 99], list(range(20, 32))]
SHARED = [[5, 6], [5, 7, 8], [9], [5, 6, 10], [11, 12, 13, 14], [5, 6, 10, 2]]
CHOICES = [SHARED, SHARED, [[20, 21], [22]], [[30], [31, 32, 33], [31, 32], [31, 32]]]


def tiny(family: str, attention: str, **options) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family,
        vocab_size=100,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **{"sliding_window": None} | options,
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@torch.no_grad()
def reference(model: PreTrainedModel, prompt: list[int], choice: list[int]) -> float:
    logits = model(input_ids=torch.tensor([prompt + choice])).logits[0].double()
    steps = range(len(prompt) - 1, len(prompt) + len(choice) - 1)
    return sum(logits[t].log_softmax(-1)[y].item() for t, y in zip(steps, choice, strict=True))


def assert_equal_to_reference(model: PreTrainedModel, batch_size: int) -> None:
    scores = closed_set_scores(model, PROMPTS, CHOICES, batch_size=batch_size)
    for own, prompt, choices in zip(scores, PROMPTS, CHOICES, strict=True):
        expected = [reference(model, prompt, choice) for choice in choices]
        np.testing.assert_allclose(own, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", sorted(TREE_FAMILIES))
def test_scores_of_every_packed_family_equal_one_sequence_a_choice(family, attention):
    model = tiny(family, attention)
    assert scores_trees(model)
    assert_equal_to_reference(model, batch_size=3)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", sorted(TREE_FAMILIES))
def test_a_beginning_that_prompts_share_is_read_once_in_every_family(
    family, attention, monkeypatch
):
    monkeypatch.setattr(closed_set, "_FEWEST_SHARED", 3)
    beginning = [60, 61, 62, 63]
    prompts = [beginning + prompt for prompt in PROMPTS]
    model = tiny(family, attention)
    read, body = [], model.get_decoder()
    hook = body.register_forward_pre_hook(
        lambda _, __, given: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    scores = closed_set_scores(model, prompts, CHOICES)
    hook.remove()
    assert read[0] == (1, 4)
    assert len(read) == 2
    for own, prompt, choices in zip(scores, prompts, CHOICES, strict=True):
        expected = [reference(model, prompt, choice) for choice in choices]
        np.testing.assert_allclose(own, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("prompts", "shared"),
    [
        ([[1, 2, 3, 4], [1, 2, 3, 5, 6]], 3),
        ([[1, 2, 3], [1, 2, 3]], 2),  # a token of each is left to predict from
        ([[1, 2, 3], [1, 2, 3, 4]], 2),
        ([[1, 9, 3], [1, 2, 3, 4], [1, 3, 3]], 0),  # one token is too few
        ([[1, 2, 3, 4]], 0),  # alone
        ([[1, 2, 3, 4]] * 6, 0),  # 18 tokens of cache are too many
    ],
)
def test_what_prompts_share(prompts, shared, monkeypatch):
    monkeypatch.setattr(closed_set, "_FEWEST_SHARED", 2)
    monkeypatch.setattr(closed_set, "_MOST_HELD", 17)
    assert closed_set._shared_tokens(prompts) == shared


OVER_THE_CACHE = [
    ("bloom", "eager", {}),
    ("gemma2", "eager", {"final_logit_softcapping": 2.0, "sliding_window": 8}),
    ("gemma3_text", "sdpa", {"sliding_window": 4, "sliding_window_pattern": 2}),
    ("granite", "sdpa", {"logits_scaling": 4.0}),
    ("mistral", "sdpa", {"sliding_window": 4}),
    ("mixtral", "sdpa", {"num_local_experts": 4}),
    ("opt", "eager", {"ffn_dim": 64, "word_embed_proj_dim": 32}),
    ("qwen3", "sdpa", {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}),
]


@pytest.mark.parametrize(("family", "attention", "options"), OVER_THE_CACHE)
def test_models_that_cannot_be_packed_are_scored_over_the_cache(
    family, attention, options, monkeypatch
):
    model = tiny(family, attention, **options)
    assert not scores_trees(model)
    monkeypatch.setattr(closed_set, "_score_one_by_one", None)  # never called
    assert_equal_to_reference(model, batch_size=2)


def test_a_family_that_packs_scores_the_same_over_the_cache(monkeypatch):
    model = tiny("llama", "sdpa")
    packed = closed_set_scores(model, PROMPTS, CHOICES)
    monkeypatch.setattr(closed_set, "scores_trees", lambda _: False)
    cached = closed_set_scores(model, PROMPTS, CHOICES, batch_size=2)
    np.testing.assert_allclose(np.concatenate(cached), np.concatenate(packed), atol=1e-5, rtol=0)


def test_recurrent_models_are_scored_one_sequence_a_choice():
    model = tiny("mamba", "eager", state_size=4, expand=2)
    assert not scores_trees(model)
    assert not has_cache(model)
    assert_equal_to_reference(model, batch_size=2)


def test_a_prompt_is_read_once_and_a_branch_once_over_its_cache(monkeypatch):
    """Six choices of 17 tokens: of each prompt, its 9 tokens and three branches."""
    model = tiny("mistral", "sdpa", sliding_window=4)
    shapes, forward = [], model.forward
    signature = inspect.signature(forward)

    def counted(*args, **kwargs):
        shapes.append(tuple(kwargs["input_ids"].shape))
        return forward(*args, **kwargs)

    counted.__signature__ = signature
    monkeypatch.setattr(model, "forward", counted)
    closed_set_scores(model, [[8] * 9, [9] * 9], [SHARED, SHARED])
    assert shapes == [(2, 9), (6, 3)]


def test_batches_over_the_cache_have_one_length_and_a_bound(monkeypatch):
    tree = token_tree(SHARED)
    assert [branch.tolist() for branch in tree.branches] == [[0, 1], [3, 4, 5], [0, 2, 6]]
    monkeypatch.setattr(cached_scores, "_LARGEST_CACHE", 6 * 5)
    lengths = [5, 7, 5, 5, 7, 2]
    batches = cached_scores.cache_batches(lengths, [tree] * 6, batch_size=8)
    assert batches == [[1], [4], [0, 2], [3], [5]]
    assert cached_scores.cache_batches([5] * 3, [tree] * 3, batch_size=1) == [[0], [1], [2]]


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_scores_do_not_move_with_batch_size(batch_size):
    model = tiny("qwen3", "sdpa")
    one = closed_set_scores(model, PROMPTS, CHOICES, batch_size=4)
    other = closed_set_scores(model, PROMPTS, CHOICES, batch_size=batch_size)
    np.testing.assert_allclose(np.concatenate(one), np.concatenate(other), atol=1e-5, rtol=0)


def test_tree_reads_common_beginnings_once_and_last_tokens_never():
    tree = token_tree([[5, 6], [5, 7, 8], [9], [5, 6, 10]])
    assert tree.tokens.tolist() == [5, 7, 6]
    assert tree.depths.tolist() == [0, 1, 1]
    assert tree.sees.tolist() == [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
    assert tree.slots.tolist() == [0, 1, 0, 1, 2, 0, 0, 1, 3]
    assert tree.targets.tolist() == [5, 6, 5, 7, 8, 9, 5, 6, 10]
    assert tree.owners.tolist() == [0, 0, 1, 1, 1, 2, 3, 3, 3]


def test_one_token_choices_give_a_distribution_over_the_vocabulary():
    model = tiny("qwen3", "sdpa")
    [scores] = closed_set_scores(model, [[4, 5]], [[[token] for token in range(100)]])
    assert np.exp(scores).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("prompt", "choices", "message"),
    [
        ([], [[5]], "prompt 0 has no token"),
        ([5], [], "prompt 0 has no choices"),
        ([5], [[6], []], "choice 1 of a closed set has no token"),
        ([5] * 63, [[6], [6, 7, 8]], "takes 65 tokens; the model's context has 64"),
    ],
)
def test_what_cannot_be_scored_is_named(prompt, choices, message):
    with pytest.raises(InputError, match=message):
        closed_set_scores(tiny("qwen3", "sdpa"), [prompt], [choices])


def test_long_prompts_are_scored_in_parts_with_the_same_scores(monkeypatch: pytest.MonkeyPatch):
    model = tiny("qwen3", "sdpa")
    whole = closed_set_scores(model, PROMPTS, CHOICES)
    sizes: list[int] = []
    score = closed_set._score_packed

    def noted(model, prompts, trees):
        sizes.append(len(prompts))
        return score(model, prompts, trees)

    monkeypatch.setattr(closed_set, "_score_packed", noted)
    monkeypatch.setattr(closed_set, "masked_batches", lambda n, size: masked_batches(n, size, 500))
    parts = closed_set_scores(model, PROMPTS, CHOICES)
    assert len(sizes) > 1
    assert sum(sizes) == len(PROMPTS)
    for own, expected in zip(parts, whole, strict=True):
        np.testing.assert_allclose(own, expected, atol=1e-4, rtol=0)


def test_batches_are_cut_where_their_mask_would_be_too_large():
    lengths = [3000] * 64 + [100] * 64
    batches = masked_batches(lengths, 64)
    assert sorted(row for rows in batches for row in rows) == list(range(128))
    assert all(len(rows) * max(lengths[row] for row in rows) ** 2 <= 2**26 for rows in batches)
    assert max(map(len, batches)) == 64
    assert masked_batches([10_000, 10_000], 2) == [[0], [1]]
