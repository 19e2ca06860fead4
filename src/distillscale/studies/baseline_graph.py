"""The steps of a study's baselines, derived from those of the students that they stand beside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from distillscale.studies.baselines_section import BaselineName
from distillscale.studies.grid import ANSWER_TOKENS, Cell
from distillscale.studies.identity import Step
from distillscale.studies.sources import encoder_source
from distillscale.studies.study_file import Study


@dataclass(frozen=True)
class Baseline:
    """One baseline of a task, as the table of baselines describes it.

    Attributes:
        seed: of its weights and the order of its data; None where nothing is random.
        dataset_size: training examples, the largest number that a student of the task has.
        steps: optimizer steps in all; None where there are none.
    """

    study: str
    task: str
    name: BaselineName
    seed: int | None
    dataset_size: int
    steps: int | None


@dataclass(frozen=True)
class LastStage:
    """The steps of a chain's last stage."""

    distill: Step
    evaluate: Step


MakeStep = Callable[..., Step]
"""Takes kind, params, inputs, name and libraries; knows the kind's version."""


@dataclass(frozen=True)
class _Lesson:
    """What the baselines of a task and seed have in common.

    `cell` is the chain whose shape and steps they take, `end` its last stage.
    """

    study: Study
    cell: Cell
    end: LastStage
    dataset_size: int
    make: MakeStep

    @property
    def dataset(self) -> Step:
        return self.end.evaluate.inputs["dataset"]

    @property
    def steps(self) -> int:
        return self.cell.stages * self.study.distillation.steps

    def named(self, what: str, name: str, *, seeded: bool = True) -> str:
        seed = f" s{self.cell.seed}" if seeded else ""
        return f"{what} {name} {self.cell.task}{seed}"


def baseline_steps(
    study: Study, ends: Mapping[Cell, LastStage], make: MakeStep
) -> tuple[dict[Baseline, Step], dict[str, str]]:
    """What evaluates each baseline of a study, and where the encoder lies, by its digest.

    There is one of each for every task and seed; TF-IDF, which has no seed, for every task. The
    chain of the task that ends smallest gives shape, steps and seeds: the first in the file of
    those that are distilled by `logit`, or, where there is none, by `lora`.

    Args:
        ends: the last stage of every chain that is distilled.
        make: makes a step.

    Raises:
        InputError: the encoder is neither a checkpoint folder nor a hub name.
    """
    names = [name for name in get_args(BaselineName) if name in study.baselines.models]
    if not names:
        return {}, {}
    encoder, paths = None, {}
    if study.baselines.encoder is not None:
        encoder, folder = encoder_source(study.baselines.encoder)
        paths = {} if folder is None else {encoder["digest"]: str(folder.absolute())}
    found: dict[Baseline, Step] = {}
    for lesson in _lessons(study, ends, make):
        for name in names:
            baseline = _baseline(lesson, name)
            if baseline not in found:
                found[baseline] = _evaluated(lesson, name, encoder)
    return found, paths


def _lessons(study: Study, ends: Mapping[Cell, LastStage], make: MakeStep) -> list[_Lesson]:
    """One a task and seed; the seeds of a task all take one chain, so that their mean is of it."""
    smallest: dict[str, Cell] = {}
    for cell in ends:
        if _order(cell) < _order(smallest.setdefault(cell.task, cell)):
            smallest[cell.task] = cell
    largest = {
        task: max(cell.dataset_size for cell in ends if cell.task == task) for task in smallest
    }
    return [
        _Lesson(study, cell, ends[cell], largest[cell.task], make)
        for cell in ends
        if cell == replace(smallest[cell.task], seed=cell.seed, cell=cell.cell)
    ]


def _order(cell: Cell) -> tuple[bool, float]:
    return cell.method != "logit", cell.prune_ratios[-1]


def _baseline(lesson: _Lesson, name: BaselineName) -> Baseline:
    plain = name == "tfidf"
    return Baseline(
        study=lesson.study.name,
        task=lesson.cell.task,
        name=name,
        seed=None if plain else lesson.cell.seed,
        dataset_size=lesson.dataset_size,
        steps=None if plain else lesson.steps,
    )


def _evaluated(lesson: _Lesson, name: BaselineName, encoder: dict[str, Any] | None) -> Step:
    match name:
        case "tfidf":
            return _tfidf(lesson)
        case "encoder":
            return _encoder(lesson, encoder)
        case "same-shape-gold":
            return _taught_gold(lesson)
        case "same-shape-distilled":
            return _taught_by_teacher(lesson)


def _tfidf(lesson: _Lesson) -> Step:
    params, inputs = {"examples": lesson.dataset_size}, {"dataset": lesson.dataset}
    name, libraries = lesson.named("train", "tfidf", seeded=False), ("scikit-learn",)
    model = lesson.make("tfidf", params, inputs, name, libraries=libraries)
    name = lesson.named("evaluate", "tfidf", seeded=False)
    return _classifier(lesson, "tfidf", model, name, libraries)


def _encoder(lesson: _Lesson, source: dict[str, Any] | None) -> Step:
    params = {
        "examples": lesson.dataset_size,
        "steps": lesson.steps,
        "batch_size": lesson.study.distillation.batch_size,
        "seed": lesson.cell.seed,
        **({"source": source} if source else {}),
    }
    libraries = ("torch", "transformers", "tokenizers")  # the last makes a new one's word parts
    inputs, name = {"dataset": lesson.dataset}, lesson.named("train", "encoder")
    model = lesson.make("encoder", params, inputs, name, libraries=libraries)
    return _classifier(lesson, "encoder", model, lesson.named("evaluate", "encoder"), libraries)


def _classifier(
    lesson: _Lesson, kind: str, model: Step, name: str, libraries: tuple[str, ...]
) -> Step:
    params = {
        "classifier": kind,
        "latency_examples": lesson.study.evaluation.latency_examples,
    }
    inputs = {"model": model, "dataset": lesson.dataset}
    return lesson.make("evaluate_classifier", params, inputs, name, libraries=libraries)


def _untaught(lesson: _Lesson) -> Step:
    """A model of the student's shape, with the place in the teacher that the shape was cut from."""
    params, inputs = {"seed": lesson.cell.seed}, {"like": lesson.end.distill.inputs["student"]}
    return lesson.make("random_weights", params, inputs, lesson.named("random", "weights"))


def _taught_gold(lesson: _Lesson) -> Step:
    """Trained as a teacher is corrected; it has nothing to be compared with the teacher for."""
    recipe = lesson.study.distillation
    training = recipe.optimization | {
        "steps": lesson.steps,
        "learning_rate": recipe.learning_rate.logit,
        "seed": lesson.cell.seed,
    }
    params = {"training": training, "examples": lesson.dataset_size}
    inputs = {"teacher": _untaught(lesson), "dataset": lesson.dataset}
    model = lesson.make("correct", params, inputs, lesson.named("train", "same-shape-gold"))
    as_student = lesson.end.evaluate
    asked = {name: value for name, value in as_student.params.items() if name != "truncation"}
    return lesson.make(
        "evaluate",
        asked | {"thinking": "none", "max_new_tokens": ANSWER_TOKENS},
        {"model": model, "dataset": lesson.dataset},
        lesson.named("evaluate", "same-shape-gold"),
        libraries=tuple(as_student.libraries),
    )


def _taught_by_teacher(lesson: _Lesson) -> Step:
    """The student's own distillation and evaluation, of a model that was not cut from anything."""
    as_student, evaluate = lesson.end.distill, lesson.end.evaluate
    settings = {**as_student.params["settings"], "steps": lesson.steps}
    model = lesson.make(
        "distill",
        {**as_student.params, "settings": settings, "dataset_size": lesson.dataset_size},
        {**as_student.inputs, "student": _untaught(lesson)},
        lesson.named("train", "same-shape-distilled"),
        libraries=tuple(as_student.libraries),
    )
    return lesson.make(
        "evaluate",
        evaluate.params,
        {**evaluate.inputs, "model": model},
        lesson.named("evaluate", "same-shape-distilled"),
        libraries=tuple(evaluate.libraries),
    )
