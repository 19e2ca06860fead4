"""The report of a run: a JSON file, and lines for the terminal."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distillscale.data.generation.checkpoint import write_text
from distillscale.data.generation.recipe import Recipe
from distillscale.data.generation.records import (
    EXACT_DUPLICATE,
    HISTOGRAM_BINS,
    NEAR_DUPLICATE,
    SURPLUS,
    Iteration,
)

HEADER = (
    "iteration   drafts  filtered    exact     near  duplicates  accepted    rate     total  "
    "category shares"
)
_BAR = 40


def table_line(iteration: Iteration) -> str:
    """One iteration as a line under `HEADER`; the shares are the corpus's least and greatest."""
    exact, near = (iteration.dropped.get(name, 0) for name in (EXACT_DUPLICATE, NEAR_DUPLICATE))
    surplus = iteration.dropped.get(SURPLUS, 0)
    filtered = iteration.drafted - iteration.added - exact - near - surplus
    repeats = iteration.duplicate_rate
    rate = iteration.added / iteration.drafted
    low, high = min(iteration.shares.values()), max(iteration.shares.values())
    return (
        f"{iteration.number:9} {iteration.drafted:8,} {filtered:9,} {exact:8,} {near:8,} "
        f"{'-' if repeats is None else f'{repeats:.1%}':>11} {iteration.added:9,} {rate:7.1%} "
        f"{iteration.total:9,}  {low:.1%} to {high:.1%}"
    )


def summary_lines(recipe: Recipe, iterations: Sequence[Iteration]) -> Iterator[str]:
    """The whole run: drops by reason, categories, and the histogram of similarities."""
    drafts = sum(own.drafted for own in iterations)
    dropped = _totals(own.dropped for own in iterations)
    if not drafts:
        return
    yield f"of {drafts:,} drafts {sum(dropped.values()) / drafts:.1%} were dropped:"
    for reason, count in sorted(dropped.items(), key=lambda item: (-item[1], item[0])):
        yield f"  {reason:24} {count:9,} {count / drafts:6.1%}"
    asked = _totals(own.drafts for own in iterations)
    accepted = _totals(own.accepted for own in iterations)
    total = max(sum(accepted.values()), 1)
    yield f"{'categories':26} {'drafts':>9} {'accepted':>9}  share  wanted"
    for name, share in recipe.shares.items():
        yield (
            f"  {name:24} {asked[name]:9,} {accepted[name]:9,} {accepted[name] / total:6.1%} "
            f"{share:7.1%}"
        )
    bins = np.sum([own.similarities for own in iterations], axis=0)
    if bins.any():
        yield "cosine of the near-duplicates with their keepers:"
        edges = _edges(recipe)
        for low, high, count in zip(edges[:-1], edges[1:], bins, strict=True):
            bar = "#" * round(_BAR * count / bins.max())
            yield f"  {low:.3f} to {high:.3f} {count:9,} {bar}"


def write_report(
    folder: Path, recipe: Recipe, iterations: Sequence[Iteration], sentence: str
) -> None:
    """Write `report.json`: why the run stopped, the recipe, and each iteration's counts."""
    content = {
        "stopped_because": sentence,
        "recipe": recipe.to_json(),
        "similarity_edges": _edges(recipe),
        "iterations": [_iteration(own) for own in iterations],
    }
    write_text(json.dumps(content, indent=1) + "\n", folder / "report.json")


def _iteration(own: Iteration) -> dict[str, Any]:
    return {
        "iteration": own.number,
        "drafts": own.drafted,
        "accepted": own.added,
        "acceptance_rate": own.added / own.drafted,
        "dropped": dict(own.dropped),
        "duplicate_rate": own.duplicate_rate,
        "total": own.total,
        "weights": dict(own.weights),
        "drafts_by_category": dict(own.drafts),
        "accepted_by_category": dict(own.accepted),
        "category_shares": dict(own.shares),
        "similarity_histogram": list(own.similarities),
        "dead_letters": own.dead_letters,
        "tokens": own.tokens,
    }


def _edges(recipe: Recipe) -> list[float]:
    if recipe.threshold >= 1:
        return []
    return [round(float(edge), 6) for edge in np.linspace(recipe.threshold, 1, HISTOGRAM_BINS + 1)]


def _totals(counts: Any) -> Counter[str]:
    return sum(map(Counter, counts), start=Counter())
