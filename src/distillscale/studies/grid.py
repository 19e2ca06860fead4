"""The cells of a study: every point of its grids, once each."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from distillscale.errors import InputError
from distillscale.studies.schedule_section import Decayed, Explicit, Oneshot, Schedule, Uniform
from distillscale.studies.study_file import Grid, Study

ANSWER_TOKENS = 16
"""Token budget of an answer alone, without reasoning."""


@dataclass(frozen=True)
class Cell:
    """One chain of stages, named and described as in the results table.

    The control that is pruned but never distilled has method, supervision and thinking `none` and
    dataset size 0: nothing is annotated for it. `prune_ratios` is the share of the teacher's
    parameters to keep after each stage.
    """

    study: str
    cell: str
    task: str
    supervision: str
    thinking: str
    method: str
    schedule: str
    stages: int
    dataset_size: int
    seed: int
    prune_ratios: tuple[float, ...]


def cells(study: Study) -> tuple[Cell, ...]:
    """The union of a study's grids, in the file's order; a cell that comes again is left out.

    Raises:
        InputError: two different cells would have the same name.
    """
    found: dict[str, Cell] = {}
    for cell in (cell for grid in study.grids for cell in _cells_of(study.name, grid)):
        if found.setdefault(cell.cell, cell) != cell:
            raise InputError(
                f"study {study.name}: two cells are called `{cell.cell}`, for the tasks "
                f"`{found[cell.cell].task}` and `{cell.task}`; give the files different names."
            )
    return tuple(found.values())


def _cells_of(study: str, grid: Grid) -> Iterator[Cell]:
    axes = (grid.tasks, grid.configurations, grid.thinking, grid.schedules, grid.dataset_sizes)
    for task, configuration, depth, schedule, size, seed in product(*axes, grid.seeds):
        method, _, supervision = configuration.partition("-")
        if configuration == "pruned-only":
            method, supervision, size = "none", "none", 0
        thinking = depth if supervision in ("cot", "blended") else "none"
        parts = [
            task.rpartition("/")[2].removesuffix(".yaml"),
            configuration,
            thinking if thinking != "none" else "",
            schedule_name(schedule),
            f"n{size}" if size else "",
            f"s{seed}",
        ]
        yield Cell(
            study=study,
            cell="_".join(filter(None, parts)),
            task=task,
            supervision=supervision,
            thinking=thinking,
            method=method,
            schedule=schedule.kind,
            stages=len(prune_ratios(schedule)),
            dataset_size=size,
            seed=seed,
            prune_ratios=prune_ratios(schedule),
        )


def schedule_name(schedule: Schedule) -> str:
    """A short name that is different for different schedules: `uniform-5-0.16`."""
    match schedule:
        case Oneshot():
            return f"oneshot-{schedule.prune_ratio}"
        case Uniform():
            return f"uniform-{schedule.stages}-{schedule.prune_ratio}"
        case Decayed():
            return f"decayed-{schedule.stages}-{schedule.prune_ratio}-gamma{schedule.gamma}"
        case Explicit():
            return "explicit-" + "-".join(f"{ratio}" for ratio in schedule.prune_ratios)


def prune_ratios(schedule: Schedule) -> tuple[float, ...]:
    """The share of the teacher to keep after each stage, by `pruning.schedule`."""
    from distillscale.pruning import schedule as pruning  # here, because its package loads torch

    match schedule:
        case Oneshot():
            recipe = pruning.Schedule("oneshot", schedule.prune_ratio)
        case Uniform():
            recipe = pruning.Schedule("uniform", schedule.prune_ratio, schedule.stages)
        case Decayed():
            recipe = pruning.Schedule(
                "decayed", schedule.prune_ratio, schedule.stages, schedule.gamma
            )
        case Explicit():
            recipe = pruning.Schedule("explicit", ratios=schedule.prune_ratios)
    return pruning.prune_ratios(recipe)
