from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from distillscale.data.split import (
    deal,
    first_of_each_text,
    labelled_examples,
    normalised,
    stratified_split,
)
from distillscale.errors import InputError
from distillscale.tasks import ClassDefinition, Task

TASK = Task(
    "mine",
    "{text}",
    tuple(ClassDefinition(name, category, name) for name, category in (("a", "x"), ("b", "y"))),
)


def examples_of(counts, split="train"):
    pairs = [(f"text {label} {n}", label) for label, count in counts.items() for n in range(count)]
    return labelled_examples(pairs, TASK, source="file.csv", split=split)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("Firm CUTS jobs!", "firm cuts jobs"),
        ("  $AAPL -- up 5.2%  ", "aapl up 5 2"),
        ("Read this https://t.co/AbC?x=1 now", "read this now"),
        ("http://a.b", ""),
        ("Über-Gewinn", "über gewinn"),
    ],
)
def test_the_normal_form_is_lower_case_words_without_links(text, form):
    assert normalised(text) == form


@given(st.text())
def test_the_normal_form_of_a_normal_form_is_itself(text):
    assert normalised(normalised(text)) == normalised(text)


def test_of_texts_that_are_the_same_the_first_is_kept():
    pairs = [("Jobs cut", "a"), ("Rates up", "b"), ("JOBS: cut! https://t.co/x", "b")]
    examples = labelled_examples(pairs, TASK, source="file.csv", split="test")
    assert [(e.text, e.label, e.category) for e in examples] == [
        ("Jobs cut", "a", "x"),
        ("Rates up", "b", "y"),
    ]
    assert [e.id for e in examples] == ["test-000000", "test-000001"]
    assert {(e.split, e.source) for e in examples} == {("test", "file.csv")}


def test_an_unknown_label_names_source_and_row_even_in_a_repeated_text():
    with pytest.raises(InputError, match=r"^file.csv: row 2: task mine: unknown label `c`"):
        labelled_examples([("t", "a"), ("T", "c")], TASK, source="file.csv", split="train")


def test_parts_have_their_sizes_and_share_no_text():
    examples = examples_of({"a": 70, "b": 30})
    parts = stratified_split(examples, validation=10, test=20, seed=0)
    counts = Counter(example.split for example in parts)
    assert counts == {"train": 70, "validation": 10, "test": 20}
    forms = [normalised(example.text) for example in parts]
    assert len(set(forms)) == 100
    assert {e.text: e.label for e in parts} == {e.text: e.label for e in examples}
    assert len({example.id for example in parts}) == 100
    assert all(example.id.startswith(example.split) for example in parts)
    assert {(e.label, e.category) for e in parts} == {("a", "x"), ("b", "y")}


def test_each_part_has_the_classes_in_proportion():
    examples = examples_of({"a": 801, "b": 201})
    parts = stratified_split(examples, validation=100, test=200, seed=3)
    for split, size in (("test", 200), ("validation", 100), ("train", 702)):
        labels = Counter(example.label for example in parts if example.split == split)
        assert labels["a"] == pytest.approx(0.8 * size, abs=2)


def test_a_split_is_decided_by_its_seed_alone():
    examples = examples_of({"a": 30, "b": 20})
    split = stratified_split(examples, validation=5, test=10, seed=1)
    assert stratified_split(examples, validation=5, test=10, seed=1) == split
    assert stratified_split(examples, validation=5, test=10, seed=2) != split


def test_the_training_examples_come_shuffled():
    parts = stratified_split(examples_of({"a": 50, "b": 50}), validation=1, test=1, seed=0)
    first_half = [example.label for example in parts if example.split == "train"][:49]
    assert 0.3 < first_half.count("a") / 49 < 0.7


@settings(max_examples=40)
@given(a=st.integers(1, 30), b=st.integers(1, 30), held_out=st.integers(0, 60))
def test_every_class_keeps_a_training_example_or_the_split_is_refused(a, b, held_out):
    examples = examples_of({"a": a, "b": b})
    test = held_out // 2
    if held_out > a + b - 2:
        with pytest.raises(InputError, match=f"{a + b} different texts are too few for {test} te"):
            stratified_split(examples, validation=held_out - test, test=test, seed=0)
        return
    parts = stratified_split(examples, validation=held_out - test, test=test, seed=0)
    assert {example.label for example in parts if example.split == "train"} == {"a", "b"}
    assert len(parts) == a + b


def test_of_a_corpus_the_first_of_each_text_stays():
    examples = examples_of({"a": 3})
    repeats = labelled_examples([("Text, a 1!", "b")], TASK, source="o", split="train")
    assert first_of_each_text([*examples, *repeats]) == examples


def test_groups_of_one_are_dealt_as_no_groups():
    labels = [example.label for example in examples_of({"a": 40, "b": 17})]
    sizes = {"validation": 5, "test": 9, "seed": 4}
    assert deal(labels, **sizes, groups=range(100, 157)) == deal(labels, **sizes)


@settings(max_examples=60)
@given(
    rows=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 25)), min_size=30, max_size=90),
    held_out=st.integers(0, 6),
    seed=st.integers(0, 5),
)
def test_no_group_is_cut_and_every_class_is_trained_on(rows, held_out, seed):
    labels, groups = [label for label, _ in rows], [group for _, group in rows]
    try:
        parts = deal(labels, validation=held_out, test=held_out, seed=seed, groups=groups)
    except InputError:
        assume(False)
    assert sorted(place for places in parts.values() for place in places) == list(range(len(rows)))
    assert sum(len({groups[place] for place in places}) for places in parts.values()) == len(
        set(groups)
    )
    assert {labels[place] for place in parts["train"]} == set(labels)
    assert held_out * 0.9 <= len(parts["test"]) <= held_out
