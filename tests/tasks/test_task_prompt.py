from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillscale.tasks import task_from_labels
from distillscale.tasks.prompt import (
    CHAT,
    PLAIN,
    Thinking,
    answer_format,
    completion_text,
    encode_labels,
    encode_marker,
    encode_prompt,
    gold_trace,
    instruction,
    parse_completion,
    plain_prompt,
    read_trace,
)

DEPTHS = get_args(Thinking)
REASONING = st.text(max_size=30).filter(lambda text: "<" not in text and "Answer:" not in text)


@pytest.fixture(params=["plain_tokenizer", "chat_tokenizer"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


def written(tokenizer, reasoning, label, thinking):
    """The tokens of a completion as a model would end it."""
    text = completion_text(reasoning, label, thinking, answer_format(tokenizer))
    return [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]


def test_the_format_follows_the_chat_template(plain_tokenizer, chat_tokenizer):
    assert answer_format(plain_tokenizer) is PLAIN
    assert answer_format(chat_tokenizer) is CHAT


def test_plain_prompts_end_with_the_cue_of_their_depth(small_task, plain_tokenizer):
    ends = {"none": "\nAnswer:", "brief": "\nThink briefly:", "full": "\nThink:"}
    for thinking, end in ends.items():
        ids = encode_prompt(small_task, "it {is} 5%", thinking, plain_tokenizer)
        assert plain_tokenizer.decode(ids) == f"Headline: it {{is}} 5%{end}"
        assert plain_prompt(small_task, "it {is} 5%", thinking) == f"Headline: it {{is}} 5%{end}"


@pytest.mark.parametrize("thinking", DEPTHS)
def test_chat_prompts_hold_instruction_and_text_and_open_the_answer(
    small_task, chat_tokenizer, thinking
):
    text = chat_tokenizer.decode(
        encode_prompt(small_task, "Novarix wins", thinking, chat_tokenizer)
    )
    assert text.startswith("<|im_start|>system\n" + instruction(small_task))
    assert "<|im_start|>user\nHeadline: Novarix wins<|im_end|>" in text
    closed = text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert closed == (thinking == "none")
    assert closed or text.endswith("<|im_start|>assistant\n")


def test_chat_depths_have_prompts_of_their_own(small_task, chat_tokenizer):
    prompts = {tuple(encode_prompt(small_task, "x", depth, chat_tokenizer)) for depth in DEPTHS}
    assert len(prompts) == 3


def test_the_instruction_defines_every_class_unless_the_task_has_its_own(small_task):
    for definition in small_task.classes:
        assert f"- {definition.name}: {definition.definition}" in instruction(small_task)
    own = type(small_task)("own", "{text}", small_task.classes, instruction="Be brief.")
    assert instruction(own) == "Be brief."


@pytest.mark.parametrize("thinking", DEPTHS)
def test_a_written_completion_is_read_back_with_its_segments(small_task, tokenizer, thinking):
    for label in small_task.labels:
        ids = written(tokenizer, "Novarix is a pharma firm .", label, thinking)
        trace = read_trace("e", "drug_approval", [5, 6], ids, small_task, thinking, tokenizer)
        separator = answer_format(tokenizer).separator
        answer = tokenizer.decode(ids[trace.answer_start :], skip_special_tokens=True)
        reasoning = tokenizer.decode(ids[: trace.answer_start], skip_special_tokens=True)
        assert trace.label == label
        assert trace.agrees == (label == "drug_approval")
        assert answer == separator + label
        assert trace.completion == reasoning + answer
        assert trace.prompt_ids == (5, 6)
        assert trace.completion_ids == tuple(ids)
        assert (thinking == "none") == (trace.answer_start == 0)
        assert thinking == "none" or reasoning.endswith(answer_format(tokenizer).marker)


@given(reasoning=REASONING)
@pytest.mark.parametrize("name", ["plain_tokenizer", "chat_tokenizer"])
def test_any_reasoning_is_kept_apart_from_the_answer(request, small_task, name, reasoning):
    tokenizer = request.getfixturevalue(name)
    ids = written(tokenizer, reasoning, "permit_granted", "full")
    trace = read_trace("e", "permit_granted", [1], ids, small_task, "full", tokenizer)
    answer = tokenizer.decode(ids[trace.answer_start :], skip_special_tokens=True)
    assert trace.agrees
    assert answer == answer_format(tokenizer).separator + "permit_granted"


def test_a_token_across_the_boundary_belongs_to_the_answer(small_task, wordless_tokenizer):
    ids = written(wordless_tokenizer, "a pharma firm", "drug_approval", "full")
    text = wordless_tokenizer.decode(ids, skip_special_tokens=True)
    marked = text.index("\nAnswer:") + len("\nAnswer:")
    trace = read_trace("e", "drug_approval", [1], ids, small_task, "full", wordless_tokenizer)
    before = wordless_tokenizer.decode(ids[: trace.answer_start])
    through = wordless_tokenizer.decode(ids[: trace.answer_start + 1])
    assert len(before) < marked < len(through), "the tokenizer makes no token across the boundary"
    assert trace.agrees


@pytest.mark.parametrize("thinking", DEPTHS)
@pytest.mark.parametrize("text", ["nothing of use", "", "drug_approvals", "drug_"])
def test_what_names_no_class_is_unparsed(small_task, tokenizer, thinking, text):
    ids = tokenizer.encode(text, add_special_tokens=False)
    trace = read_trace("e", "drug_approval", [1], ids, small_task, thinking, tokenizer)
    assert trace.label is None
    assert not trace.parsed
    assert not trace.agrees
    assert trace.answer_start == len(ids)


def test_reasoning_that_names_a_class_is_no_answer_without_a_marker(small_task):
    assert parse_completion(" drug_approval", small_task, "full", PLAIN) == (None, 14)


def test_a_marker_followed_by_no_class_still_ends_the_reasoning(small_task):
    assert parse_completion(" so .\nAnswer: perhaps", small_task, "full", PLAIN) == (None, 13)


@pytest.mark.parametrize(
    "answer", ["drug_approval", " Drug_Approval.", "**drug_approval**", "`drug_approval`\nmore"]
)
def test_case_and_outer_marks_do_not_matter(small_task, answer):
    assert parse_completion(answer, small_task, "none", PLAIN) == ("drug_approval", 0)


@pytest.mark.parametrize("label", ["U.S.", "*", "**", "Buy", "buy", "M&A | Deals", "it's"])
def test_every_label_of_a_users_file_is_read_as_itself(plain_tokenizer, label):
    task = task_from_labels("mine", ["U.S.", "*", "**", "Buy", "buy", "M&A | Deals", "it's"])
    for thinking in DEPTHS:
        ids = written(plain_tokenizer, "so", label, thinking)
        assert read_trace("e", label, [1], ids, task, thinking, plain_tokenizer).agrees


def test_an_answer_that_could_mean_two_classes_is_unparsed():
    task = task_from_labels("mine", ["Buy", "buy"])
    assert parse_completion(" BUY", task, "none", PLAIN) == (None, 0)


def test_label_tokens_end_with_the_end_token_and_none_begins_another(small_task, tokenizer):
    coded = encode_labels(small_task, tokenizer)
    for label, ids in zip(small_task.labels, coded, strict=True):
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(ids[:-1]) == answer_format(tokenizer).separator + label
    for one in coded:
        assert not any(one == other[: len(one)] for other in coded if other is not one)


def test_the_marker_is_what_a_completion_is_split_at(tokenizer):
    assert tokenizer.decode(encode_marker(tokenizer)) == answer_format(tokenizer).marker


def test_the_gold_trace_is_what_a_perfect_teacher_writes(small_task, tokenizer):
    trace = gold_trace("e7", "Novarix wins", "permit_granted", small_task, tokenizer)
    ids = written(tokenizer, "", "permit_granted", "none")
    prompt = encode_prompt(small_task, "Novarix wins", "none", tokenizer)
    read = read_trace("e7", "permit_granted", prompt, ids, small_task, "none", tokenizer)
    assert trace == read
    assert trace.agrees
    assert trace.answer_start == 0
