"""Whether a study's schedules can be pruned to, found out before anything is computed."""

from pathlib import Path

from distillscale.errors import InputError
from distillscale.models.checkpoint import load_config
from distillscale.pruning import Reach, params_of, shape_of, shapes_of_size
from distillscale.studies.grid import prune_ratios
from distillscale.studies.schedule_section import Schedule
from distillscale.studies.study_file import Study


def check_reach(study: Study, teacher: Path | None, field: str | None = None) -> None:
    """Make sure that every prune ratio of a study can be reached from its teacher.

    The shapes of each chain are followed through its stages from the config alone. Where several
    candidates are tried the evenest one is followed, and a chain that takes another may still
    meet a size that it cannot reach.

    Args:
        teacher: folder of the teacher; None where it is on the hub, and nothing is checked.
        field: what the user called the schedule, for the sentence of an error; left out, its
            place in the study file.

    Raises:
        InputError: a ratio cannot be reached within the tolerance (the sentence says what can),
            or the teacher cannot be pruned, or not along the study's axes.
    """
    if teacher is None:
        return
    for number, grid in enumerate(study.grids):
        for place, schedule in enumerate(grid.schedules):
            name = field or f"grids[{number}].schedules[{place}]"
            _follow(study, teacher, schedule, name)


def _follow(study: Study, teacher: Path, schedule: Schedule, name: str) -> None:
    config = load_config(teacher)
    original = shape = shape_of(config)
    axes, multiple = study.pruning.axes, study.pruning.multiple
    for stage, ratio in enumerate(prune_ratios(schedule), start=1):
        reach = Reach(config, shape, original, axes, multiple)
        try:
            (shape,) = shapes_of_size(reach, round(ratio * params_of(config, original)))
        except InputError as error:
            raise InputError(f"{name}, stage {stage}: {error}") from error
