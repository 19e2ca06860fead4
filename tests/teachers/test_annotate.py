import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from distillscale.tasks import Trace
from distillscale.tasks.prompt import PLAIN, completion_text, encode_prompt, read_trace
from distillscale.teachers.annotate import (
    AnnotationReport,
    annotate,
    annotation_report,
    usable,
    with_gold_answer,
)


@pytest.fixture(scope="module", params=["none", "full"])
def thinking(request):
    return request.param


@pytest.fixture(scope="module")
def traces(by_heart, tokenizer, task, examples, thinking):
    return annotate(
        by_heart, tokenizer, task, examples, thinking=thinking, max_new_tokens=40, batch_size=4
    )


def trace(label, *, gold="a", reasoning=2, answer=3):
    return Trace("e", (1,), (7,) * (reasoning + answer), reasoning, "", label, gold)


def test_there_is_a_trace_for_each_example_in_their_order(
    traces, examples, task, tokenizer, thinking
):
    assert [trace.example_id for trace in traces] == [example.id for example in examples]
    assert [trace.gold for trace in traces] == [example.label for example in examples]
    for written, example in zip(traces, examples, strict=True):
        assert list(written.prompt_ids) == encode_prompt(task, example.text, thinking, tokenizer)


def test_the_traces_say_what_the_teacher_says(traces, examples, task):
    golds = [example.label for example in examples]
    assert [trace.label for trace in traces[:-2]] == golds[:-2]
    assert traces[-2].label is None
    assert traces[-1].label in task.labels
    assert not traces[-1].agrees


def test_the_segments_are_reasoning_and_answer(traces, examples, tokenizer, thinking):
    for written, example in zip(traces, examples, strict=True):
        reasoning, answer = (
            tokenizer.decode(part, skip_special_tokens=True)
            for part in (
                written.completion_ids[: written.answer_start],
                written.completion_ids[written.answer_start :],
            )
        )
        assert reasoning + answer == written.completion
        if written.parsed:
            assert answer == f" {written.label}"
            thought = f" so {example.category} .\nAnswer:"
            assert reasoning == (thought if thinking == "full" else "")
            assert written.completion_ids[-1] == tokenizer.eos_token_id
        else:
            assert answer == ""


def test_traces_do_not_depend_on_the_batch_size(
    traces, by_heart, tokenizer, task, examples, thinking
):
    options = {"thinking": thinking, "max_new_tokens": 40}
    assert annotate(by_heart, tokenizer, task, examples, batch_size=1, **options) == traces


def test_a_teacher_that_writes_nonsense_gives_unparsed_traces(untrained, tokenizer, task, examples):
    written = annotate(untrained, tokenizer, task, examples, thinking="full", max_new_tokens=6)
    assert len(written) == len(examples)
    assert all(trace.label is None and len(trace.completion_ids) > 0 for trace in written)
    assert annotation_report(written).agreement is None


def test_sampled_traces_follow_their_seed(untrained, tokenizer, task, examples):
    def sample(seed):
        options = {"thinking": "brief", "max_new_tokens": 6, "temperature": 1.0, "seed": seed}
        return annotate(untrained, tokenizer, task, examples, **options)

    assert sample(3) == sample(3)
    assert sample(3) != sample(4)


def test_a_budget_that_ends_before_the_answer_leaves_it_unparsed(
    by_heart, tokenizer, task, examples
):
    written = annotate(by_heart, tokenizer, task, examples, thinking="full", max_new_tokens=3)
    assert annotation_report(written).parsed == 0
    assert all(len(trace.completion_ids) == 3 for trace in written)


def test_usable_traces_agree_or_are_parsed():
    traces = [trace("a"), trace("b"), trace(None, answer=0), trace("a")]
    assert usable(traces, "agree") == [0, 3]
    assert usable(traces, "all") == [0, 1, 3]
    assert usable([], "all") == usable([], "gold") == []
    assert usable(traces, "gold") == [0, 1, 3]


def test_a_wrong_answer_is_replaced_and_its_reasoning_kept(
    traces, examples, task, tokenizer, thinking
):
    wrong, gold = traces[-1], examples[-1].label
    right = with_gold_answer(wrong, task, thinking, tokenizer)
    assert right.agrees
    assert right.label == gold != wrong.label
    assert right.answer_start == wrong.answer_start
    assert right.prompt_ids == wrong.prompt_ids
    reasoning = right.completion_ids[: right.answer_start]
    assert reasoning == wrong.completion_ids[: wrong.answer_start]
    answer = right.completion_ids[right.answer_start :]
    assert list(answer) == [*tokenizer.encode(f" {gold}"), tokenizer.eos_token_id]
    thought = completion_text(f"so {examples[-1].category} .", gold, thinking, PLAIN)
    assert right.completion == tokenizer.decode(right.completion_ids[:-1]) == thought


def test_other_traces_stay_as_they_are(traces, task, tokenizer, thinking):
    kept = [with_gold_answer(trace, task, thinking, tokenizer) for trace in traces[:-1]]
    assert kept == traces[:-1]
    assert not kept[-1].parsed


def test_an_answer_may_begin_in_the_middle_of_a_token(task):
    """A tokenizer may join the end of the marker to the answer; the gold answer stands apart."""
    wrong, gold = task.labels[:2]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<end>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    backend.train_from_iterator([f"\nAnswer: {wrong}"] * 4, trainer)
    joining = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>")
    written = joining.encode(f" why not\nAnswer: {wrong}")
    assert joining.decode(written[-1:]) == f"\nAnswer: {wrong}"
    trace = read_trace("e", gold, [1], written, task, "full", joining)
    right = with_gold_answer(trace, task, "full", joining)
    assert right.label == gold
    assert right.completion == f" why not\nAnswer: {gold}"
    answer = joining.decode(right.completion_ids[right.answer_start :], skip_special_tokens=True)
    assert answer == f" {gold}"


def test_the_report_counts_unparsed_apart_from_wrong():
    traces = [
        trace("a", reasoning=4, answer=2),
        trace("b", reasoning=2, answer=4),
        trace("a", reasoning=0, answer=3),
        trace(None, reasoning=50, answer=0),
    ]
    report = annotation_report(traces)
    assert report == AnnotationReport(
        examples=4, parsed=3, agreed=2, reasoning_tokens=2.0, answer_tokens=3.0
    )
    assert report.unparsed == 1
    assert report.agreement == pytest.approx(2 / 3)


def test_what_was_not_parsed_has_no_means():
    for traces in ([], [trace(None, answer=0)]):
        report = annotation_report(traces)
        assert report.unparsed == len(traces)
        assert report.agreement is report.reasoning_tokens is report.answer_tokens is None


def test_the_report_of_real_traces(traces, examples):
    report = annotation_report(traces)
    assert (report.examples, report.parsed, report.agreed) == (10, 9, 8)
    assert report.agreement == pytest.approx(8 / 9)
