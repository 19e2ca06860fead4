"""The Parquet files and the numbers that an annotation ends with."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distillscale.teachers.endpoint import AskedText
from distillscale.teachers.votes import Tally, Vote

_ROWS = 4096
"""Votes in a row group: what is held in memory."""

ANNOTATIONS = pa.schema(
    {
        "id": pa.string(),
        "text": pa.string(),
        "gold": pa.string(),  # missing where the file has no labels
        "majority": pa.string(),  # missing where two classes tie or no vote was parsed
        "votes": pa.int32(),
        "parsed": pa.int32(),
        "agreement": pa.float64(),  # share of the parsed votes for the class in the first place
        "entropy": pa.float64(),  # of the parsed votes, in nats
        "agrees_with_gold": pa.bool_(),  # missing where gold or majority is
    }
)
VOTES = pa.schema(
    {
        "example_id": pa.string(),
        "number": pa.int32(),
        "label": pa.string(),
        "text": pa.string(),
        "reasoning": pa.string(),
        "finish_reason": pa.string(),
        "failure": pa.string(),
        "prompt_tokens": pa.int32(),
        "completion_tokens": pa.int32(),
        "tokens": pa.list_(pa.string()),
        "log_probs": pa.list_(pa.float32()),
        "top_tokens": pa.list_(pa.list_(pa.string())),
        "top_log_probs": pa.list_(pa.list_(pa.float32())),
    }
)


@dataclass(frozen=True)
class AnnotationSummary:
    """How an annotation went. Shares are missing where there is nothing to take them of.

    Attributes:
        texts: how many were to be annotated; `votes` the votes there are, of `wanted`.
        parsed: the votes that name a class.
        decided: the texts with a majority.
        agreement: mean over texts of the share of votes for the class in the first place.
        entropy: mean over texts, in nats.
        gold_agreement: share of the decided texts with gold whose majority is gold.
    """

    texts: int
    wanted: int
    votes: int
    parsed: int
    decided: int
    agreement: float | None
    entropy: float | None
    gold_agreement: float | None

    @property
    def complete(self) -> bool:
        """Whether every vote that was wanted is there."""
        return self.votes == self.wanted


def write_annotations(texts: Sequence[AskedText], tallies: Sequence[Tally], path: Path) -> None:
    """One row a text: gold, the votes' majority, and how much they agree."""
    rows = [
        {
            "id": item.id,
            "text": item.text,
            "gold": item.gold,
            **asdict(tally),
            "agrees_with_gold": _agrees(item, tally),
        }
        for item, tally in zip(texts, tallies, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows, ANNOTATIONS), path)


def write_votes(votes: Iterator[Vote], path: Path) -> None:
    """One row a vote, with reasoning and log-probabilities; only a part is held in memory."""
    with pq.ParquetWriter(path, VOTES) as writer:
        while part := [asdict(vote) for vote in islice(votes, _ROWS)]:
            writer.write_table(pa.Table.from_pylist(part, VOTES))


def summarise(
    texts: Sequence[AskedText], tallies: Sequence[Tally], votes_wanted: int
) -> AnnotationSummary:
    """The numbers of an annotation with `votes_wanted` votes a text."""
    agreeing = [_agrees(item, tally) for item, tally in zip(texts, tallies, strict=True)]
    return AnnotationSummary(
        texts=len(texts),
        wanted=len(texts) * votes_wanted,
        votes=sum(tally.votes for tally in tallies),
        parsed=sum(tally.parsed for tally in tallies),
        decided=sum(tally.majority is not None for tally in tallies),
        agreement=_mean([tally.agreement for tally in tallies]),
        entropy=_mean([tally.entropy for tally in tallies]),
        gold_agreement=_mean(agreeing),
    )


def _agrees(item: AskedText, tally: Tally) -> bool | None:
    if item.gold is None or tally.majority is None:
        return None
    return tally.majority == item.gold


def _mean(values: Sequence[Any]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None
