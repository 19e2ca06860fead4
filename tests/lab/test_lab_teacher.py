import random
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from distillscale.lab.examples import lab_examples
from distillscale.lab.grammar import load_grammar, write
from distillscale.lab.questions import fact_questions
from distillscale.lab.teacher import (
    TeacherSize,
    _new_model,
    _pack,
    _sequences,
    _step_loss,
    train_teacher,
    train_tokenizer,
)
from distillscale.lab.world import make_world
from distillscale.models.checkpoint import load_model, load_tokenizer, save_checkpoint
from distillscale.models.generate import generate
from distillscale.tasks import load_task
from distillscale.tasks.prompt import (
    PLAIN,
    completion_text,
    encode_prompt,
    plain_prompt,
    read_trace,
)

SMALL = TeacherSize(
    hidden=64,
    layers=2,
    intermediate=192,
    vocabulary=1024,
    steps=500,
    tokens_a_step=1536,
    companies=10,
)


@pytest.fixture(scope="module")
def small_world():
    return make_world(0, SMALL.companies)


@pytest.fixture(scope="module")
def tokenizer(small_world):
    return train_tokenizer(small_world, random.Random(0), SMALL.vocabulary)


def test_the_tokenizer_encodes_any_text(tokenizer):
    assert len(tokenizer) == SMALL.vocabulary
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1)
    for text in ("Headline: ...", "Żółw „wins“ 5 %\n🐢", " a , b .", ""):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("thinking", ["none", "brief", "full"])
@pytest.mark.parametrize("task_name", ["fin-headlines", "support-tickets"])
def test_prompt_and_completion_are_tokenized_alike_together_and_apart(
    tokenizer, small_world, task_name, thinking
):
    # So what is trained on, generated and scored as a continuation are the same tokens.
    rng = random.Random(1)
    for _ in range(50):
        writing = write(load_grammar(task_name), small_world, rng)
        prompt = plain_prompt(load_task(task_name), writing.text, thinking)
        completion = completion_text(writing.full, writing.label, thinking, PLAIN)
        apart = tokenizer.encode(prompt) + tokenizer.encode(completion)
        assert tokenizer.encode(prompt + completion) == apart


@pytest.fixture(scope="module")
def sequences(tokenizer, small_world):
    """Tokens of prompt and completion with the prompt's length: enough to fill two rows."""
    stream = _sequences(small_world, tokenizer, random.Random(2))
    return [next(stream) for _ in range(60)]


def test_packed_sequences_do_not_see_one_another(tokenizer, sequences):
    torch.manual_seed(0)
    model = _new_model(SMALL, tokenizer).eval()
    (first, prompt_length), *others = sequences

    def loss_of_the_others(first_ids):
        packed = _pack(iter([(first_ids, prompt_length), *others]), tokens=256)
        packed.targets[:, : len(first)] = -100
        with torch.no_grad():
            return _step_loss(model, packed).item()

    assert loss_of_the_others(first) == loss_of_the_others([7] * len(first))


def test_the_loss_of_packed_sequences_is_their_mean_cross_entropy(tokenizer, sequences):
    """Sequence by sequence, on completions only, cut where a row of 256 tokens is full."""
    torch.manual_seed(0)
    model = _new_model(SMALL, tokenizer).eval()
    losses: list[torch.Tensor] = []
    filled = 0
    with torch.no_grad():
        for ids, prompt_length in sequences:
            kept = ids[: 256 - filled]
            filled = (filled + len(kept)) % 256
            if len(kept) > prompt_length:
                logits = model(torch.tensor([kept])).logits[0, prompt_length - 1 : -1]
                wanted = torch.tensor(kept[prompt_length:])
                losses.append(cross_entropy(logits, wanted, reduction="none"))
            if filled == 0:
                break
        packed = _step_loss(model, _pack(iter(sequences), tokens=256))
    assert packed.item() == pytest.approx(torch.cat(losses).mean().item(), rel=0.01)


@pytest.mark.slow
def test_the_same_seed_trains_the_same_teacher():
    def weights(seed):
        model, tokenizer, report = train_teacher(seed, replace(SMALL, steps=3))
        assert len(report.losses) == 3
        return model.state_dict(), tokenizer.get_vocab(), report

    first, again, other = weights(0), weights(0), weights(1)
    assert first[1:] == again[1:]
    assert all(torch.equal(tensor, again[0][name]) for name, tensor in first[0].items())
    assert not torch.equal(first[0]["model.norm.weight"], other[0]["model.norm.weight"])


@pytest.mark.slow
def test_a_small_teacher_learns_its_world_and_both_tasks(small_world, tmp_path):
    told = []
    model, tokenizer, report = train_teacher(0, SMALL, told.append)
    assert told[-1] == 1.0
    assert len(told) == SMALL.steps
    assert len(report.losses) == 100
    assert report.losses[0] > 5, "a model that knows nothing is near ln(vocabulary)"
    assert report.losses[-1] < 0.3

    # It is an ordinary checkpoint: what is asked is asked of the saved folder.
    save_checkpoint(model, tokenizer, tmp_path)
    model, tokenizer = load_model(tmp_path, device=torch.device("cpu")), load_tokenizer(tmp_path)
    facts = [fact for company in small_world.companies for fact in fact_questions(company)]
    prompts = [tokenizer.encode(prompt) for prompt, _ in facts]
    answers = generate(model, tokenizer, prompts, max_new_tokens=12)
    said = [tokenizer.decode(ids, skip_special_tokens=True) for ids in answers]
    right = [text == f" {answer}" for text, (_, answer) in zip(said, facts, strict=True)]
    assert sum(right) / len(right) > 0.8

    for task_name, thinking in (("fin-headlines", "full"), ("support-tickets", "none")):
        task = load_task(task_name)
        examples = lab_examples(task_name, small_world, train=0, validation=0, test=100, seed=9)
        prompts = [encode_prompt(task, example.text, thinking, tokenizer) for example in examples]
        completions = generate(model, tokenizer, prompts, max_new_tokens=64)
        traces = [
            read_trace(example.id, example.label, prompt, completion, task, thinking, tokenizer)
            for example, prompt, completion in zip(examples, prompts, completions, strict=True)
        ]
        most_frequent = max(Counter(trace.gold for trace in traces).values())
        assert sum(trace.parsed for trace in traces) > 80
        assert sum(trace.agrees for trace in traces) > 1.5 * most_frequent
