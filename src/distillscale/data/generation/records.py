"""What the parts of the generation loop exchange."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from distillscale.models.endpoint import Usage
from distillscale.tasks import Example

NO_USAGE = Usage()


@dataclass(frozen=True)
class Draft:
    """A text that a generator wrote, with the class that it is meant to have."""

    text: str
    label: str


@dataclass(frozen=True)
class DraftRequest:
    """What a generator is asked for in one iteration.

    Attributes:
        iteration: from 1; with the seed it decides all of a generator's random choices.
        count: drafts wanted; a generator may give a few more or fewer.
        weights: share of each class among them; they sum to 1.
        few_shot: for each category, accepted examples that new ones should be unlike.
    """

    iteration: int
    count: int
    seed: int
    weights: Mapping[str, float]
    few_shot: Mapping[str, tuple[Example, ...]]


@dataclass(frozen=True)
class Drafts:
    """What came of a request.

    Attributes:
        dead_letters: requests to an endpoint that gave nothing.
        stopped: a sentence why there can be no more, such as a spent budget.
        usage: what the generator has spent since the run began.
    """

    drafts: tuple[Draft, ...]
    dead_letters: int = 0
    stopped: str | None = None
    usage: Usage = NO_USAGE


class Generator(Protocol):
    """Writes drafts. The same request to the lab's generator gives the same drafts."""

    @property
    def source(self) -> str:
        """What the corpus names as the source of its rows."""

    def draft(self, request: DraftRequest) -> Drafts:
        """Write drafts for one iteration."""


@dataclass(frozen=True)
class Dropped:
    """A draft that did not get into the corpus, and why: a row of the audit.

    Attributes:
        reason: a filter's name, `exact_duplicate`, `near_duplicate`, or `surplus` (fit, but the
            corpus was complete).
        keeper: id of the accepted row that it is a duplicate of; `keeper_text` is that row's text.
            A keeper that is itself surplus is in the audit.
        similarity: cosine with the keeper.
    """

    iteration: int
    text: str
    label: str
    category: str
    reason: str
    keeper: str | None = None
    keeper_text: str | None = None
    similarity: float | None = None


@dataclass(frozen=True)
class Iteration:
    """The counts of one iteration.

    Attributes:
        number: from 1.
        weights: share of each category that was asked for.
        drafts: what came of it, by category.
        accepted: by category.
        dropped: by reason.
        similarities: counts of near-duplicates by cosine with their keeper, in `HISTOGRAM_BINS`
            equal steps from the threshold to 1.
        total: rows of the corpus after it.
        shares: of the categories in the corpus after it.
        dead_letters: requests that gave nothing.
        tokens: spent on an endpoint since the run began, at the worst case where unknown.
    """

    number: int
    weights: Mapping[str, float]
    drafts: Mapping[str, int]
    accepted: Mapping[str, int]
    dropped: Mapping[str, int]
    similarities: tuple[int, ...]
    total: int
    shares: Mapping[str, float]
    dead_letters: int
    tokens: int

    @property
    def drafted(self) -> int:
        """All drafts."""
        return sum(self.drafts.values())

    @property
    def added(self) -> int:
        """All accepted drafts."""
        return sum(self.accepted.values())

    @property
    def duplicates(self) -> int:
        """Exact and near-duplicates."""
        return sum(self.dropped.get(reason, 0) for reason in DUPLICATES)

    @property
    def duplicate_rate(self) -> float | None:
        """Share of duplicates among the drafts that passed the filters; None without any."""
        fit = self.added + self.duplicates + self.dropped.get(SURPLUS, 0)
        return self.duplicates / fit if fit else None


EXACT_DUPLICATE, NEAR_DUPLICATE, SURPLUS = "exact_duplicate", "near_duplicate", "surplus"
DUPLICATES = (EXACT_DUPLICATE, NEAR_DUPLICATE)
HISTOGRAM_BINS = 10
