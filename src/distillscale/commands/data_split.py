"""`data split`: deal a corpus into train, validation and test without near-duplicates across."""

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from distillscale.commands.output import check_new_folder
from distillscale.data.card import UNSTATED, DataCard, Source, sha256, write_card
from distillscale.data.embedding import load_embedder
from distillscale.data.examples import (
    SPLITS,
    TASK_FILE,
    example_files,
    read_examples,
    write_examples,
)
from distillscale.data.leakage import GroupedSplit, grouped_split
from distillscale.data.near_duplicates import check_threshold
from distillscale.data.split import first_of_each_text
from distillscale.errors import InputError


@dataclass(frozen=True)
class SplitRequest:
    """What a user asks `data split` for; see the command's help for each field."""

    corpus: Path
    validation: float
    test: float
    seed: int
    threshold: float
    embedder: str
    licence: str | None

    @property
    def command(self) -> str:
        """The command that makes this split again."""
        return (
            f"distillscale data split {self.corpus.name} --validation {self.validation:g} "
            f"--test {self.test:g} --seed {self.seed} --threshold {self.threshold:g} "
            f"--embedder {self.embedder} --out FOLDER"
        )


def split_corpus(request: SplitRequest, out: Path) -> None:
    """Write a folder with an examples file for each split and a data card.

    Raises:
        InputError: an option or the corpus is wrong, or the parts cannot be filled.
    """
    check_new_folder(out, "--out")
    check_threshold(request.threshold)
    everything = read_examples(request.corpus)
    examples = first_of_each_text(everything)
    split = grouped_split(
        examples,
        load_embedder(request.embedder),
        validation=_count("--validation", request.validation, len(examples)),
        test=_count("--test", request.test, len(examples)),
        seed=request.seed,
        threshold=request.threshold,
    )
    notes = _notes(split, len(everything) - len(examples), request)
    _write(request, split, notes, out.absolute())
    counts = Counter(example.split for example in split.examples)
    print(", ".join(f"{counts[name]:,} {name}" for name in SPLITS))
    print("\n".join(notes))
    print(f"splits: {out}; its card: {out / 'README.md'}")


def _count(option: str, asked: float, total: int) -> int:
    """A number of examples: as asked, or a share of all where it is under 1."""
    if asked < 0 or (asked >= 1 and asked != int(asked)):
        raise InputError(
            f"{option} {asked:g}: it must be a number of examples, or a share from 0 to 1."
        )
    return int(asked) if asked >= 1 else round(asked * total)


def _notes(split: GroupedSplit, repeated: int, request: SplitRequest) -> list[str]:
    near = f"near-duplicates (cosine of at least {request.threshold:g}, {request.embedder})"
    groups = f"No two texts are {near}."
    if split.groups:
        groups = (
            f"{split.grouped:,} texts form {split.groups:,} groups of {near}, the largest of "
            f"{split.largest:,}; every group is in one split."
        )
    return [
        f"{repeated:,} texts that are the same as one before them were left out.",
        groups,
        "Any first rows of `train.parquet` are a training set too, so a smaller one is a part of "
        "a larger one.",
    ]


def _write(request: SplitRequest, split: GroupedSplit, notes: list[str], out: Path) -> None:
    """Write the folder under a temporary name beside its place, then rename it."""
    task = request.corpus / TASK_FILE
    sources = tuple(Source(file.name, sha256(file)) for file in example_files(request.corpus))
    card = DataCard(
        title=f"{request.corpus.stem}, split",
        licence=request.licence or UNSTATED,
        counts=Counter((one.split, one.category, one.label) for one in split.examples),
        sources=sources,
        command=request.command,
        notes=tuple(notes),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".split-") as name:
        folder = Path(name) / "corpus"
        folder.mkdir()
        for part in SPLITS:
            chosen = (example for example in split.examples if example.split == part)
            write_examples(chosen, folder / f"{part}.parquet")
        if task.is_file():
            shutil.copyfile(task, folder / TASK_FILE)
        write_card(card, folder)
        folder.replace(out)
