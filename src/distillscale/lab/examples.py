"""Labelled examples written by the lab."""

import random

from distillscale.errors import InputError
from distillscale.lab.grammar import Grammar, Writing, load_grammar, write
from distillscale.lab.world import World
from distillscale.tasks import Example, Split, load_task

_TRIES = 1000  # repeats in a row before the grammar counts as exhausted


def lab_examples(
    task_name: str, world: World, *, train: int, validation: int, test: int, seed: int
) -> list[Example]:
    """Write the examples of a built-in task, every text once.

    Test comes first, then validation, then train, from one stream: a larger training set has the
    smaller one as its prefix, and the test set does not depend on how much is trained on.

    Raises:
        InputError: the grammar cannot write as many different texts.
    """
    grammar, task = load_grammar(task_name), load_task(task_name)
    rng = random.Random(f"examples {task_name} {world.seed} {seed}")
    splits: list[tuple[Split, int]] = [("test", test), ("validation", validation), ("train", train)]
    seen: set[str] = set()
    examples: list[Example] = []
    for split, count in splits:
        for number in range(count):
            writing = _new_writing(grammar, world, rng, seen)
            seen.add(writing.text)
            examples.append(
                Example(
                    id=f"{split}-{number:06d}",
                    text=writing.text,
                    label=writing.label,
                    category=task.category_of(writing.label),
                    split=split,
                    source="lab",
                )
            )
    return examples


def _new_writing(grammar: Grammar, world: World, rng: random.Random, seen: set[str]) -> Writing:
    for _ in range(_TRIES):
        writing = write(grammar, world, rng)
        if writing.text not in seen:
            return writing
    raise InputError(
        f"task {grammar.task}: the lab's grammar is exhausted after {len(seen):,} different texts; "
        "ask for fewer examples."
    )
