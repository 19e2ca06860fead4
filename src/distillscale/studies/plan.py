"""The plan of a study: which steps there are, which are missing, how long they will take."""

import difflib
import heapq
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from distillscale.errors import InputError
from distillscale.studies.identity import Step, ancestry
from distillscale.studies.ready import ReadySteps
from distillscale.studies.store import Store
from distillscale.studies.why import fields


@dataclass(frozen=True)
class Plan:
    """What running a study would do.

    Attributes:
        steps: all steps of the study, inputs first.
        missing: those to compute, inputs first. A step whose result is only needed by results
            that are there is not among them, even where its own artifact is gone.
        seconds: the expected duration of each missing step.
    """

    steps: tuple[Step, ...]
    missing: tuple[Step, ...]
    seconds: Mapping[Step, float]

    @property
    def by_kind(self) -> dict[str, tuple[int, int]]:
        """How many steps of each kind there are, and how many of them are missing."""
        missing = Counter(step.kind for step in self.missing)
        return {
            kind: (count, missing[kind])
            for kind, count in Counter(step.kind for step in self.steps).items()
        }

    def minutes(self, workers: int) -> float:
        """Expected minutes with a number of workers: the engine's own order, played through."""
        ready = ReadySteps(self.missing, self.seconds)
        running: list[tuple[float, int, Step]] = []
        now = 0.0
        for turn in range(len(self.missing)):
            step = ready.take() if len(running) < workers else None
            while step is None:
                now, _, finished = heapq.heappop(running)
                ready.done(finished)
                step = ready.take()
            heapq.heappush(running, (now + self.seconds[step], turn, step))
        return max((end for end, _, _ in running), default=0.0) / 60

    def find(self, words: str) -> Step:
        """The step with a name, or with a key that begins like this.

        Raises:
            InputError: there is none, or more than one; names the nearest.
        """
        found = [step for step in self.steps if step.name == words]
        found = found or [step for step in self.steps if step.key.startswith(words)]
        if len(found) == 1:
            return found[0]
        if found:
            keys = ", ".join(step.key[:12] for step in found[:5])
            raise InputError(
                f"step `{words}`: {len(found)} steps are called so; name one of {keys}."
            )
        near = difflib.get_close_matches(words, [step.name for step in self.steps], n=3, cutoff=0)
        raise InputError(f"step `{words}`: the study has none; the nearest are {', '.join(near)}.")


def make_plan(targets: Iterable[Step], store: Store, default_seconds: Mapping[str, float]) -> Plan:
    """Plan the computation of the targets.

    Args:
        targets: the steps whose results are wanted.
        store: where results are looked for; those that the plan builds on are verified.
        default_seconds: expected duration by kind of step, used for kinds of which the store has
            no example.
    """
    targets = tuple(targets)
    missing = tuple(ancestry(*targets, known=lambda step: store.open(step) is not None))
    return Plan(tuple(ancestry(*targets)), missing, _estimates(missing, store, default_seconds))


def _estimates(
    steps: Sequence[Step], store: Store, default_seconds: Mapping[str, float]
) -> dict[Step, float]:
    """What the most similar computed steps of the same kind took, by median."""
    seen = {
        kind: [(_features(known.step), known.seconds) for known in store.manifests(kind)]
        for kind in {step.kind for step in steps}
    }

    def expected(step: Step) -> float:
        known = seen[step.kind]
        return _most_similar(_features(step), known) if known else default_seconds[step.kind]

    return {step: expected(step) for step in steps}


def _most_similar(wanted: frozenset[str], seen: list[tuple[frozenset[str], float]]) -> float:
    likeness = [len(wanted & features) for features, _ in seen]
    best = max(likeness)
    pairs = zip(seen, likeness, strict=True)
    return statistics.median(seconds for (_, seconds), like in pairs if like == best)


def _features(step: Step) -> frozenset[str]:
    """A step's parameters and those of its direct inputs, each as one text."""
    parts = {"": step} | {f"{role}/": source for role, source in step.inputs.items()}
    return frozenset(
        f"{role}{path}={json.dumps(value)}"
        for role, part in parts.items()
        for path, value in fields(part).items()
    )
