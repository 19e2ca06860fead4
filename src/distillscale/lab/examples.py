"""Labelled examples written by the lab."""

import random

from distillscale.lab.grammar import load_grammar, write
from distillscale.lab.world import World
from distillscale.tasks import Example, Split, load_task


def lab_examples(
    task_name: str, world: World, *, train: int, validation: int, test: int, seed: int
) -> list[Example]:
    """Write the examples of a built-in task, every text once.

    Test comes first, then validation, then train, from one stream: a larger training set has the
    smaller one as its prefix, and the test set does not depend on how much is trained on.
    """
    grammar, task = load_grammar(task_name), load_task(task_name)
    rng = random.Random(f"examples {task_name} {world.seed} {seed}")
    splits: list[tuple[Split, int]] = [("test", test), ("validation", validation), ("train", train)]
    seen: set[str] = set()
    examples: list[Example] = []
    for split, count in splits:
        for number in range(count):
            writing = write(grammar, world, rng)
            while writing.text in seen:
                writing = write(grammar, world, rng)
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
