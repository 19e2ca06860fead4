"""Split labelled texts so that the same text never stands on both sides."""

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from distillscale.errors import InputError
from distillscale.tasks import Example, Split, Task

_URL = re.compile(r"https?://\S+")
_NON_WORD = re.compile(r"\W+")


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


def without(examples: Sequence[Example], others: Iterable[Example]) -> list[Example]:
    """The examples whose text is not the same as one of the others': the leakage guard."""
    forms = {normalised(example.text) for example in others}
    return [example for example in examples if normalised(example.text) not in forms]


def stratified_split(
    examples: Sequence[Example], *, validation: int, test: int, seed: int
) -> list[Example]:
    """Deal examples into test, validation and train, each class in proportion to its frequency.

    Every class keeps at least one training example. The training examples come shuffled, so that
    a prefix of them is a smaller training set.

    Raises:
        InputError: fewer examples are left for training than there are classes.
    """
    rng = random.Random(f"split {seed}")
    by_label: defaultdict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_label[example.label].append(example)
    queue: list[tuple[float, Example]] = []
    firsts: list[Example] = []
    for label in sorted(by_label):
        members = by_label[label]
        rng.shuffle(members)
        firsts.append(members[0])
        rest = members[1:]
        # Ranks spread over [0, 1): any slice of the sorted queue holds every class in proportion.
        queue += [((rank + rng.random()) / len(rest), item) for rank, item in enumerate(rest)]
    queue.sort(key=lambda entry: entry[0])
    held_out = [example for _, example in queue[: test + validation]]
    train = firsts + [example for _, example in queue[test + validation :]]
    if len(held_out) < test + validation:
        raise InputError(
            f"{len(examples)} different texts are too few for {test} test and {validation} "
            f"validation examples with one training example for each of {len(by_label)} classes."
        )
    rng.shuffle(train)
    parts: list[tuple[Split, list[Example]]] = [
        ("test", held_out[:test]),
        ("validation", held_out[test:]),
        ("train", train),
    ]
    return [_moved(item, split, n) for split, items in parts for n, item in enumerate(items)]


def _moved(example: Example, split: Split, number: int) -> Example:
    return Example(
        id=f"{split}-{number:06d}",
        text=example.text,
        label=example.label,
        category=example.category,
        split=split,
        source=example.source,
    )
