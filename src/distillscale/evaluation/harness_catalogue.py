"""A benchmark of lm-evaluation-harness by its name: its tasks, its metric, and how they are pooled.

The metric is the first of the harness's own for the task that is a share of right answers
(`SHARES`): `acc` for MMLU and ARC, `exact_match` for MMLU-Pro and GSM8K. Where a task filters its
answers in several ways, the first way counts.

MMLU and MMLU-Pro come from the hub, or from question files on this machine. The tasks are the
harness's own either way (prompts, solved questions, scoring); only where their rows come from is
replaced.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from distillscale.errors import InputError
from distillscale.evaluation.harness_backend import lm_eval, no_hub_code, quiet
from distillscale.evaluation.question_files import Splits, read_mmlu, read_mmlu_pro

SHARES = ("acc", "exact_match", "em", "acc_norm", "prompt_level_strict_acc")
"""Metrics that are 0 or 1 for each question, averaged."""

CUSTOMARY_SHOTS = {"mmlu": 5, "mmlu_pro": 5}
"""Solved questions in the prompt, as the field reports the two (assumption: the paper too)."""

LOCAL_FOLDERS = {"mmlu": "mmlu/default", "mmlu_pro": "mmlu_pro"}
"""Benchmarks that can be read from files, and where the harness keeps their tasks."""

SOLVED_PRO = "data/validation-00000-of-00001.parquet of TIGER-Lab/MMLU-Pro on the hub"
"""Where MMLU-Pro's solved questions are published."""

_FEW_SHOT_SEED = 1234  # the harness's default: the same solved questions as `lm_eval` draws


@dataclass(frozen=True)
class Benchmark:
    """What the harness knows by one name, ready to be asked.

    Attributes:
        tasks: the harness's task objects, by their names.
        by_size: whether each question weighs the same; else each task does.
        metric: the share of right answers that is reported.
        shots: solved questions in the prompts; the most that any task shows.
    """

    name: str
    tasks: dict[str, Any]
    by_size: bool
    metric: str
    shots: int


def load_benchmark(
    name: str,
    *,
    questions: Path | None = None,
    shots: int | None = None,
    max_new_tokens: int | None = None,
) -> Benchmark:
    """Load a task or group of the harness, and its questions.

    Args:
        questions: folder of question files; None takes the hub's (see `LOCAL_FOLDERS`).
        shots: solved questions in the prompt; None is what is customary, or else the task's own.
        max_new_tokens: largest length of a free-text answer; None is the task's own.

    Raises:
        InputError: the name is unknown, its questions cannot be had, it reports no share of right
            answers, it asks for more than text, or there are not as many solved questions.
    """
    manager = _manager(name)
    if questions is None:
        _check_known(name, manager)
        loaded = _load(manager, name, name)
        by_size = _by_size(name, loaded)
    else:
        loaded = _load(manager, _local_specs(name, questions), name)
        by_size = bool(pooling(name)[0]["weight_by_size"])
    tasks: dict[str, Any] = loaded["tasks"]
    for task in tasks.values():
        _refuse_more_than_text(name, task)
    shots = CUSTOMARY_SHOTS.get(name) if shots is None else shots
    asked = [_prepare(name, task, shots, max_new_tokens) for task in tasks.values()]
    return Benchmark(name, tasks, by_size, _metric(name, tasks), max(asked))


def check_benchmark_names(names: Iterable[str]) -> None:
    """Make sure that the harness knows names, without loading any question.

    Raises:
        InputError: one is unknown; lists the nearest.
    """
    for name in names:
        _check_known(name, _manager(name))


def local_rows(name: str, folder: Path, validation: Path | None = None) -> dict[str, Splits]:
    """The rows of question files, by the harness's task that asks them.

    Args:
        name: of the benchmark.
        folder: of its files.
        validation: file of MMLU-Pro's solved questions, where it lies elsewhere.

    Raises:
        InputError: there is no such benchmark of files, or a file is wrong.
    """
    if name not in LOCAL_FOLDERS:
        known = ", ".join(LOCAL_FOLDERS)
        raise InputError(f"`{name}` is not read from question files; those of {known} are.")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of question files.")
    manager = _manager(name)
    tasks = {task: manager.task_index[task].cfg for task in manager.all_subtasks}
    if name == "mmlu_pro":
        splits = read_mmlu_pro(folder, validation)
        return dict.fromkeys(tasks, splits)  # each task takes its own category
    if validation is not None:
        raise InputError(
            f"--validation {validation}: `{name}` has its solved questions in the folder, "
            "dev/SUBJECT_dev.csv; only mmlu_pro takes such a file."
        )
    subjects = {config["dataset_name"]: task for task, config in tasks.items()}
    rows = read_mmlu(folder, sorted(subjects))
    return {subjects[subject]: splits for subject, splits in rows.items()}


def pooling(name: str) -> list[dict[str, Any]]:
    """How the harness pools the tasks of one of `LOCAL_FOLDERS`."""
    return list(_manager(name).task_index[name].cfg["aggregate_metric_list"])


@cache
def _manager(name: str) -> Any:
    """The harness's index: of all its tasks (seconds), or of one benchmark's folder."""
    package = lm_eval("tasks")
    if name not in LOCAL_FOLDERS:
        return _full_manager()
    folder = Path(package.__file__).parent / LOCAL_FOLDERS[name]
    return package.TaskManager(include_defaults=False, include_path=str(folder))


@cache
def _full_manager() -> Any:
    return lm_eval("tasks").TaskManager()


def _check_known(name: str, manager: Any) -> None:
    if name in manager.task_index:
        return
    near = get_close_matches(name, manager.all_tasks, n=5, cutoff=0.6)
    hint = f"near it are {', '.join(near)}" if near else "`lm_eval ls tasks` lists its names"
    raise InputError(f"unknown benchmark `{name}`: lm-evaluation-harness has no such task; {hint}.")


def _local_specs(name: str, folder: Path) -> list[dict[str, Any]]:
    """The harness's own tasks, told to take their rows from files."""
    index = _manager(name).task_index
    load_yaml = lm_eval("tasks._yaml_loader").load_yaml
    specs: list[dict[str, Any]] = []
    sources: dict[int, Callable[..., Any]] = {}
    for task, splits in local_rows(name, folder).items():
        if id(splits) not in sources:  # MMLU-Pro's tasks share theirs
            sources[id(splits)] = _source(splits)
        source = sources[id(splits)]
        specs.append(load_yaml(index[task].yaml_path) | {"custom_dataset": source})
    return specs


def _source(splits: Splits) -> Callable[..., Any]:
    """What the harness calls for a task's rows instead of downloading them."""
    datasets = import_module("datasets")  # comes with the harness
    tables = datasets.DatasetDict(
        {
            # An empty split has the columns of the test rows: the harness looks at it.
            split: datasets.Dataset.from_list(rows or splits["test"]).select(range(len(rows)))
            for split, rows in splits.items()
        }
    )
    return lambda **_: tables


def _load(manager: Any, spec: Any, name: str) -> Any:
    """Build the harness's tasks, which downloads what does not come from files."""
    try:
        with quiet(), no_hub_code():
            return manager.load(spec)
    except Exception as error:  # each of its thousands of tasks may fail in a way of its own
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        advice = ""
        if name in LOCAL_FOLDERS:
            advice = "; without the hub, name a folder of question files"
        raise InputError(f"benchmark `{name}` cannot be loaded ({reason}){advice}.") from error


def _refuse_more_than_text(name: str, task: Any) -> None:
    if getattr(task, "UNSAFE_CODE", False):
        raise InputError(f"benchmark `{name}` runs the code that a model writes; that is not done.")
    if getattr(task, "MULTIMODAL", False):
        raise InputError(f"benchmark `{name}` shows pictures or sound; take one of text.")


def _prepare(name: str, task: Any, shots: int | None, max_new_tokens: int | None) -> int:
    """Set a task's prompts and budget; the number of solved questions that it will show."""
    own = task.get_config("num_fewshot")
    shots = own or 0 if shots is None or own == 0 else shots  # as the harness: 0 is never raised
    available = len(task.sampler.df) if hasattr(task, "sampler") else shots
    if shots > available:
        add = "or add them"
        if name == "mmlu_pro":
            add = f"or add {SOLVED_PRO} to the folder of its questions"
        raise InputError(
            f"benchmark `{name}`: {task.task_name} has {available} solved questions for its "
            f"prompts, fewer than {shots} shots; ask with at most {available} (`--shots "
            f"{available}`, in a study `harness.shots`), {add}."
        )
    task.set_config(key="num_fewshot", value=shots)
    task.set_fewshot_seed(seed=_FEW_SHOT_SEED)
    if max_new_tokens is not None and task.OUTPUT_TYPE == "generate_until":
        task.set_config(
            key="generation_kwargs", value={"max_gen_toks": max_new_tokens}, update=True
        )
    return shots


def _by_size(name: str, loaded: Any) -> bool:
    """Whether the harness pools a group's questions, or takes the mean of its tasks."""
    if len(loaded["tasks"]) == 1:
        return True
    group = loaded.get("groups", {}).get(name)
    if group is None or not group.aggregate_metric_list:
        tasks = ", ".join(sorted(loaded["tasks"])[:5])
        raise InputError(
            f"benchmark `{name}` names {len(loaded['tasks'])} tasks that the harness does not "
            f"pool; name the tasks themselves ({tasks}, ...)."
        )
    return bool(group.aggregate_metric_list[0].weight_by_size)


def _metric(name: str, tasks: Mapping[str, Any]) -> str:
    """The first share of right answers that every task reports."""
    reported = [list(task.aggregation()) for task in tasks.values()]
    for metric in reported[0]:
        if metric in SHARES and all(metric in others for others in reported):
            return metric
    raise InputError(
        f"benchmark `{name}` reports {', '.join(map(str, reported[0]))}, which is no share of "
        f"right answers; a benchmark must report one of {', '.join(SHARES)}."
    )
