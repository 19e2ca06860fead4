"""The part of a study file that makes a recommended model, or a whole file for it."""

import io
from typing import Any

from ruamel.yaml import YAML

from distillscale.errors import InputError
from distillscale.laws.advice import Candidate
from distillscale.studies.grid import cells, prune_ratios
from distillscale.studies.study_file import Study

_DIGITS = 4


def grid_of(candidate: Candidate, *, seed: int, largest: int) -> dict[str, Any]:
    """The grid of one cell that makes a model: its chain up to there, by the ratios it kept.

    Args:
        candidate: the model, not the teacher.
        seed: of the new run.
        largest: dataset size of models that are only pruned, which do not depend on it.
    """
    return _grid(
        candidate, _by_ratios([round(r, _DIGITS) for r in candidate.ratios]), seed, largest
    )


def study_of(candidate: Candidate, study: Study, *, seed: int) -> dict[str, Any]:
    """The study file with one cell in place of its own, all else as it was.

    The pool of training examples stays as large as it was, so that data and splits stay the same,
    unless the cell asks for more than there are.

    Raises:
        InputError: the study has no such cell.
    """
    chain = candidate.anchor or candidate
    kept = next((c.prune_ratios for c in cells(study) if c.cell in chain.cells), None)
    if kept is None:
        raise InputError(
            f"--study: study {study.name} has no cell `{chain.cells[0]}`; give the file that the "
            "results were made from."
        )
    content = study.model_dump(mode="json", exclude_unset=True)
    content["name"] = f"{study.name}-next"
    pool = max(study.train_examples, candidate.dataset_size)
    content["dataset"]["train"] = pool
    schedule = _schedule(candidate, study, kept)
    content["grids"] = [_grid(candidate, schedule, seed, pool)]
    content.pop("baselines", None)  # they were measured; this is about the one model
    return content


def as_yaml(content: dict[str, Any]) -> str:
    """YAML in the key order of the content, lists of plain values on one line."""
    writer, text = YAML(), io.StringIO()
    writer.default_flow_style = None
    writer.width = 100
    writer.dump(content, text)
    return text.getvalue()


def _grid(
    candidate: Candidate, schedule: dict[str, Any], seed: int, largest: int
) -> dict[str, Any]:
    pruned_only = candidate.method == "none"
    name = "pruned-only" if pruned_only else f"{candidate.method}-{candidate.supervision}"
    thinking = {} if candidate.thinking == "none" else {"thinking": [candidate.thinking]}
    return {
        "tasks": [candidate.task],
        "configurations": [name],
        **thinking,
        "schedules": [schedule],
        "dataset_sizes": [largest if pruned_only else candidate.dataset_size],
        "seeds": [seed],
    }


def _schedule(candidate: Candidate, study: Study, kept: tuple[float, ...]) -> dict[str, Any]:
    """The study's own schedule where the model is at its end, else its ratios up to the model."""
    if candidate.prune_ratio == (candidate.anchor or candidate).prune_ratio:
        stage = (candidate.anchor or candidate).stage
        if stage == len(kept):
            own = (s for grid in study.grids for s in grid.schedules if prune_ratios(s) == kept)
            return next(own).model_dump(mode="json")
        return _by_ratios([round(ratio, _DIGITS) for ratio in kept[:stage]])
    larger = [round(r, _DIGITS) for r in kept if r > candidate.prune_ratio]
    return _by_ratios([*larger, round(candidate.prune_ratio, _DIGITS)])


def _by_ratios(ratios: list[float]) -> dict[str, Any]:
    if len(ratios) == 1:
        return {"kind": "oneshot", "prune_ratio": ratios[0]}
    return {"kind": "explicit", "prune_ratios": ratios}
