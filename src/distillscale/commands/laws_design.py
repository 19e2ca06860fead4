"""`laws design`: how wide a planned study's intervals will be, and what narrows them most."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from distillscale.commands.planned_study import planned_table
from distillscale.errors import InputError
from distillscale.laws.uncertainty.design import Design, findings
from distillscale.laws.uncertainty.planning import Pilot, designs, expectation, pilot_laws
from distillscale.laws.uncertainty.tables import Pool
from distillscale.results import read_results
from distillscale.studies.baselines_section import Baselines
from distillscale.studies.graph import DEFAULT_SECONDS, study_graph
from distillscale.studies.plan import make_plan
from distillscale.studies.schedule_section import Uniform
from distillscale.studies.store import Store
from distillscale.studies.study_file import Grid, Study, read_study

LEVEL = 0.95
Designs = dict[str, tuple[Pool, Design]]


@dataclass(frozen=True)
class Extra:
    """Cells that could be added: what they are in words, and their grid."""

    words: str
    grid: Grid


def design_study(path: Path, results: Path | None, store_folder: Path) -> None:
    """Print the expected intervals of a planned study's laws, and what narrows them most an hour.

    Args:
        path: the study file.
        results: the results table of a pilot, for curves and noise; None: both are assumed.
        store_folder: the artifact store, for how long steps take.
    """
    study = read_study(path)
    pilot, source, params = _pilot(results)
    planned = _designs(study, study.grids, pilot, source, params)
    if not planned:
        raise InputError(
            f"{path}: no law has more different sizes than parameters; plan at least four dataset "
            "sizes, or a uniform schedule of three stages."
        )
    for name, (pool, design) in planned.items():
        print("\n".join(_expected(name, pool, design)))
    print("\n".join(_extras(study, planned, (pilot, source, params), Store(store_folder))))


def _pilot(results: Path | None) -> tuple[Pilot, str, float]:
    """The pilot's laws, its name, and the size of its teacher."""
    if results is None:
        return {}, "", 1.0
    table = read_results(results)
    teacher = table.loc[table["stage"] == 0, "params"]
    return pilot_laws(table), str(results), float(teacher.median()) if len(teacher) else 1.0


def _designs(
    study: Study, grids: tuple[Grid, ...], pilot: Pilot, source: str, params: float
) -> Designs:
    table = planned_table(study, grids, params)
    found = designs(table, lambda plan: expectation(plan, pilot, source))
    return {name: entry for name, entry in found.items() if entry[0].x != "params_with_embeddings"}


def _expected(name: str, pool: Pool, design: Design) -> Iterator[str]:
    yield f"{name}: {_runs(design)}"
    yield f"  {design.expected.source}"
    for plan, found in zip(pool.plans, design.intervals(LEVEL), strict=True):
        law = design.laws[pool.plans.index(plan)]
        shown = [
            f"{target.name} {float(target.value(law.estimate)[0]):.3g} "
            f"({found.low[0, k]:.3g} to {found.high[0, k]:.3g})"
            for k, target in enumerate(findings(law))
        ]
        yield f"    {plan.group['configuration']:14} {', '.join(shown)}"
    yield ""


def _runs(design: Design) -> str:
    points = len(design.laws[0].runs)
    runs = design.laws[0].runs.count
    return (
        f"{len(design.laws)} laws of {points} points from {runs} runs each; expected 95% intervals"
    )


def _extras(
    study: Study, planned: Designs, pilot: tuple[Pilot, str, float], store: Store
) -> Iterator[str]:
    """What could be added, what gains most an hour first."""
    known = {
        step.key for step in make_plan(study_graph(study).targets, store, DEFAULT_SECONDS).steps
    }
    rows = []
    for extra in _candidates(study):
        hours = _hours(study, extra, store, known)
        if hours is None:
            continue
        after = _designs(study, (*study.grids, extra.grid), *pilot)
        gains = {name: _narrowing(planned[name][1], after[name][1]) for name in planned}
        rows.append((_mean_gain(gains) / max(hours, 1e-3), hours, extra, gains))
    yield "Extra cells, what narrows the intervals most per hour first (hours of one worker):"
    for per_hour, hours, extra, gains in sorted(rows, key=lambda row: -row[0]):
        yield f"  {extra.words}: {hours:.2f} h, {per_hour:.1%} narrower per hour"
        for name, gain in gains.items():
            shown = ", ".join(f"{target} {-share:+.0%}" for target, share in gain.items())
            if any(abs(share) >= 0.005 for share in gain.values()):
                yield f"      {name}: {shown}"
    if not rows:
        yield "  none within this study's training pool and the sizes that can be pruned to"


def _candidates(study: Study) -> Iterator[Extra]:
    """One thing more for each grid: a seed, a dataset size, a stage."""
    for number, grid in enumerate(study.grids):
        seed = max(grid.seeds) + 1
        yield Extra(
            f"grids[{number}]: another seed, seeds: [{seed}]",
            grid.model_copy(update={"seeds": (seed,)}),
        )
        for size in _sizes(grid):
            yield Extra(
                f"grids[{number}]: another dataset size, dataset_sizes: [{size}]",
                grid.model_copy(update={"dataset_sizes": (size,)}),
            )
        longer = [_longer(schedule) for schedule in grid.schedules if schedule.kind == "uniform"]
        for schedule in longer:
            yield Extra(
                f"grids[{number}]: one stage more, {{kind: uniform, stages: {schedule.stages}, "
                f"prune_ratio: {schedule.prune_ratio:.4g}}}",
                grid.model_copy(update={"schedules": (schedule,)}),
            )


def _sizes(grid: Grid) -> list[int]:
    """Below the smallest dataset size by the usual step, and halfway between neighbours."""
    sizes = np.array(sorted(set(grid.dataset_sizes)), dtype=float)
    if len(sizes) < 2:
        return []
    step = float(np.median(sizes[1:] / sizes[:-1]))
    wanted = [sizes[0] / step, *np.sqrt(sizes[1:] * sizes[:-1])]
    return [round(size) for size in wanted if size >= 1]


def _longer(schedule: Uniform) -> Uniform:
    """The same cut a stage, one stage more."""
    ratio = schedule.prune_ratio ** ((schedule.stages + 1) / schedule.stages)
    return Uniform(kind="uniform", stages=schedule.stages + 1, prune_ratio=round(ratio, 4))


def _hours(study: Study, extra: Extra, store: Store, known: set[str]) -> float | None:
    """What the extra cells cost beyond the study's own steps; None where they cannot be made."""
    dataset = study.dataset.model_copy(update={"train": study.train_examples})
    alone = study.model_copy(
        update={"grids": (extra.grid,), "dataset": dataset, "baselines": Baselines()}
    )
    try:
        plan = make_plan(study_graph(alone).targets, store, DEFAULT_SECONDS)
    except InputError:  # a ratio that the teacher cannot be pruned to
        return None
    return sum(plan.seconds[step] for step in plan.missing if step.key not in known) / 3600


def _narrowing(before: Design, after: Design) -> dict[str, float]:
    """By which share the intervals of each parameter narrow, the mean over the laws."""
    names = [target.name for target in findings(before.laws[0])]
    now, then = (design.reaches(LEVEL).mean(axis=0) for design in (before, after))
    gain = np.divide(now - then, now, out=np.zeros_like(now), where=now > 0)
    return dict(zip(names, gain.tolist(), strict=True))


def _mean_gain(gains: dict[str, dict[str, float]]) -> float:
    return float(np.mean([share for gain in gains.values() for share in gain.values()]))


def designs_of(study: Study, table: pd.DataFrame, source: str) -> Designs:
    """The designs of a study with curves and noise of a results table."""
    teacher = float(table.loc[table["stage"] == 0, "params"].median())
    return _designs(study, study.grids, pilot_laws(table), source, teacher)
