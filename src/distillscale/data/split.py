"""Split labelled texts so that the same text, or a near-duplicate, never stands on both sides."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from distillscale.errors import InputError
from distillscale.tasks import Example, Split, Task

_URL = re.compile(r"https?://\S+")
_NON_WORD = re.compile(r"\W+")
_SHORTFALL = 0.1
"""Largest share of a part that may be missing because groups are not cut."""


def normalised(text: str) -> str:
    """Lower case without URLs and with runs of non-word characters made one space.

    Two texts with the same normal form count as the same text.
    """
    return _NON_WORD.sub(" ", _URL.sub("", text.lower())).strip()


def labelled_examples(
    pairs: Iterable[tuple[str, str]], task: Task, *, source: str, split: Split
) -> list[Example]:
    """Examples of labelled texts; of texts that are the same, the first is kept.

    Raises:
        InputError: a label is not one of the task's classes; names the source and the row.
    """
    seen: set[str] = set()
    examples: list[Example] = []
    for row, (text, label) in enumerate(pairs, start=1):
        try:
            category = task.category_of(label)
        except InputError as error:
            raise InputError(f"{source}: row {row}: {error}") from error
        form = normalised(text)
        if form in seen:
            continue
        seen.add(form)
        number = len(examples)
        examples.append(Example(f"{split}-{number:06d}", text, label, category, split, source))
    return examples


def first_of_each_text(examples: Iterable[Example]) -> list[Example]:
    """The examples whose text is not the same as one before it."""
    firsts: dict[str, Example] = {}
    for example in examples:
        firsts.setdefault(normalised(example.text), example)
    return list(firsts.values())


def stratified_split(
    examples: Sequence[Example], *, validation: int, test: int, seed: int
) -> list[Example]:
    """Deal examples into test, validation and train, each class in proportion to its frequency.

    Every class keeps at least one training example. The training examples come shuffled, so that
    a prefix of them is a smaller training set.

    Raises:
        InputError: fewer examples are left for training than there are classes.
    """
    labels = [example.label for example in examples]
    return in_parts(examples, deal(labels, validation=validation, test=test, seed=seed))


def deal(
    labels: Sequence[str],
    *,
    validation: int,
    test: int,
    seed: int,
    groups: Sequence[int] | None = None,
) -> dict[Split, list[int]]:
    """The places of the examples of each part, as `stratified_split` deals them.

    Args:
        labels: of each example its class.
        groups: of each example the number of its group. No group is cut: one that is larger than
            what a part still needs goes to train, so a part may fall short by up to a tenth.
            None: every example is a group of its own.

    Raises:
        InputError: fewer examples are left for training than there are classes, or the groups are
            too large for the parts.
    """
    members: defaultdict[int, list[int]] = defaultdict(list)
    for place, number in enumerate(range(len(labels)) if groups is None else groups):
        members[number].append(place)
    rng = random.Random(f"split {seed}")
    kept, queue = _queue(list(members.values()), labels, rng)
    if sum(map(len, queue)) < test + validation:
        raise InputError(_too_few(labels, len(members), validation, test))
    parts: dict[Split, list[int]] = {}
    sizes: tuple[tuple[Split, int], ...] = (("test", test), ("validation", validation))
    for split, size in sizes:
        parts[split], queue = _filled(queue, size)
        if size - len(parts[split]) > _SHORTFALL * size:
            raise InputError(
                f"only {len(parts[split])} of {size} {split} examples can be held out without "
                "near-duplicates of them in training, because groups of near-duplicates are "
                "large; ask for fewer, or drop them first with `distillscale data dedup`."
            )
    parts["train"] = [place for group in kept + queue for place in group]
    rng.shuffle(parts["train"])
    return parts


def in_parts(examples: Sequence[Example], parts: Mapping[Split, Sequence[int]]) -> list[Example]:
    """The examples part by part, with new ids and the name of their split."""
    return [
        replace(examples[place], id=f"{split}-{number:06d}", split=split)
        for split, places in parts.items()
        for number, place in enumerate(places)
    ]


_Group = list[int]


def _queue(
    groups: list[_Group], labels: Sequence[str], rng: random.Random
) -> tuple[list[_Group], list[_Group]]:
    """Groups that must be trained on, so that no class is missing, and all others.

    The others are mixed so that any slice of them has the classes in proportion; a group counts
    as one of its most frequent class.
    """
    by_label: defaultdict[str, list[_Group]] = defaultdict(list)
    for group in groups:
        counts = Counter(labels[place] for place in group)
        by_label[counts.most_common(1)[0][0]].append(group)
    ranked: list[tuple[float, _Group]] = []
    kept: list[_Group] = []
    for label in sorted(by_label):
        own = by_label[label]
        rng.shuffle(own)
        kept.append(own[0])
        rest = own[1:]
        # Ranks spread over [0, 1): any slice of the sorted queue holds every class in proportion.
        ranked += [((rank + rng.random()) / len(rest), group) for rank, group in enumerate(rest)]
    ranked.sort(key=lambda entry: entry[0])
    trained = {labels[place] for group in kept for place in group}
    queue: list[_Group] = []
    for _, group in ranked:  # a class that is nowhere the most frequent one needs a group too
        own_labels = {labels[place] for place in group}
        (queue if own_labels <= trained else kept).append(group)
        trained |= own_labels
    return kept, queue


def _filled(queue: list[_Group], size: int) -> tuple[list[int], list[_Group]]:
    """A part of at most `size` places, from the groups that fit, and the groups left over."""
    part: list[int] = []
    left: list[_Group] = []
    for group in queue:
        if len(part) + len(group) <= size:
            part += group
        else:
            left.append(group)
    return part, left


def _too_few(labels: Sequence[str], groups: int, validation: int, test: int) -> str:
    same = "" if groups == len(labels) else f" in {groups} groups of near-duplicates"
    return (
        f"{len(labels)} different texts{same} are too few for {test} test and {validation} "
        f"validation examples with one training example for each of {len(set(labels))} classes."
    )
