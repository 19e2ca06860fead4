"""The accepted rows in memory: what new drafts are compared with."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distillscale.data.deduplicate import Decision
from distillscale.data.generation.records import (
    EXACT_DUPLICATE,
    NEAR_DUPLICATE,
    SURPLUS,
    Draft,
    Dropped,
)
from distillscale.data.split import normalised
from distillscale.tasks import Example, Task

_DIGEST_BYTES = 16


class Corpus:
    """Texts and labels by row number, and the row of each normalised text.

    Rows are numbered as in the index of near-duplicates.
    """

    def __init__(self, task: Task, source: str) -> None:
        self.task = task
        self.source = source
        self.texts: list[str] = []
        self.labels: list[str] = []
        self._rows: dict[bytes, int] = {}

    def __len__(self) -> int:
        """Accepted rows."""
        return len(self.texts)

    def add(self, drafts: Iterable[tuple[str, str]]) -> list[Example]:
        """Accept pairs of text and label; returns the new rows."""
        first = len(self)
        for text, label in drafts:
            self._rows[_digest(text)] = len(self)
            self.texts.append(text)
            self.labels.append(label)
        return [self.example(row) for row in range(first, len(self))]

    def example(self, row: int) -> Example:
        """An accepted row as a record."""
        label = self.labels[row]
        return Example(
            id=self.row_id(row),
            text=self.texts[row],
            label=label,
            category=self.task.category_of(label),
            split="train",
            source=self.source,
        )

    def row_id(self, row: int) -> str:
        """The id that a row has or would have."""
        return f"generated-{row:07d}"

    def row_of(self, text: str) -> int | None:
        """The accepted row with the same normal form."""
        return self._rows.get(_digest(text))

    def category_numbers(self, categories: Sequence[str]) -> NDArray[np.int64]:
        """[rows], the place of each row's category in a list of all."""
        places = {name: place for place, name in enumerate(categories)}
        number = {label: places[own] for label, own in self.task.categories.items()}
        return np.array([number[label] for label in self.labels], dtype=np.int64)


@dataclass(frozen=True)
class Novelty:
    """Which drafts of a batch are new to the letter.

    Attributes:
        fresh: their places in the batch, rising.
        copied_rows: by place of another draft, the accepted row that it repeats.
        copied_places: by place of another draft, the fresh draft of the batch that it repeats.
    """

    fresh: tuple[int, ...]
    copied_rows: Mapping[int, int]
    copied_places: Mapping[int, int]


def find_novel(drafts: Sequence[Draft], corpus: Corpus) -> Novelty:
    """Sort out exact duplicates after normalisation.

    Of the drafts of a batch with one normal form the fresh one is the first by text and label, so
    that it does not depend on their order.
    """
    copied_rows: dict[int, int] = {}
    firsts: dict[str, int] = {}
    others: list[int] = []
    for place, draft in enumerate(drafts):
        row = corpus.row_of(draft.text)
        if row is not None:
            copied_rows[place] = row
            continue
        first = firsts.setdefault(normalised(draft.text), place)
        if first != place:
            loser, winner = place, first
            if (draft.text, draft.label) < (drafts[first].text, drafts[first].label):
                loser, winner = first, place
            firsts[normalised(draft.text)] = winner
            others.append(loser)
    copied_places = {place: firsts[normalised(drafts[place].text)] for place in sorted(others)}
    return Novelty(tuple(sorted(firsts.values())), copied_rows, copied_places)


def audit(
    drafts: Sequence[Draft],
    novelty: Novelty,
    decision: Decision,
    corpus: Corpus,
    accepted: int,
    iteration: int,
) -> list[Dropped]:
    """Why each draft that passed the filters was dropped, in the order of the batch.

    Args:
        decision: on the fresh drafts, by their place among these.
        corpus: with this batch's rows added.
        accepted: how many of the kept drafts got in; those after them are surplus.
    """
    fresh = np.array(novelty.fresh, dtype=np.int64)
    first = len(corpus) - accepted
    rows = {int(place): first + number for number, place in enumerate(fresh[decision.kept])}
    texts = {row: drafts[place].text for place, row in rows.items()}
    keepers = {
        int(place): (int(row), float(similarity))
        for place, row, similarity in zip(
            fresh[decision.dropped], decision.keepers, decision.similarities, strict=True
        )
    }

    def duplicate(place: int, row: int, reason: str, similarity: float) -> Dropped:
        text = corpus.texts[row] if row < len(corpus) else texts[row]
        return _dropped(
            drafts[place], corpus, iteration, reason, corpus.row_id(row), text, similarity
        )

    found: dict[int, Dropped] = {}
    for place, row in novelty.copied_rows.items():
        found[place] = duplicate(place, row, EXACT_DUPLICATE, 1.0)
    for place, (row, similarity) in keepers.items():
        found[place] = duplicate(place, row, NEAR_DUPLICATE, similarity)
    for place, twin in novelty.copied_places.items():
        row, similarity = (rows[twin], 1.0) if twin in rows else keepers[twin]
        found[place] = duplicate(place, row, EXACT_DUPLICATE, similarity)
    for place, row in rows.items():
        if row >= len(corpus):
            found[place] = _dropped(drafts[place], corpus, iteration, SURPLUS)
    return [found[place] for place in sorted(found)]


def filtered_out(draft: Draft, corpus: Corpus, iteration: int, reason: str) -> Dropped:
    """The audit's row of a draft that a filter dropped."""
    return _dropped(draft, corpus, iteration, reason)


def _dropped(
    draft: Draft,
    corpus: Corpus,
    iteration: int,
    reason: str,
    keeper: str | None = None,
    keeper_text: str | None = None,
    similarity: float | None = None,
) -> Dropped:
    category = corpus.task.category_of(draft.label)
    return Dropped(
        iteration, draft.text, draft.label, category, reason, keeper, keeper_text, similarity
    )


def _digest(text: str) -> bytes:
    form = normalised(text).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(form, digest_size=_DIGEST_BYTES).digest()
