"""Why a step must be computed: how its identity differs from the nearest cached one."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from distillscale.studies.identity import Step
from distillscale.studies.manifest import Manifest
from distillscale.studies.store import Store

ABSENT = "(absent)"


@dataclass(frozen=True)
class Difference:
    """One field of the identity: `path` leads from the step through its inputs' roles.

    `student/traces/params.temperature` is the temperature of the step that makes the traces of
    the step that makes the student.
    """

    path: str
    old: Any
    new: Any

    def __str__(self) -> str:
        """`path: old -> new`."""
        return f"{self.path}: {self.old} -> {self.new}"


@dataclass(frozen=True)
class Explanation:
    """How a step differs from `nearest`, the most similar artifact of its kind in the store.

    `nearest` is the step's own artifact where it is cached, None where its kind never was computed.
    """

    step: Step
    nearest: Manifest | None
    differences: tuple[Difference, ...]

    def __str__(self) -> str:
        """The explanation in words, one line a difference."""
        if self.nearest is None:
            return f"{self.step.name}: the store has no artifact of kind `{self.step.kind}` yet."
        if self.nearest.step == self.step:
            return f"{self.step.name}: cached, computed {self.nearest.finished}."
        head = (
            f"{self.step.name}: not cached; the nearest is {self.nearest.step.name} "
            f"({self.nearest.step.key[:12]}), which differs in"
        )
        return "\n  ".join([head, *map(str, self.differences)])


def why(step: Step, store: Store) -> Explanation:
    """Compare a step with the artifacts of its kind; the one with fewest differences is nearest."""
    compared = [
        (tuple(differences(known.step, step)), known) for known in store.manifests(step.kind)
    ]
    if not compared:
        return Explanation(step, None, ())
    found, nearest = min(compared, key=lambda pair: len(pair[0]))
    return Explanation(step, nearest, found)


def differences(old: Step, new: Step) -> Iterator[Difference]:
    """Where two identities differ; an input that is met on several ways is compared once."""
    yield from _differences(old, new, "", set())


def _differences(
    old: Step, new: Step, way: str, compared: set[tuple[str, str]]
) -> Iterator[Difference]:
    if old == new or (old.key, new.key) in compared:
        return
    compared.add((old.key, new.key))
    before, after = fields(old), fields(new)
    for path in sorted(before.keys() | after.keys()):
        values = before.get(path, ABSENT), after.get(path, ABSENT)
        if json.dumps(values[0]) != json.dumps(values[1]):  # 1, 1.0 and True are different here
            yield Difference(way + path, *values)
    for role in sorted(old.inputs.keys() | new.inputs.keys()):
        if role in old.inputs and role in new.inputs:
            yield from _differences(old.inputs[role], new.inputs[role], f"{way}{role}/", compared)
        else:
            steps = [
                side.inputs[role].name if role in side.inputs else ABSENT for side in (old, new)
            ]
            yield Difference(f"{way}{role}", *steps)


def fields(step: Step) -> dict[str, Any]:
    """A step's own identity without its inputs, flat: `params.learning_rate`."""
    own = {"kind": step.kind, "version": step.version}
    return own | dict(_flat(step.params, "params")) | dict(_flat(step.libraries, "libraries"))


def _flat(section: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{path}.{key}")
        else:
            yield f"{path}.{key}", value
