"""The dataset of a task: its examples in three splits, questions of the lab, and a map of them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from distillscale.data.embedding import embed, flatten, load_embedder
from distillscale.data.hub import read_hub_dataset
from distillscale.data.labelled_file import read_labelled_file
from distillscale.data.leakage import find_leaks, grouped_split
from distillscale.data.split import labelled_examples
from distillscale.errors import InputError
from distillscale.lab.examples import lab_examples
from distillscale.lab.questions import lab_questions
from distillscale.lab.world import make_world
from distillscale.studies.sources import Sources
from distillscale.tasks import Example, Split, Task
from distillscale.tasks.records import write_records
from distillscale.tasks.task import task_from_dict

_MAPPED = 1000


@dataclass(frozen=True)
class MapPoint:
    """A training example's place in the two-dimensional view of the dataset."""

    x: float
    y: float
    label: str
    category: str
    text: str


def write_dataset(params: Mapping[str, Any], sources: Sources, folder: Path) -> dict[str, int]:
    """Write a task's data into a folder: `task.json`, a Parquet file a split, questions, map.

    Args:
        params: those of the `dataset` step.
        sources: where the user's files lie.

    Returns:
        How many examples and questions there are; of a user's data also how many texts stand in
        groups of near-duplicates (`grouped`), and how many test examples were dropped because the
        training file has the same text (`dropped_same`) or a near-duplicate (`dropped_near`).

    Raises:
        InputError: a file is wrong, or has too few texts.
    """
    task = task_from_dict(params["task"])
    if params["source"] == "lab":
        world = make_world()
        sizes = {split: params[split] for split in ("train", "validation", "test")}
        examples = lab_examples(task.name, world, **sizes, seed=params["seed"])
        questions = lab_questions(task.name, world, count=params["questions"], seed=params["seed"])
        guard: dict[str, int] = {}
    else:
        (examples, guard), questions = _labelled_examples(params, sources, task), []
    (folder / "task.json").write_text(json.dumps(asdict(task), indent=2))
    for split in ("train", "validation", "test"):
        chosen = [example for example in examples if example.split == split]
        write_records(chosen, folder / f"{split}.parquet")
    write_records(questions, folder / "questions.parquet")
    _write_map([example for example in examples if example.split == "train"], folder)
    return {"examples": len(examples), "questions": len(questions)} | guard


def _labelled_examples(
    params: Mapping[str, Any], sources: Sources, task: Task
) -> tuple[list[Example], dict[str, int]]:
    """The user's examples, none of a split a near-duplicate of one in another, and what that took.

    A test file of its own loses the texts of which the other file has a near-duplicate; a file
    that is split keeps near-duplicates together.
    """
    embedder = load_embedder(params["near_duplicates"]["embedder"])
    threshold = params["near_duplicates"]["threshold"]
    examples = _read_examples(params, sources, task, "source", "train")
    own_test: list[Example] = []
    guard = {}
    if params["test_source"] is not None:
        candidates = _read_examples(params, sources, task, "test_source", "test")
        texts, known = ([one.text for one in side] for side in (candidates, examples))
        leaks = {leak.left: leak.exact for leak in find_leaks(texts, known, embedder, threshold)}
        own_test = [one for place, one in enumerate(candidates) if place not in leaks]
        own_test = own_test[: params["test"]]
        if not own_test:
            raise InputError(
                f"dataset.test_source: dataset.source holds all of its {len(candidates)} texts "
                "too, or near-duplicates of them; a test needs texts that are not trained on."
            )
        same = sum(leaks.values())
        guard = {"dropped_same": same, "dropped_near": len(leaks) - same}
    split = grouped_split(
        examples,
        embedder,
        validation=params["validation"],
        test=0 if own_test else params["test"],
        seed=params["seed"],
        threshold=threshold,
    )
    train = [example for example in split.examples if example.split == "train"][: params["train"]]
    if len(train) < params["train"]:
        raise InputError(
            f"dataset.source: {len(train)} different texts are left to train on, but dataset.train "
            f"(or the largest of dataset_sizes) asks for {params['train']}; ask for fewer."
        )
    held_out = [example for example in split.examples if example.split != "train"]
    return train + held_out + own_test, guard | {"grouped": split.grouped}


def _read_examples(
    params: Mapping[str, Any], sources: Sources, task: Task, role: str, split: Split
) -> list[Example]:
    """A source's examples. Errors name its file; the artifact holds no path, but its role."""
    where, columns = params[role], (params["text_column"], params["label_column"])
    if isinstance(where, str):
        pairs = read_hub_dataset(where, *columns)
    else:
        file = sources.path(where["digest"])
        where, pairs = str(file), read_labelled_file(file, *columns)
    examples = labelled_examples(pairs, task, source=where, split=split)
    return [replace(example, source=role) for example in examples]


def _write_map(examples: list[Example], folder: Path) -> None:
    """Positions in the plane of up to `_MAPPED` training examples, for the report."""
    chosen = examples[:_MAPPED]
    places = flatten(embed([example.text for example in chosen]))
    points = [
        MapPoint(float(x), float(y), example.label, example.category, example.text)
        for (x, y), example in zip(places, chosen, strict=True)
    ]
    write_records(points, folder / "map.parquet")
