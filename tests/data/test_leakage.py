from collections import Counter, defaultdict

import numpy as np
import pytest

from distillscale.data.embedding import load_embedder
from distillscale.data.leakage import encode_all, find_leaks, grouped_split
from distillscale.data.near_duplicates import pairs_between
from distillscale.data.similarity import nearest_cosines
from distillscale.errors import InputError
from distillscale.tasks import Example

EMBEDDER = load_embedder("hashed")
WORDS = [f"{a}{b}" for a in ("bal", "cor", "dun", "fes", "gim") for b in ("ter", "pol", "zan")]


def headline(rng):
    return " ".join(rng.choice(WORDS, 14)) + f" {rng.integers(10**6)}"


def corpus(count=300, families=40, seed=0):
    """Texts of two classes, some of them with up to three variants that differ in one word."""
    rng = np.random.default_rng(seed)
    texts = [headline(rng) for _ in range(count)]
    for text in texts[:families]:
        texts += [f"{text} {word}" for word in rng.choice(["also", "again", "now"], 2, False)]
    order = rng.permutation(len(texts))
    return [
        Example(f"row-{n}", texts[place], "ab"[int(place % 3 == 0)], "c", "train", "file")
        for n, place in enumerate(order)
    ]


def split(examples, **changes):
    options = {"validation": 40, "test": 60, "seed": 0, "threshold": 0.9} | changes
    return grouped_split(examples, EMBEDDER, **options)


def test_leaks_are_the_same_texts_and_the_near_ones():
    train = ["Shares of Acme Corporation fall sharply after the weak annual results", "Rates up"]
    test = [
        "Oil is dearer",
        "SHARES of Acme Corporation: fall sharply after the weak annual results! https://t.co/x",
        "Shares of Acme Corporation fall sharply after weak annual results",
    ]
    same, near = find_leaks(test, train, EMBEDDER, 0.8)
    assert (same.left, same.right, same.similarity, same.exact) == (1, 0, 1.0, True)
    assert (near.left, near.right, near.exact) == (2, 0, False)
    vectors = EMBEDDER.encode([test[2], train[0]])
    assert near.similarity == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-5)
    assert [leak.left for leak in find_leaks(test, train, EMBEDDER, 0.999)] == [1]
    assert find_leaks(test, [], EMBEDDER) == []
    assert find_leaks([], train, EMBEDDER) == []


def test_no_near_duplicate_straddles_a_split():
    done = split(corpus())
    parts = defaultdict(list)
    for example in done.examples:
        parts[example.split].append(example.text)
    assert {name: len(texts) for name, texts in parts.items()} == {
        "test": 60, "validation": 40, "train": 280,
    }  # fmt: skip
    vectors = {name: encode_all(texts, EMBEDDER) for name, texts in parts.items()}
    for one, other in (("test", "train"), ("test", "validation"), ("validation", "train")):
        assert len(pairs_between(vectors[one], vectors[other], 0.9).left) == 0
    assert done.groups == 40
    assert (done.grouped, done.largest) == (120, 3)


def test_a_grouped_split_is_decided_by_its_seed_and_loses_nothing():
    examples = corpus()
    done = split(examples)
    assert split(examples) == done
    assert split(examples, seed=1).examples != done.examples
    assert sorted(e.text for e in done.examples) == sorted(e.text for e in examples)


def test_a_smaller_training_set_is_a_prefix_and_has_the_classes_in_proportion():
    train = [e for e in split(corpus(1200)).examples if e.split == "train"]
    assert [e.id for e in train[:3]] == ["train-000000", "train-000001", "train-000002"]
    whole = Counter(e.label for e in train)["a"] / len(train)
    assert Counter(e.label for e in train[:300])["a"] / 300 == pytest.approx(whole, abs=0.08)


def test_groups_too_large_to_hold_out_are_told():
    text = headline(np.random.default_rng(0))
    examples = [
        Example(f"row-{n}", f"{text} {n}", "ab"[n % 2], "c", "train", "f") for n in range(90)
    ] + [Example(f"more-{n}", WORDS[n] * 5, "ab"[n % 2], "c", "train", "f") for n in range(12)]
    with pytest.raises(InputError, match=r"only \d+ of 30 test examples can be held out without"):
        split(examples, test=30, validation=0)


def test_nearest_cosines_are_those_of_plain_loops():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = np.array([0, 7, 39])
    found = nearest_cosines(vectors, rows)
    for row, cosine in zip(rows, found, strict=True):
        assert cosine == pytest.approx(
            max(float(vectors[row] @ vectors[k]) for k in range(40) if k != row), abs=1e-6
        )
    assert nearest_cosines(vectors[:1], np.array([0])).tolist() == [-1]
