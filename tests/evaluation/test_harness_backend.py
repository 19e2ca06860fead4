"""Our wrappers of the harness's wrappers: its tokens for every text, but no control tokens."""

import pytest
import torch
from lm_eval.models.huggingface import HFLM
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from distillscale.evaluation.harness_backend import hf_backend
from distillscale.evaluation.knowledge import encode_question
from distillscale.tasks.question import Question

TEXTS = ["Novarix wins", " a  b\n", "Question: who leads Teklon Energy?\nAnswer:", "Größe 7", "x"]
HELD = ["<end>", "Novarix <end> wins<pad>", "<pad><end>\nAnswer:"]


@pytest.fixture(params=["without a first token", "with a first token"])
def own_tokenizer(request, tokenizer) -> PreTrainedTokenizerFast:
    if request.param == "without a first token":
        return tokenizer
    backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    backend.post_processor = processors.TemplateProcessing(
        "<end> $A", special_tokens=[("<end>", tokenizer.eos_token_id)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<end>", eos_token="<end>", pad_token="<pad>"
    )


def test_texts_have_the_tokens_that_the_harness_gives_them(model, own_tokenizer):
    ours = hf_backend(model, own_tokenizer, batch_size=2)
    theirs = HFLM(pretrained=model, tokenizer=own_tokenizer, batch_size=2)
    for text in TEXTS:
        for special in (None, True, False):
            for longest in (None, 3):
                options = {"add_special_tokens": special, "left_truncate_len": longest}
                assert ours.tok_encode(text, **options) == theirs.tok_encode(text, **options)
        assert ours._encode_pair(text, " in Norway") == theirs._encode_pair(text, " in Norway")
    for longest in (None, 3):
        options = {"left_truncate_len": longest}
        for own, wanted in zip(
            ours.tok_batch_encode(TEXTS, **options),
            theirs.tok_batch_encode(TEXTS, **options),
            strict=True,
        ):
            assert torch.equal(own, wanted)


def test_no_text_holds_a_control_token(model, own_tokenizer):
    backend = hf_backend(model, own_tokenizer, batch_size=2)
    first = own_tokenizer.encode("")
    for text in HELD:
        ids = backend.tok_encode(text)
        assert ids[: len(first)] == first
        assert not set(ids[len(first) :]) & set(own_tokenizer.all_special_ids)
        assert own_tokenizer.decode(ids[len(first) :]) == text
    batch, mask = backend.tok_batch_encode(HELD)
    for row, real, text in zip(batch, mask, HELD, strict=True):
        assert row[real.bool()].tolist() == backend.tok_encode(text)
        assert (row[~real.bool()] == own_tokenizer.pad_token_id).all()


class Bare:
    """The few things that every tokenizer has, as Mistral's own in vLLM."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.encode, self.decode = tokenizer.encode, tokenizer.decode
        self.bos_token_id, self.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id


def test_a_tokenizer_without_a_list_of_added_tokens_is_the_harness_s_matter(model, own_tokenizer):
    ours = hf_backend(model, own_tokenizer, batch_size=2)
    theirs = HFLM(pretrained=model, tokenizer=own_tokenizer, batch_size=2)
    ours.tokenizer = theirs.tokenizer = Bare(own_tokenizer)
    for text in TEXTS + HELD:
        for options in ({}, {"left_truncate_len": 3}, {"add_special_tokens": False}):
            assert ours.tok_encode(text, **options) == theirs.tok_encode(text, **options)
    assert ours.tok_encode(TEXTS) == [theirs.tok_encode(text) for text in TEXTS]


def test_a_question_that_holds_one_is_split_as_the_harness_splits_it(model, own_tokenizer):
    question = Question(
        "q", "lab_facts", "Who <end> leads? ", ("<end>", "<pad> x", "Mara"), 0, None
    )
    backend = hf_backend(model, own_tokenizer, batch_size=2)
    prompt, choices = encode_question(own_tokenizer, question)
    first = own_tokenizer.encode("")
    for ids, choice in zip(choices, question.choices, strict=True):
        assert backend._encode_pair(question.prompt, choice) == (prompt, ids)
        assert own_tokenizer.decode(prompt[len(first) :] + ids) == question.prompt + choice
        assert not set(prompt[len(first) :] + ids) & set(own_tokenizer.all_special_ids)
