"""What a corpus is made of: everything that decides its rows, and nothing else."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distillscale.data.generation.filters import FilterRules
from distillscale.data.near_duplicates import check_threshold
from distillscale.errors import InputError
from distillscale.tasks import Task

_LARGEST_BATCH, _SMALLEST_BATCH = 20_000, 50


@dataclass(frozen=True)
class Recipe:
    """How a corpus is made.

    Attributes:
        generator: `lab`, or `endpoint`.
        source: what the rows name as their source: `lab`, or the endpoint's model.
        target: rows wanted.
        batch_size: drafts asked for in an iteration.
        threshold: cosine from which two texts are near-duplicates.
        embedder: see `data.embedding`.
        shares: target share of each category; they sum to 1.
        few_shot: examples of each category that the generator is shown.
    """

    task: Task
    generator: str
    source: str
    target: int
    batch_size: int
    threshold: float
    embedder: str
    seed: int
    shares: Mapping[str, float]
    rules: FilterRules
    few_shot: int

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: a field is out of range.
        """
        check_threshold(self.threshold)
        for name in ("target", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.few_shot < 0:
            raise InputError(f"few_shot is {self.few_shot}; it must be at least 0.")

    def label_weights(self, categories: Mapping[str, float]) -> dict[str, float]:
        """The weight of each class: its category's, divided evenly among the category's classes."""
        owners = list(self.task.categories.values())
        return {
            label: categories[category] / owners.count(category)
            for label, category in self.task.categories.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they are read back from JSON."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def check_same(self, stored: Mapping[str, Any], where: str) -> None:
        """Make sure that a run that goes on is asked for what it was begun with.

        Raises:
            InputError: it is not; names the first argument that has changed, and both values.
        """
        own = self.to_json()
        for name in own:
            before, now = stored.get(name), own[name]
            if isinstance(now, dict) and isinstance(before, dict):
                changed = [key for key in now if now[key] != before.get(key)]
                if changed:
                    name, before, now = (
                        f"{name}.{changed[0]}",
                        before.get(changed[0]),
                        now[changed[0]],
                    )
            if before != now:
                raise InputError(
                    f"{where}: the run in it was begun with {name} {_short(before)}, not "
                    f"{_short(now)}; give the same arguments, or name a new folder."
                )


def default_batch_size(target: int) -> int:
    """Drafts an iteration: a fifth of the target, at least 50 and at most 20 thousand."""
    return min(max(target // 5, _SMALLEST_BATCH), _LARGEST_BATCH)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
