"""`data instruct`: look for a better instruction for a teacher, and measure it."""

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from distillscale.commands.output import check_new_folder
from distillscale.data.embedding import load_embedder
from distillscale.data.examples import TASK_FILE
from distillscale.data.importing import write_task
from distillscale.data.labelled_file import read_labelled_file
from distillscale.data.leakage import grouped_split
from distillscale.data.split import labelled_examples
from distillscale.errors import InputError
from distillscale.evaluation.measurement import Measurement
from distillscale.evaluation.metrics import Floats, Indices, macro_f1, measure
from distillscale.models.endpoint import Budget, Endpoint, EndpointSettings
from distillscale.tasks import Example, Task, load_task
from distillscale.tasks.prompt import Thinking
from distillscale.teachers.endpoint import AskedText, Asking
from distillscale.teachers.instruction import (
    BudgetEnded,
    Labels,
    Reserve,
    Search,
    Trial,
    ask_labels,
    find_instruction,
    with_instruction,
)
from distillscale.teachers.instruction_search import require_dspy

_METRIC = "macro_f1"


@dataclass(frozen=True)
class InstructRequest:
    """What a user asks `data instruct` for; see the command's help for each field."""

    file: Path
    task: str
    text_column: str
    label_column: str
    train: int
    validation: int
    proposals: int
    rounds: int
    thinking: str
    max_new_tokens: int
    token_budget: int
    seed: int


@dataclass(frozen=True)
class _Outcome:
    """What came of it. `after` and `gain` are missing where the best could not be measured, or is
    the current instruction; `gain` is on the same resamples of the validation texts as both."""

    before: Measurement
    after: Measurement | None
    gain: Measurement | None
    unparsed_before: int
    unparsed_after: int | None
    search: Search
    conclusion: str

    @property
    def better(self) -> bool:
        """Whether the best instruction found is to be written."""
        return self.gain is not None and self.gain.value is not None and self.gain.value > 0


def improve_instruction(request: InstructRequest, settings: EndpointSettings, out: Path) -> None:
    """Write a folder with the report and, where a better instruction was found, the task with it.

    Raises:
        InputError: an option or the file is wrong, DSPy is not installed, or the budget does not
            last for the current instruction; nothing is written then.
        EndpointFailed: the endpoint left texts without an answer; nothing is written then.
    """
    check_new_folder(out, "--out")
    asking = _asking(request)
    settings.api_key()
    require_dspy()
    task = load_task(request.task)
    train, validation = _parts(request, task)
    budget = Budget(tokens=request.token_budget)
    endpoint = Endpoint(settings, budget)
    outcome = _search(request, endpoint, budget, task, train, validation, asking)
    report = _report(request, settings, endpoint, outcome, len(train), len(validation))
    better = with_instruction(task, outcome.search.best.instruction) if outcome.better else None
    _write(report, better, out.absolute())
    _print(outcome, endpoint, out)


def _search(
    request: InstructRequest,
    endpoint: Endpoint,
    budget: Budget,
    task: Task,
    train: list[Example],
    validation: list[Example],
    asking: Asking,
) -> _Outcome:
    held_out = _texts(validation)
    try:
        labels = ask_labels(endpoint, task, held_out, asking)
    except BudgetEnded as error:
        raise InputError(
            f"--token-budget {request.token_budget}: it does not last for measuring the current "
            f"instruction on {len(held_out)} validation texts; {error}"
        ) from error
    before = _measure(task, validation, labels)
    print(f"current instruction: validation macro F1 {_with_interval(before)}")
    search = find_instruction(
        endpoint,
        budget,
        task,
        _texts(train),
        asking,
        _scorer(task, train),
        proposals=request.proposals,
        rounds=request.rounds,
        reserve=Reserve(len(held_out), endpoint.usage.tokens / len(held_out)),
        note=_say_trial,
    )
    unparsed = labels.count(None)
    if not search.trials:
        assert search.stopped is not None
        return _Outcome(before, None, None, unparsed, None, search, "No instruction was scored.")
    if search.best.instruction == search.current:
        said = "No proposal scored above the current instruction; no task was written."
        return _Outcome(before, None, None, unparsed, None, search, said)
    try:
        named = ask_labels(
            endpoint, with_instruction(task, search.best.instruction), held_out, asking
        )
    except BudgetEnded as error:
        said = f"The best proposal could not be measured: {error} No task was written."
        return _Outcome(before, None, None, unparsed, None, search, said)
    after = _measure(task, validation, named)
    gain = _gain(before, after)
    return _Outcome(
        before, after, gain, unparsed, named.count(None), search, _conclusion(before, after, gain)
    )


def _conclusion(before: Measurement, after: Measurement, gain: Measurement) -> str:
    if _plain(gain) <= 0:
        return (
            "The best proposal is no better on the validation texts "
            f"({_plain(after):.3f} after {_plain(before):.3f}); no task was written."
        )
    low, _ = gain.interval() or (0.0, 0.0)
    sure = "" if low > 0 else ", though the interval of the gain reaches down to no gain at all"
    return f"The best proposal is better on the validation texts{sure}; {TASK_FILE} holds it."


def _asking(request: InstructRequest) -> Asking:
    thinking: Thinking | None = next((t for t in get_args(Thinking) if t == request.thinking), None)
    if thinking is None:
        raise InputError(
            f"--thinking {request.thinking}: it is not one of {', '.join(get_args(Thinking))}."
        )
    return Asking(thinking, request.max_new_tokens, seed=request.seed)


def _parts(request: InstructRequest, task: Task) -> tuple[list[Example], list[Example]]:
    """The texts that instructions are scored on, and those that measure before and after.

    Both have the classes in proportion, and no near-duplicates of one another.
    """
    pairs = read_labelled_file(request.file, request.text_column, request.label_column)
    examples = labelled_examples(pairs, task, source=str(request.file), split="train")
    split = grouped_split(
        examples,
        load_embedder("hashed"),
        validation=request.validation,
        test=0,
        seed=request.seed,
    )
    rest = [example for example in split.examples if example.split == "train"]
    validation = [example for example in split.examples if example.split == "validation"]
    return _in_proportion(rest, request.train), validation


def _in_proportion(examples: Sequence[Example], count: int) -> list[Example]:
    """The first `count` examples of an order whose every prefix has the classes in proportion."""
    sizes = Counter(example.label for example in examples)
    seen: defaultdict[str, int] = defaultdict(int)
    ranked = []
    for place, example in enumerate(examples):
        ranked.append(((seen[example.label] + 0.5) / sizes[example.label], place, example))
        seen[example.label] += 1
    return [example for _, _, example in sorted(ranked, key=lambda entry: entry[:2])[:count]]


def _texts(examples: Sequence[Example]) -> list[AskedText]:
    return [AskedText(example.id, example.text, example.label) for example in examples]


def _measure(task: Task, examples: Sequence[Example], labels: Labels) -> Measurement:
    """Macro F1 of what a teacher named; an answer that names no class is wrong."""
    gold, named = _indices(task, [example.label for example in examples]), _indices(task, labels)

    def compute(weights: Floats) -> Floats:
        return macro_f1(gold, named, weights)

    return measure(_METRIC, len(examples), compute)


def _scorer(task: Task, examples: Sequence[Example]) -> Callable[[Labels], float]:
    """Macro F1 alone, without resamples."""
    gold = _indices(task, [example.label for example in examples])
    once = np.ones((1, len(gold)))
    return lambda labels: float(macro_f1(gold, _indices(task, labels), once)[0])


def _indices(task: Task, labels: Sequence[str | None]) -> Indices:
    """The place of each label among the classes; one past the last for no label."""
    place = {label: number for number, label in enumerate(task.labels)}
    return np.array([len(place) if label is None else place[label] for label in labels])


def _gain(before: Measurement, after: Measurement) -> Measurement:
    """After less before, resample by resample."""
    pairs = zip(after.replicates, before.replicates, strict=True)
    return Measurement(
        metric=f"{_METRIC}_gain",
        value=_plain(after) - _plain(before),
        chance=None,
        examples=before.examples,
        replicates=tuple(high - low for high, low in pairs),
    )


def _plain(measurement: Measurement) -> float:
    assert measurement.value is not None
    return measurement.value


def _report(
    request: InstructRequest,
    settings: EndpointSettings,
    endpoint: Endpoint,
    outcome: _Outcome,
    train: int,
    validation: int,
) -> dict[str, Any]:
    return {
        "request": {
            **asdict(request),
            "file": str(request.file),
            "endpoint": settings.address,
            "model": settings.model,
        },
        "train_texts": train,
        "validation_texts": validation,
        "before": _numbers(outcome.before) | {"unparsed": outcome.unparsed_before},
        "after": outcome.after and _numbers(outcome.after) | {"unparsed": outcome.unparsed_after},
        "gain": outcome.gain and _numbers(outcome.gain),
        "written": outcome.better,
        "conclusion": outcome.conclusion,
        "trials_on_train": [
            {"instruction": trial.instruction, _METRIC: trial.score}
            for trial in outcome.search.trials
        ],
        "proposals_unreadable": outcome.search.unreadable,
        "search_stopped": outcome.search.stopped,
        "usage": asdict(endpoint.usage),
        "fields_refused_by_the_server": endpoint.left_out,
    }


def _numbers(measurement: Measurement) -> dict[str, Any]:
    return {"value": measurement.value, "interval_90": measurement.interval()}


def _write(report: dict[str, Any], better: Task | None, out: Path) -> None:
    """Write the folder under a temporary name beside its place, then rename it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".instruct-") as name:
        folder = Path(name) / "instruction"
        folder.mkdir()
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        (folder / "report.json").write_text(text, encoding="utf-8")
        if better is not None:
            write_task(better, folder / TASK_FILE)
        folder.replace(out)


def _say_trial(trial: Trial) -> None:
    opening = " ".join(trial.instruction.split())[:70]
    print(f"scored {trial.score:.3f} on the texts to optimise on: {opening}")


def _with_interval(measurement: Measurement) -> str:
    low, high = measurement.interval() or (float("nan"), float("nan"))
    return f"{_plain(measurement):.3f} [{low:.3f}, {high:.3f}]"


def _print(outcome: _Outcome, endpoint: Endpoint, out: Path) -> None:
    search = outcome.search
    if outcome.after is not None and outcome.gain is not None:
        print(f"best instruction: validation macro F1 {_with_interval(outcome.after)}")
        print(f"gain: {_with_interval(outcome.gain)} (90 % of the bootstrap)")
    if search.unreadable:
        print(f"{search.unreadable} proposals could not be read")
    if search.stopped is not None:
        print(f"the search stopped: {search.stopped}")
    print(outcome.conclusion)
    usage = endpoint.usage
    print(f"{usage.requests:,} requests took {usage.tokens:,} tokens")
    print(f"written: {out}")
