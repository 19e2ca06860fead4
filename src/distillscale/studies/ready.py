"""Which step comes next: those whose inputs are there, the longest remaining chain first."""

import heapq
from collections.abc import Collection, Iterable, Mapping

from distillscale.studies.identity import Step


class ReadySteps:
    """The order in which missing steps are computed, decided as they are done."""

    def __init__(self, missing: Iterable[Step], seconds: Mapping[Step, float]) -> None:
        """Find what waits for what.

        Args:
            missing: the steps to compute, inputs first; inputs that are not among them are there.
            seconds: how long each is expected to take.
        """
        self._place = {step: place for place, step in enumerate(missing)}
        self._awaited = {
            step: {source for source in step.inputs.values() if source in self._place}
            for step in self._place
        }
        self._users: dict[Step, list[Step]] = {step: [] for step in self._place}
        for step, sources in self._awaited.items():
            for source in sources:
                self._users[source].append(step)
        self._chain: dict[Step, float] = {}
        for step in reversed(list(self._place)):
            after = max((self._chain[user] for user in self._users[step]), default=0.0)
            self._chain[step] = seconds[step] + after
        self._heap: list[tuple[float, int, Step]] = []
        for step, sources in self._awaited.items():
            self._push(step, sources)

    def take(self) -> Step | None:
        """The next step to compute; None where all that are left wait for others."""
        return heapq.heappop(self._heap)[2] if self._heap else None

    def done(self, step: Step) -> None:
        """Tell that a step is computed: its users may become ready."""
        for user in self._users[step]:
            self._awaited[user].discard(step)
            self._push(user, self._awaited[user])

    def dependents(self, failed: Collection[Step]) -> set[Step]:
        """All missing steps that need one of the failed ones, directly or not."""
        lost = set(failed)
        for step in self._place:
            if lost.intersection(step.inputs.values()):
                lost.add(step)
        return lost.difference(failed)

    def _push(self, step: Step, awaited: set[Step]) -> None:
        if not awaited:
            heapq.heappush(self._heap, (-self._chain[step], self._place[step], step))
