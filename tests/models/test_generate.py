from copy import deepcopy

import pytest
import torch
from transformers import GenerationConfig

from distillscale.models.generate import generate

BUDGET = 8
NO_TOKEN = -1


@pytest.fixture
def model(tiny_model):
    return tiny_model(tied=False)


def one_by_one(model, prompts, eos):
    """Hugging Face's own greedy generation, without batches and padding."""
    completions = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        with torch.no_grad():
            output = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=BUDGET,
                do_sample=False,
                eos_token_id=eos,
                pad_token_id=0,
            )
        completions.append(tuple(output[0, len(prompt) :].tolist()))
    return completions


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_greedy_generation_is_that_of_each_prompt_alone(model, tokenizer, prompts, batch_size):
    made = generate(model, tokenizer, prompts, max_new_tokens=BUDGET, batch_size=batch_size)
    assert made == one_by_one(model, prompts, tokenizer.eos_token_id)


@pytest.mark.parametrize("pad_is_end", [False, True])
def test_completions_stop_at_the_end_token_or_the_budget(model, tokenizer, prompts, pad_is_end):
    endless = one_by_one(model, prompts, eos=NO_TOKEN)
    end = next(
        token
        for token in range(2, len(tokenizer))
        if 0 < sum(token in tokens[:-1] for tokens in endless) < len(endless)
    )
    other = deepcopy(tokenizer)
    other.eos_token = tokenizer.decode([end])
    other.pad_token = other.eos_token if pad_is_end else tokenizer.pad_token
    assert (other.eos_token_id == other.pad_token_id) == pad_is_end
    made = generate(model, other, prompts, max_new_tokens=BUDGET, batch_size=5)
    for tokens, whole in zip(made, endless, strict=True):
        assert tokens == (whole[: whole.index(end) + 1] if end in whole else whole)


def test_sampling_is_reproducible_and_follows_its_seed(model, tokenizer, prompts):
    def sample(seed, temperature=1.0):
        return generate(
            model,
            tokenizer,
            prompts,
            max_new_tokens=BUDGET,
            temperature=temperature,
            seed=seed,
            batch_size=5,
        )

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)
    assert sample(1) != generate(model, tokenizer, prompts, max_new_tokens=BUDGET)
    assert sample(1, temperature=1e-4) == generate(model, tokenizer, prompts, max_new_tokens=BUDGET)


def test_sampling_leaves_the_global_random_state_alone(model, tokenizer, prompts):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    generate(model, tokenizer, prompts, max_new_tokens=2, temperature=1.0, seed=5)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_checkpoints_own_decoding_settings_are_not_used(model, tokenizer, prompts, temperature):
    def made():
        options = {"max_new_tokens": BUDGET, "temperature": temperature}
        return generate(model, tokenizer, prompts, **options)

    plain = made()
    own = GenerationConfig(
        repetition_penalty=5.0, top_p=0.1, min_p=0.9, no_repeat_ngram_size=1, suppress_tokens=[7]
    )
    model.generation_config = own
    assert made() == plain
    assert model.generation_config is own


def test_progress_ends_at_one_and_only_grows(model, tokenizer, prompts):
    told = []
    generate(model, tokenizer, prompts, max_new_tokens=2, batch_size=7, progress=told.append)
    assert told == [pytest.approx(n / 12) for n in (7, 12)]


def test_no_prompts(model, tokenizer):
    assert generate(model, tokenizer, [], max_new_tokens=2) == []
