"""What teachers say of one example, and what k of them agree on."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Vote:
    """One answer of a teacher to one example.

    `number` counts the votes on the example from 0. `text` is the answer without its `reasoning`;
    `label` is the class that it was parsed to, None where it could not be parsed or there is no
    answer: then `failure` says why. Token counts are None where the server does not report them.

    The last four fields have one entry a token of the answer, as the server cuts it (reasoning
    included where the server counts it in), and are None where it returned none: the tokens and
    their log-probabilities (natural), and the most likely tokens in each place with theirs.
    """

    example_id: str
    number: int
    label: str | None
    text: str
    reasoning: str | None
    finish_reason: str | None = None
    failure: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    tokens: tuple[str, ...] | None = None
    log_probs: tuple[float, ...] | None = None
    top_tokens: tuple[tuple[str, ...], ...] | None = None
    top_log_probs: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True)
class Tally:
    """What the votes on one example agree on.

    Attributes:
        votes: how many were asked for and got; `parsed` of them name a class.
        majority: the class that more votes name than any other; None where two share the first
            place or no vote was parsed.
        agreement: the share of the parsed votes for the class in the first place, in (0, 1].
        entropy: of the parsed votes' distribution over classes, in nats; 0 where all agree.
    """

    votes: int
    parsed: int
    majority: str | None
    agreement: float | None
    entropy: float | None


def tally(labels: Sequence[str | None]) -> Tally:
    """Count the labels of one example's votes; None is a vote that could not be parsed."""
    counts = Counter(label for label in labels if label is not None)
    parsed = counts.total()
    if not parsed:
        return Tally(len(labels), 0, None, None, None)
    (first, most), *others = counts.most_common(2)
    tied = bool(others) and others[0][1] == most
    shares = [count / parsed for count in counts.values()]
    return Tally(
        votes=len(labels),
        parsed=parsed,
        majority=None if tied else first,
        agreement=most / parsed,
        entropy=sum(-share * math.log(share) for share in shares if share < 1),
    )
