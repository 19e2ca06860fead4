"""All models that can be chosen, in the order of preference, and the choice among them."""

from collections.abc import Sequence
from math import isnan

import numpy as np
from numpy.typing import NDArray

from distillscale.laws.advice.candidates import Candidate
from distillscale.laws.advice.constraints import Constraint, Objective
from distillscale.laws.advice.new_run import NewRuns
from distillscale.laws.arrays import Array

Preference = tuple[float, float, float, float]


class Field:
    """Candidates, best first by the objective, with what decides between them.

    A model that satisfies all demands is *allowed*. One that was not measured is allowed only if
    its anchor, a measured model of more parameters or examples, meets the demands on metrics: a law
    fills the gap below such a model, and finds nothing that no measurement comes near. Beyond the
    range of dataset sizes the anchor has less data, so there it need not.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        objective: Objective,
        runs: NewRuns,
        confidence: float | None,
    ) -> None:
        self.objective, self.runs, self.confidence = objective, runs, confidence
        useful = [c for c in candidates if not isnan(c.value(objective.name))]
        self.candidates = sorted(useful, key=self.preference)
        self._values: dict[str, Array] = {}
        self._anchors: dict[str, Array] = {}

    def preference(self, candidate: Candidate) -> Preference:
        """The order: the objective, then fewer parameters, fewer examples, a higher macro F1."""
        f1 = candidate.value("macro_f1")
        loss = self.objective.loss(candidate.value(self.objective.name))
        f1_loss = 0.0 if isnan(f1) else -f1
        return loss, candidate.params, candidate.dataset_size, f1_loss

    def meets(self, constraints: Sequence[Constraint]) -> NDArray[np.bool_]:
        """Which candidates meet all demands by their expected values, in order."""
        met = np.ones(len(self.candidates), dtype=bool)
        for constraint in constraints:
            met &= constraint_met(constraint, self.values_of(constraint.name))
            if not constraint.is_size:
                met &= constraint_met(constraint, self._of_anchors(constraint.name))
        return met

    def allowed(self, constraints: Sequence[Constraint]) -> list[Candidate]:
        """All that satisfy the demands, best first."""
        found = [self.candidates[i] for i in np.flatnonzero(self.meets(constraints))]
        return [candidate for candidate in found if self._sure(candidate, constraints)]

    def allowed_by_size(self, sizes: Sequence[Constraint]) -> list[Candidate]:
        """All that satisfy demands on sizes, best first, whatever they measure."""
        return [self.candidates[i] for i in np.flatnonzero(self.meets(sizes))]

    def best(self, constraints: Sequence[Constraint]) -> Candidate | None:
        """The first that satisfies the demands."""
        for i in np.flatnonzero(self.meets(constraints)):
            if self._sure(self.candidates[i], constraints):
                return self.candidates[i]
        return None

    def values_of(self, name: str) -> Array:
        """A size or metric of every candidate, in order; NaN where missing."""
        if name not in self._values:
            self._values[name] = np.array([c.value(name) for c in self.candidates], dtype=float)
        return self._values[name]

    def _sure(self, candidate: Candidate, constraints: Sequence[Constraint]) -> bool:
        if self.confidence is None:
            return True
        known = []
        for constraint in constraints:
            probability = self.runs.probability(candidate, constraint)
            if probability is None or probability < self.confidence:
                return False
            known.append(probability)
        if sum(known) - (len(known) - 1) >= self.confidence:  # whatever they have to do together
            return True
        together = self.runs.joint(candidate, constraints)
        return together is not None and together >= self.confidence

    def _of_anchors(self, name: str) -> Array:
        if name not in self._anchors:
            chosen = [c if _free(c) else c.anchor or c for c in self.candidates]
            self._anchors[name] = np.array([c.value(name) for c in chosen], dtype=float)
        return self._anchors[name]


def constraint_met(constraint: Constraint, values: Array) -> NDArray[np.bool_]:
    """Which values satisfy a demand; a missing one does not."""
    low = constraint.bound == "min"
    found = values >= constraint.threshold if low else values <= constraint.threshold
    return np.asarray(found, dtype=bool)


def _free(candidate: Candidate) -> bool:
    """Whether it has more data than any measured model of its family."""
    anchor = candidate.anchor
    return anchor is not None and candidate.dataset_size > anchor.dataset_size
