"""Generate, filter, deduplicate against everything so far, choose examples, re-weight, repeat.

No single run of a generator gives a large corpus: it comes back to what it has said. The loop asks
again and again, for what is still missing, and shows the generator what lies at the rims.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distillscale.data.deduplicate import Decision, deduplicate
from distillscale.data.embedding import Embedder, load_embedder
from distillscale.data.generation.checkpoint import Checkpoint, State
from distillscale.data.generation.corpus import Corpus, audit, filtered_out, find_novel
from distillscale.data.generation.few_shot import outermost_rows
from distillscale.data.generation.filters import reason_to_drop
from distillscale.data.generation.recipe import Recipe
from distillscale.data.generation.records import (
    HISTOGRAM_BINS,
    Draft,
    DraftRequest,
    Drafts,
    Dropped,
    Generator,
    Iteration,
)
from distillscale.data.generation.report import write_report
from distillscale.data.generation.weights import next_weights
from distillscale.data.near_duplicates import NearDuplicateIndex
from distillscale.tasks import Example

_RECENT = 3
"""Iterations over which the acceptance rate is taken."""
_MARGIN = 1.1
_LEAST_ASKED = 10


@dataclass(frozen=True)
class Outcome:
    """How a run ended: what it came to, and a sentence why it stopped."""

    iterations: tuple[Iteration, ...]
    sentence: str


class Run:
    """A run in a folder, new or gone on with.

    Raises:
        InputError: the folder holds a run of another recipe.
        DamagedArtifact: a file of the folder is not what was written.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe = recipe
        self._checkpoint = Checkpoint(folder)
        self._embedder: Embedder = load_embedder(recipe.embedder)
        self._corpus = Corpus(recipe.task, recipe.source)
        self.state = State((), dict(recipe.shares), {})
        self._index = NearDuplicateIndex(self._embedder.dimensions, seed=recipe.seed)
        if not self._checkpoint.exists:
            self._checkpoint.begin(recipe, self.state)
            return
        self.state = self._checkpoint.load(recipe)
        if self.state.rows:
            self._index = self._checkpoint.load_index(self.state)
            for part in self._checkpoint.accepted(self.state):
                texts, labels = (part[name].to_pylist() for name in ("text", "label"))
                self._corpus.add(zip(texts, labels, strict=True))

    def go_on(
        self,
        generator: Generator,
        *,
        min_acceptance: float,
        on_iteration: Callable[[Iteration], None] = lambda _: None,
    ) -> Outcome:
        """Iterate until the target is reached or there is a reason to stop; write the results.

        Args:
            min_acceptance: share of accepted drafts of the last three iterations below which the
                run stops.
            on_iteration: called after each iteration, when its checkpoint is written.
        """
        while (sentence := self._reason_to_stop(min_acceptance)) is None:
            drafted = generator.draft(self._request())
            if drafted.drafts:
                self._take(drafted)
                on_iteration(self.state.iterations[-1])
            why = drafted.stopped or (None if drafted.drafts else _nothing_came(drafted))
            if why is not None and len(self._corpus) < self.recipe.target:
                sentence = f"{self._stopped_at()}: {why}"
                break
        assert sentence is not None
        self._checkpoint.write_tables(self.state)
        write_report(self._checkpoint.folder, self.recipe, self.state.iterations, sentence)
        return Outcome(self.state.iterations, sentence)

    def _request(self) -> DraftRequest:
        return DraftRequest(
            iteration=self.state.next_iteration,
            count=self._wanted(),
            seed=self.recipe.seed,
            weights=self.recipe.label_weights(self.state.weights),
            few_shot=self.state.few_shot,
        )

    def _wanted(self) -> int:
        """Drafts to ask for: a batch, or what will do for the rest of the target."""
        recent = self.state.iterations[-_RECENT:]
        added = sum(own.added for own in recent)
        if not added:
            return self.recipe.batch_size
        missing = self.recipe.target - len(self._corpus)
        enough = missing * sum(own.drafted for own in recent) * _MARGIN / added
        return min(self.recipe.batch_size, math.ceil(enough) + _LEAST_ASKED)

    def _take(self, drafted: Drafts) -> None:
        """One iteration with the drafts that came, up to its checkpoint."""
        number = self.state.next_iteration
        fit, dropped = self._filter(drafted.drafts, number)
        novelty = find_novel(fit, self._corpus)
        texts = [fit[place].text for place in novelty.fresh]
        vectors = self._embedder.encode(texts)
        decision = deduplicate(self._index, texts, vectors, self.recipe.threshold)
        room = self.recipe.target - len(self._corpus)
        kept = [fit[novelty.fresh[place]] for place in decision.kept[:room]]
        accepted = self._corpus.add((draft.text, draft.label) for draft in kept)
        dropped += audit(fit, novelty, decision, self._corpus, len(accepted), number)
        counts = self._counts(drafted, accepted, dropped, decision)
        state = State(
            iterations=(*self.state.iterations, counts),
            weights=self._next_weights((*self.state.iterations, counts)),
            few_shot=self._few_shot(),
            usage=drafted.usage,
            files=self.state.files,
        )
        self.state = self._checkpoint.save(self.recipe, state, self._index, accepted, dropped)

    def _filter(self, drafts: Sequence[Draft], number: int) -> tuple[list[Draft], list[Dropped]]:
        fit: list[Draft] = []
        dropped: list[Dropped] = []
        for draft in drafts:
            reason = reason_to_drop(draft, self.recipe.task, self.recipe.rules)
            if reason is None:
                fit.append(draft)
            else:
                dropped.append(filtered_out(draft, self._corpus, number, reason))
        return fit, dropped

    def _counts(
        self,
        drafted: Drafts,
        accepted: Sequence[Example],
        dropped: Sequence[Dropped],
        decision: Decision,
    ) -> Iteration:
        category_of = self.recipe.task.category_of
        ends = (self.recipe.threshold, 1.0)
        # Rounding lets a similarity stand a hair below the threshold.
        similarities = np.clip(decision.similarities.astype(np.float64), *ends)
        bins = np.histogram(similarities, HISTOGRAM_BINS, ends)[0] if ends[0] < 1 else ()
        reasons = Counter(item.reason for item in dropped)
        held = _by_category(self.recipe, [category_of(label) for label in self._corpus.labels])
        return Iteration(
            number=self.state.next_iteration,
            weights=self.state.weights,
            drafts=_by_category(self.recipe, [category_of(own.label) for own in drafted.drafts]),
            accepted=_by_category(self.recipe, [example.category for example in accepted]),
            dropped=dict(sorted(reasons.items())),
            similarities=tuple(int(count) for count in bins),
            total=len(self._corpus),
            shares={name: count / max(len(self._corpus), 1) for name, count in held.items()},
            dead_letters=drafted.dead_letters,
            tokens=drafted.usage.prompt_ceiling + drafted.usage.completion_ceiling,
        )

    def _next_weights(self, iterations: Sequence[Iteration]) -> dict[str, float]:
        shares = self.recipe.shares
        accepted = {name: sum(own.accepted[name] for own in iterations) for name in shares}
        drafts = {name: sum(own.drafts[name] for own in iterations) for name in shares}
        return next_weights(shares, accepted, drafts, batch=self.recipe.batch_size)

    def _few_shot(self) -> dict[str, tuple[Example, ...]]:
        names = list(self.recipe.shares)
        chosen = outermost_rows(
            self._index.vectors[: len(self._corpus)],
            self._corpus.category_numbers(names),
            count=self.recipe.few_shot,
        )
        return {
            names[number]: tuple(map(self._corpus.example, rows)) for number, rows in chosen.items()
        }

    def _reason_to_stop(self, min_acceptance: float) -> str | None:
        iterations = self.state.iterations
        if self.state.total >= self.recipe.target:
            return f"target reached: {self.state.total:,} texts after {len(iterations)} iterations."
        recent = iterations[-_RECENT:]
        if len(recent) < _RECENT:
            return None
        drafts, added = sum(own.drafted for own in recent), sum(own.added for own in recent)
        if added >= min_acceptance * drafts:
            return None
        return (
            f"{self._stopped_at()}: of the {drafts:,} drafts of the last {_RECENT} iterations "
            f"{added / drafts:.1%} were accepted, below the limit of {min_acceptance:.1%}."
        )

    def _stopped_at(self) -> str:
        return f"stopped at {self.state.total:,} of {self.recipe.target:,} texts"


def _nothing_came(drafted: Drafts) -> str:
    return (
        f"the generator gave no draft ({drafted.dead_letters} requests failed, see "
        "dead_letters.jsonl)."
    )


def _by_category(recipe: Recipe, categories: Sequence[str]) -> dict[str, int]:
    counts = Counter(categories)
    return {name: counts[name] for name in recipe.shares}
