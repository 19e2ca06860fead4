import pytest

from distillscale.tasks import Trace
from distillscale.tasks.prompt import encode_prompt
from distillscale.teachers.annotate import AnnotationReport, annotate, annotation_report, usable


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
    assert usable([], "all") == []


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
