from collections import Counter

import pytest

from distillscale.errors import InputError
from distillscale.lab.examples import lab_examples
from distillscale.lab.grammar import class_weights, load_grammar
from distillscale.lab.world import make_world
from distillscale.tasks import load_task

SIZES = {"train": 3000, "validation": 200, "test": 1000}


@pytest.fixture(scope="module", params=["fin-headlines", "support-tickets"])
def task_name(request):
    return request.param


@pytest.fixture(scope="module")
def examples(task_name):
    return lab_examples(task_name, make_world(0), **SIZES, seed=0)


def of_split(examples, split):
    return [example for example in examples if example.split == split]


def test_examples_are_made_from_their_seed_alone(task_name):
    def texts(world_seed, seed):
        sizes = {"train": 20, "validation": 5, "test": 5}
        made = lab_examples(task_name, make_world(world_seed), **sizes, seed=seed)
        return [example.text for example in made]

    assert texts(0, 0) == texts(0, 0)
    assert not set(texts(0, 0)) & set(texts(0, 1))
    assert not set(texts(0, 0)) & set(texts(1, 0))


def test_every_split_has_its_size_and_every_text_is_unique(examples):
    assert {split: len(of_split(examples, split)) for split in SIZES} == SIZES
    assert len({example.text for example in examples}) == len(examples)
    assert len({example.id for example in examples}) == len(examples)
    assert {example.source for example in examples} == {"lab"}


def test_a_smaller_training_set_is_a_prefix_and_the_test_set_stays(task_name, examples):
    smaller = lab_examples(task_name, make_world(0), **(SIZES | {"train": 100}), seed=0)
    assert of_split(smaller, "test") == of_split(examples, "test")
    assert of_split(smaller, "validation") == of_split(examples, "validation")
    assert of_split(smaller, "train") == of_split(examples, "train")[:100]


def test_the_test_set_does_not_depend_on_the_validation_set_either(task_name, examples):
    other = lab_examples(task_name, make_world(0), **(SIZES | {"validation": 3}), seed=0)
    assert of_split(other, "test") == of_split(examples, "test")


@pytest.mark.parametrize("split", ["train", "test"])
def test_all_classes_occur_in_their_categories(task_name, examples, split):
    task = load_task(task_name)
    chosen = of_split(examples, split)
    assert {example.label for example in chosen} == set(task.labels)
    assert all(example.category == task.category_of(example.label) for example in chosen)


def test_the_class_distribution_has_a_long_tail(task_name, examples):
    events = load_grammar(task_name).events
    counts = Counter(example.label for example in of_split(examples, "train"))
    shares = [counts[event.label] / SIZES["train"] for event in events]
    weights = class_weights(len(events))
    expected = [weight / sum(weights) for weight in weights]
    assert shares == pytest.approx(expected, abs=0.03)
    assert shares[0] > 4 * shares[-1]


def test_only_builtin_tasks_can_be_written():
    with pytest.raises(InputError, match="task mine: the lab can only write examples of"):
        lab_examples("mine", make_world(0), **SIZES, seed=0)


def test_another_world_of_the_same_seed_has_its_own_companies():
    small = make_world(0, 10)
    made = lab_examples("fin-headlines", small, train=50, validation=5, test=5, seed=0)
    names = {company.name for company in small.newsmakers}
    outsiders = {company.name for company in make_world(0).companies} - names
    words = {word for example in made for word in example.text.split()}
    assert words & names
    assert not words & outsiders
