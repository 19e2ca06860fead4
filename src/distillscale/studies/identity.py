"""What a step is: the identity that decides whether its result is already known.

Part of a step's identity are its kind, its parameters, its inputs (by their own identities), the
version of its code, and the versions of the libraries that change its numbers. No part of it are
device, workers, folders, or the name that it is shown by.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from typing import Any


@dataclass(frozen=True, eq=False)
class Step:
    """One computation of a study, and by its key also the artifact that it makes.

    Two steps are equal when their keys are. `name` is for people and not in the key.

    Attributes:
        kind: names the function that computes the step (`distill`).
        params: everything that the function is told; checked by `canonical` on construction.
        inputs: the steps whose artifacts the function reads, by role (`traces`).
        version: raise it whenever the function's results change.
        libraries: versions of the libraries that the results depend on (see `library_versions`).
        name: what people see; the kind where it is left out.
    """

    kind: str
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, "Step"] = field(default_factory=dict)
    version: int = 1
    libraries: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        """Copy the parameters, so that later changes to the caller's mapping do no harm.

        Raises:
            TypeError: a parameter has no stable form as JSON; names it.
        """
        object.__setattr__(self, "params", canonical(self.params, f"{self.kind}.params"))
        object.__setattr__(self, "name", self.name or self.kind)

    @cached_property
    def key(self) -> str:
        """SHA-256 of the identity, in hexadecimal."""
        text = json.dumps(self.identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def identity(self) -> dict[str, Any]:
        """What the key is made of; inputs stand in it by their keys."""
        return {
            "kind": self.kind,
            "params": self.params,
            "inputs": {role: step.key for role, step in self.inputs.items()},
            "version": self.version,
            "libraries": dict(self.libraries),
        }

    def __eq__(self, other: object) -> bool:
        """Whether both steps have the same key."""
        return isinstance(other, Step) and self.key == other.key

    def __hash__(self) -> int:
        """The hash of the key."""
        return hash(self.key)


def canonical(value: Any, where: str = "value") -> Any:
    """A copy of a value in the one form that JSON keeps unchanged: tuples become lists.

    Raises:
        TypeError: the value, or one inside it, would not come back from JSON as the same value in
            every run (sets, paths, objects, NaN, keys that are not text); names the place.
    """
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float and math.isfinite(value):
        return value + 0.0  # -0.0 becomes 0.0
    if type(value) in (list, tuple):
        return [canonical(item, f"{where}[{number}]") for number, item in enumerate(value)]
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        return {key: canonical(item, f"{where}.{key}") for key, item in value.items()}
    raise TypeError(
        f"{where} is {value!r} ({type(value).__name__}), which has no stable identity; use text, "
        "whole numbers, finite numbers, booleans, None, and lists and text-keyed mappings of them."
    )


def library_versions(*names: str) -> dict[str, str]:
    """Installed versions of libraries, without local parts.

    `2.13.0+cpu` counts as `2.13.0`: the local part tells the device, which is not identity.
    """
    return {name: metadata.version(name).partition("+")[0] for name in names}


def ancestry(*targets: Step, known: Callable[[Step], bool] = lambda _: False) -> Iterator[Step]:
    """The steps that the targets need and the targets themselves, once each, inputs first.

    A step that is `known` is left out, and what only it needs is not visited.
    """
    seen: set[Step] = set()
    for target in targets:
        yield from _inputs_first(target, known, seen)


def _inputs_first(step: Step, known: Callable[[Step], bool], seen: set[Step]) -> Iterator[Step]:
    if step in seen:
        return
    seen.add(step)
    if known(step):
        return
    for source in step.inputs.values():
        yield from _inputs_first(source, known, seen)
    yield step


def lineage(step: Step) -> dict[str, Any]:
    """A step and all its ancestors as JSON, by key: enough to rebuild it (`from_lineage`)."""
    return {one.key: one.identity | {"name": one.name} for one in ancestry(step)}


def from_lineage(key: str, records: Mapping[str, Any]) -> Step:
    """Rebuild a step from its lineage.

    Raises:
        KeyError: a record is missing.
        ValueError: a record does not have the key that it is filed under.
    """
    rebuilt: dict[str, Step] = {}
    for filed_under, record in records.items():
        inputs = {role: rebuilt[source] for role, source in record["inputs"].items()}
        step = Step(**(record | {"inputs": inputs}))
        if step.key != filed_under:
            raise ValueError(f"the record {filed_under} is that of {step.key}")
        rebuilt[filed_under] = step
    return rebuilt[key]
