"""From a study to the graph of its steps. Cells that begin alike share their first stages."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from distillscale.errors import InputError
from distillscale.lab.questions import BENCHMARKS as LAB_BENCHMARKS
from distillscale.models.checkpoint import load_config
from distillscale.models.top_log_probs import Truncation
from distillscale.studies.baseline_graph import Baseline, LastStage, baseline_steps
from distillscale.studies.grid import ANSWER_TOKENS, Cell, cells
from distillscale.studies.harness_recipe import harness_recipe
from distillscale.studies.identity import Step, library_versions
from distillscale.studies.reach import check_reach
from distillscale.studies.sources import (
    Sources,
    data_file,
    digest,
    local_teacher,
    teacher_source,
)
from distillscale.studies.study_file import Study
from distillscale.tasks import Task, builtin_tasks, load_task

VERSIONS = {
    "teacher": 1,
    "dataset": 1,
    "correct": 2,
    "traces": 1,
    "teacher_logits": 2,
    "prune": 2,
    "distill": 3,
    "evaluate": 3,
    "random_weights": 1,
    "tfidf": 1,
    "encoder": 1,
    "evaluate_classifier": 1,
}
"""Version of each kind of step: raise it when a change of code changes its results."""

NEAR_DUPLICATES: Mapping[str, Any] = {"embedder": "hashed", "threshold": 0.9}
"""What counts as a near-duplicate of a user's text; the cosine is the paper's."""

_MODEL_LIBRARIES: tuple[str, ...] = ("torch", "transformers")
_HARNESS_LIBRARIES = ("lm-eval", "datasets")
_versions = cache(library_versions)  # a study has thousands of steps, a look-up takes milliseconds

DEFAULT_SECONDS = {
    "teacher": 1.0,
    "dataset": 4.0,
    "correct": 60.0,
    "traces": 20.0,
    "teacher_logits": 4.0,
    "prune": 2.0,
    "distill": 15.0,
    "evaluate": 6.0,
    "random_weights": 1.0,
    "tfidf": 3.0,
    "encoder": 15.0,
    "evaluate_classifier": 1.0,
}
"""What a step takes on one core with the lab teacher, for estimates before anything was run."""


@dataclass(frozen=True)
class StageSteps:
    """The steps behind one stage of a cell; stage 0, the teacher, is only evaluated."""

    stage: int
    evaluate: Step
    distill: Step | None = None


@dataclass(frozen=True)
class StudyGraph:
    """All cells of a study with the steps of their stages, and where external inputs lie.

    `baselines`: of each the step that evaluates it.
    """

    stages: Mapping[Cell, tuple[StageSteps, ...]]
    sources: Sources
    datasets: Mapping[str, Step] = field(default_factory=dict)
    traces: Mapping[tuple[str, str], Step] = field(default_factory=dict)
    baselines: Mapping[Baseline, Step] = field(default_factory=dict)

    @property
    def targets(self) -> tuple[Step, ...]:
        """The steps whose results the study is about."""
        students = [stage.evaluate for chain in self.stages.values() for stage in chain]
        return tuple(dict.fromkeys([*students, *self.baselines.values()]))


def study_graph(study: Study, tasks: Mapping[str, Task] | None = None) -> StudyGraph:
    """Lay out the steps of every cell of a study.

    Args:
        study: what to run.
        tasks: the tasks by the names that the grids use; left out, they are loaded.

    Raises:
        InputError: a task, the teacher or a data file is missing or wrong, or a prune ratio cannot
            be reached.
    """
    builder = _Builder(study, tasks or {})
    teacher = local_teacher(study.teacher.model)
    check_reach(study, teacher)
    top_k, temperature = study.distillation.teacher_top_k, study.distillation.temperature
    if teacher is not None and top_k is not None:
        Truncation(top_k, temperature).check(load_config(teacher).vocab_size)
    stages = {cell: builder.chain(cell) for cell in cells(study)}
    baselines = builder.baselines(stages)
    return StudyGraph(stages, builder.sources, builder.datasets, builder.train_traces, baselines)


class _Builder:
    """Makes the steps of one study; steps that are equal are one by their keys."""

    def __init__(self, study: Study, tasks: Mapping[str, Task]) -> None:
        self._study = study
        self._tasks = dict(tasks)
        self._paths: dict[str, str] = {}
        identity, folder = teacher_source(study.teacher.model, study.teacher.revision)
        if folder is not None:
            self._paths[identity["digest"]] = str(folder.absolute())
        self._teacher = Step("teacher", identity, version=VERSIONS["teacher"])
        self._benchmarks = _benchmarks(study)
        self._harness, folders = harness_recipe(study, self._benchmarks)
        self._paths |= folders
        self._file_digests: dict[str, str] = {}
        self.datasets: dict[str, Step] = {}
        self.train_traces: dict[tuple[str, str], Step] = {}

    @property
    def sources(self) -> Sources:
        return Sources(self._paths)

    def chain(self, cell: Cell) -> tuple[StageSteps, ...]:
        """The stages of a cell, from the teacher to the smallest student."""
        traces = self._traces(cell.task, cell.thinking, "train")
        self.train_traces[cell.task, cell.thinking] = traces
        model = self._corrected_teacher(cell.task)
        stages = [StageSteps(0, self._evaluate(cell, model, 0))]
        for stage, ratio in enumerate(cell.prune_ratios, start=1):
            model = self._prune(cell, model, stage, ratio)
            distill = None
            if cell.method != "none":
                model = distill = self._distill(cell, model, traces, stage)
            evaluate = self._evaluate(cell, model, stage, distill)
            stages.append(StageSteps(stage, evaluate, distill))
        return tuple(stages)

    def baselines(self, stages: Mapping[Cell, tuple[StageSteps, ...]]) -> Mapping[Baseline, Step]:
        """What the study compares its students with."""
        ends = {
            cell: LastStage(chain[-1].distill, chain[-1].evaluate)
            for cell, chain in stages.items()
            if chain[-1].distill is not None
        }
        steps, paths = baseline_steps(self._study, ends, self._step)
        self._paths |= paths
        return steps

    def _dataset(self, task_name: str) -> Step:
        if task_name not in self.datasets:
            data = self._study.dataset
            task = self._tasks.get(task_name) or load_task(task_name)
            idle = {"source", "test_source"}
            if data.source == "lab":
                _check_lab_writes(task)
            else:
                idle |= {"questions"}
            params = data.model_dump(exclude=idle, exclude_none=True)
            params |= {"task": asdict(task), "train": self._study.train_examples}
            if data.source != "lab":  # how leakage is guarded against; the lab repeats no text
                params["near_duplicates"] = dict(NEAR_DUPLICATES)
            for name in ("source", "test_source"):
                params[name] = self._external(getattr(data, name), f"dataset.{name}")
            self.datasets[task_name] = self._step(
                "dataset",
                params,
                {},
                f"dataset {task_name}",
                libraries=("scikit-learn",),  # places the points of the map
            )
        return self.datasets[task_name]

    def _external(self, source: str | None, field: str) -> dict[str, str] | str | None:
        """A file is named by its digest; `lab` and names on the hub stand for themselves."""
        file = None if source in (None, "lab") else data_file(source, field)
        if source is None or file is None:
            return source
        if source not in self._file_digests:
            self._file_digests[source] = digest(file)
            self._paths[self._file_digests[source]] = str(file.absolute())
        return {"digest": self._file_digests[source]}

    def _corrected_teacher(self, task_name: str) -> Step:
        steps = self._study.teacher.correction_steps
        if steps == 0:
            return self._teacher
        recipe = self._study.distillation
        training = recipe.optimization | {
            "steps": steps,
            "learning_rate": recipe.learning_rate.logit,
            "seed": self._study.dataset.seed,
        }
        inputs = {"teacher": self._teacher, "dataset": self._dataset(task_name)}
        params = {"training": training, **self._number_format}
        return self._step("correct", params, inputs, f"correct {task_name}")

    def _traces(self, task_name: str, thinking: str, split: str) -> Step:
        annotation = self._study.annotation
        wanted = self._study.train_examples
        if split == "validation":
            wanted = self._study.evaluation.held_out_traces
        params = {
            "split": split,
            "examples": wanted,
            "thinking": thinking,
            "max_new_tokens": self._budget(thinking),
            "temperature": annotation.temperature,
            "seed": self._study.dataset.seed,
            "batch_size": annotation.batch_size,
            **self._number_format,
        }
        if annotation.served_model is not None:
            params = {k: v for k, v in params.items() if k not in ("batch_size", "dtype")}
            params["served_model"] = annotation.served_model
        if split == "train" and annotation.filter == "gold":
            params["gold_answers"] = True
        inputs = {
            "teacher": self._corrected_teacher(task_name),
            "dataset": self._dataset(task_name),
        }
        return self._step("traces", params, inputs, f"traces {task_name} {thinking} {split}")

    def _logits(self, task_name: str, thinking: str, split: str) -> Step:
        """Held-out traces are cached exactly, so that what truncation hides can be measured."""
        traces = self._traces(task_name, thinking, split)
        params = self._number_format | (self._truncation if split == "train" else {})
        inputs = {"teacher": self._corrected_teacher(task_name), "traces": traces}
        name = traces.name.replace("traces", "teacher_logits", 1)
        return self._step("teacher_logits", params, inputs, name)

    def _prune(self, cell: Cell, model: Step, stage: int, ratio: float) -> Step:
        params = {"prune_ratio": ratio, **_pruning(self._study, cell.seed), **self._number_format}
        inputs = {
            "model": model,
            "teacher": self._corrected_teacher(cell.task),
            "traces": self._traces(cell.task, cell.thinking, "train"),
        }
        return self._step("prune", params, inputs, f"prune {cell.cell} stage {stage}")

    def _distill(self, cell: Cell, student: Step, traces: Step, stage: int) -> Step:
        study = self._study
        recipe = study.distillation.model_dump(exclude={"teacher", "teacher_top_k"})
        recipe["learning_rate"] = recipe["learning_rate"][cell.method]
        settings = recipe | {
            "method": cell.method,
            "supervision": cell.supervision,
            "seed": cell.seed,
        }
        params = {
            "settings": _without_idle(settings),
            "dataset_size": cell.dataset_size,
            "filter": study.annotation.filter,
            **self._number_format,
        }
        inputs = {"student": student, "traces": traces}
        if study.distillation.teacher == "online" and _asks_teacher(settings):
            inputs["teacher"] = self._corrected_teacher(cell.task)
        elif _minimizes_divergence(settings):
            inputs["teacher_logits"] = self._logits(cell.task, cell.thinking, "train")
        libraries = _MODEL_LIBRARIES + (("peft",) if cell.method == "lora" else ())
        name = f"distill {cell.cell} stage {stage}"
        return self._step("distill", params, inputs, name, libraries=libraries)

    def _evaluate(self, cell: Cell, model: Step, stage: int, distill: Step | None = None) -> Step:
        """Truncation is measured in students that saw truncated distributions."""
        evaluation = self._study.evaluation
        saw_cache = distill is not None and "teacher_logits" in distill.inputs
        params = {
            "thinking": cell.thinking,
            "max_new_tokens": self._budget(cell.thinking),
            "benchmarks": self._benchmarks,
            "latency_examples": evaluation.latency_examples,
            "batch_size": evaluation.batch_size,
            **({"harness": self._harness} if self._harness else {}),
            **self._number_format,
            **(self._truncation if saw_cache else {}),
        }
        inputs = {
            "model": model,
            "dataset": self._dataset(cell.task),
            "traces": self._traces(cell.task, cell.thinking, "validation"),
            "teacher_logits": self._logits(cell.task, cell.thinking, "validation"),
        }
        libraries = _MODEL_LIBRARIES + (_HARNESS_LIBRARIES if self._harness else ())
        name = f"evaluate {cell.cell} stage {stage}"
        return self._step("evaluate", params, inputs, name, libraries=libraries)

    @property
    def _truncation(self) -> dict[str, Any]:
        """How teachers' distributions are cut for training; nothing where they are kept whole."""
        recipe = self._study.distillation
        if recipe.teacher_top_k is None:
            return {}
        cut = {"top_k": recipe.teacher_top_k, "temperature": recipe.temperature}
        return {"truncation": cut}

    @property
    def _number_format(self) -> dict[str, Any]:
        return {"dtype": self._study.teacher.dtype}

    def _budget(self, thinking: str) -> int:
        """Token budget of a completion; an answer alone needs few."""
        budgets = self._study.annotation.max_new_tokens.model_dump() | {"none": ANSWER_TOKENS}
        return int(budgets[thinking])

    @staticmethod
    def _step(
        kind: str,
        params: Mapping[str, Any],
        inputs: Mapping[str, Step],
        name: str,
        *,
        libraries: tuple[str, ...] = _MODEL_LIBRARIES,
    ) -> Step:
        return Step(kind, params, inputs, VERSIONS[kind], _versions(*libraries), name)


def _benchmarks(study: Study) -> list[str]:
    """The benchmarks that can be measured: questions of the lab come with the lab's data only.

    Raises:
        InputError: benchmarks of the lab and of the hub are asked for together.
    """
    wanted: list[str] = sorted(set(study.evaluation.benchmarks))
    on_hub = [name for name in wanted if name not in LAB_BENCHMARKS]
    if study.dataset.source != "lab":
        return on_hub
    if on_hub and on_hub != wanted:
        raise InputError(
            f"evaluation.benchmarks {', '.join(wanted)}: those of the lab and those of the hub "
            "ask for different models; name one kind only."
        )
    return wanted


def _check_lab_writes(task: Task) -> None:
    """Make sure that the lab's examples of a task have labels that the task knows.

    Raises:
        InputError: the task is not built in, or a file of that name lacks one of its classes.
    """
    name, known = task.name, builtin_tasks()
    if name not in known or not set(load_task(name).labels) <= set(task.labels):
        raise InputError(
            f"task {name}: with dataset.source `lab` it must be one of "
            f"{', '.join(known)} with all classes; name a labelled file for other tasks."
        )


def _pruning(study: Study, seed: int) -> dict[str, Any]:
    """How the study prunes: settings only for what may be cut, a seed only for chance."""
    settings = study.pruning.model_dump()
    axes = sorted(set(settings["axes"]))
    used = {
        "layer_criterion": "depth" in axes,
        "channel_criterion": axes != ["depth"],
        "multiple": "mlp" in axes or "hidden" in axes,
    }
    idle = [name for name, is_used in used.items() if not is_used]
    settings = {name: value for name, value in settings.items() if name not in idle}
    if "random" in settings.values():
        settings["seed"] = seed
    return settings | {"axes": axes}


def _minimizes_divergence(settings: Mapping[str, Any]) -> bool:
    """Whether a distillation compares the student's distributions with the teacher's."""
    return settings["method"] == "logit" or settings["lora_objective"] == "divergence"


def _asks_teacher(settings: Mapping[str, Any]) -> bool:
    """Whether a distillation reads anything of the teacher but its traces."""
    return _minimizes_divergence(settings) or settings["hidden_weight"] > 0


def _without_idle(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that this method and supervision read: the others are no part of identity."""
    compares = _minimizes_divergence(settings)
    readers = {
        ("lora_rank", "lora_alpha", "lora_objective"): settings["method"] == "lora",
        ("divergence", "temperature", "gold_mixing", "on_policy"): compares,
        ("jensen_shannon_beta",): compares and settings["divergence"] == "jensen_shannon",
        ("answer_weight", "reasoning_anchor", "answer_anchor"): (
            compares and settings["supervision"] == "blended"
        ),
    }
    idle = {name for names, read in readers.items() if not read for name in names}
    return {name: value for name, value in settings.items() if name not in idle}
