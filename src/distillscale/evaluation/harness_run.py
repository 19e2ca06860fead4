"""Ask a model a benchmark of lm-evaluation-harness, and say what is needed to judge the score.

Prompts carry no chat template: a benchmark is asked of a base model as the field asks it. A free
text from which the harness can extract no answer counts as wrong (MMLU-Pro's official scorer
guesses at random instead). With a limit, that many questions of each subject are drawn at random
from a seed: the same ones for every model, and not the first ones, which share a source.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from distillscale.errors import InputError
from distillscale.evaluation.answer_positions import PositionBias, position_bias
from distillscale.evaluation.harness_backend import lm_eval, no_hub_code, quiet
from distillscale.evaluation.harness_catalogue import Benchmark
from distillscale.evaluation.measurement import Measurement
from distillscale.evaluation.metrics import REPLICATES, measure, weighted_mean
from distillscale.evaluation.question_files import LETTERS
from distillscale.evaluation.subject_score import SubjectScore, pool, subject_weights

UNPARSED = "[invalid]"
"""What the harness's filters make of a text without an answer."""

_BUDGETS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""What a task may call the length of an answer; the harness takes the first that is set."""


@dataclass(frozen=True)
class Answered:
    """What became of one question.

    Attributes:
        task: the harness's name of its subject's task; unlike the alias there is no other such.
        choices: number of choices; None where the benchmark has none.
        gold, answer: positions of the right choice and of the one answered; None where the
            benchmark has no choices, and `answer` also where it could not be parsed.
        truncated: whether the prompt lost its beginning to fit the model's context.
    """

    task: str
    right: bool
    unparsed: bool
    truncated: bool
    choices: int | None = None
    gold: int | None = None
    answer: int | None = None


@dataclass(frozen=True)
class BenchmarkScore:
    """A benchmark's accuracy with what is needed to judge it.

    Attributes:
        shots: solved questions in the prompt.
        standard_error, limit_error: see `PooledScore`.
        chance: accuracy of guessing; None where the benchmark has no choices.
        questions, asked: how many there are, and were asked.
        unparsed: answers that could not be parsed, counted as wrong.
        truncated: prompts that lost their beginning to fit the model's context.
        positions: preference for a position; None where the benchmark has no choices.
        replicates: the accuracy on bootstrap resamples of the questions.
    """

    benchmark: str
    metric: str
    shots: int
    accuracy: float
    standard_error: float
    limit_error: float
    chance: float | None
    questions: int
    asked: int
    unparsed: int
    truncated: int
    subjects: tuple[SubjectScore, ...]
    positions: PositionBias | None
    replicates: tuple[float, ...]

    @property
    def measurement(self) -> Measurement:
        """The accuracy as a row of the results table."""
        return Measurement(self.benchmark, self.accuracy, self.chance, self.asked, self.replicates)

    def as_json(self) -> dict[str, Any]:
        """Everything but the replicates, as plain values."""
        fields = asdict(self)
        del fields["replicates"]
        return fields


def score_benchmark(
    backend: Any,
    benchmark: Benchmark,
    *,
    limit: int | None = None,
    draw_seed: int = 0,
    replicates: int = REPLICATES,
    seed: int = 0,
    progress: bool = False,
) -> BenchmarkScore:
    """Ask every question of a benchmark, or `limit` of each subject, and score the answers.

    Args:
        backend: from `harness_backend`.
        seed: of the bootstrap.
        progress: whether the harness shows its progress bars on standard error.

    Raises:
        InputError: an answer's length leaves the prompt no room in the model's context.
    """
    _check_context(backend, benchmark)
    sizes = {name: len(task.eval_docs) for name, task in benchmark.tasks.items()}
    drawn = None if limit is None else _draw(sizes, limit, draw_seed)
    log = run_tasks(backend, benchmark.tasks, samples=drawn, progress=progress)
    answered = [
        _answered(benchmark, name, sample, backend) for name in sorted(log) for sample in log[name]
    ]
    return _score(benchmark, answered, sizes, replicates=replicates, seed=seed)


def run_tasks(
    backend: Any,
    tasks: Mapping[str, Any],
    *,
    samples: dict[str, list[int]] | None = None,
    progress: bool = False,
) -> dict[str, list[dict[str, Any]]]:
    """The harness's log of each task's questions, in the order of its data.

    Of several filters the first one counts. The request cache, a pickle, stays off, and no global
    random generator is seeded.
    """
    evaluate = lm_eval("evaluator").evaluate
    options = {"bootstrap_iters": 0, "cache_requests": False, "log_samples": True}
    loaded = {"tasks": dict(tasks), "groups": {}, "group_map": {}}
    with no_hub_code(), nullcontext() if progress else quiet():
        result = evaluate(backend, loaded, samples=samples, **options)
    logs = {}
    for name, log in result["samples"].items():
        own = [sample for sample in log if sample["filter"] == log[0]["filter"]]
        logs[name] = sorted(own, key=lambda sample: sample["doc_id"])
    return logs


def _draw(sizes: Mapping[str, int], limit: int, seed: int) -> dict[str, list[int]]:
    """Numbers of the questions to ask of each task, in rising order."""
    drawn = {}
    for number, (name, size) in enumerate(sorted(sizes.items())):
        random = np.random.default_rng([seed, number])
        chosen = random.choice(size, size=min(limit, size), replace=False)
        drawn[name] = sorted(chosen.tolist())
    return drawn


def _check_context(backend: Any, benchmark: Benchmark) -> None:
    for task in benchmark.tasks.values():
        budget = _budget(backend, task)
        if budget >= backend.max_length:
            raise InputError(
                f"benchmark `{benchmark.name}` lets the model write {budget} tokens, but its "
                f"context has {backend.max_length}; set a smaller length of answers."
            )


def _budget(backend: Any, task: Any) -> int:
    """Tokens that an answer may take, beyond the prompt: the task's, else the backend's own."""
    if task.OUTPUT_TYPE != "generate_until":
        return 0
    options = task.get_config("generation_kwargs") or {}
    given = (options[name] for name in _BUDGETS if options.get(name) is not None)
    return int(next(given, backend.max_gen_toks))


def _answered(benchmark: Benchmark, name: str, sample: Mapping[str, Any], backend: Any) -> Answered:
    task = benchmark.tasks[name]
    filtered = sample["filtered_resps"]
    choices, gold, answer = _positions(benchmark, task, sample)
    return Answered(
        task=name,
        right=float(sample[benchmark.metric]) == 1,
        unparsed=bool(filtered) and filtered[0] == UNPARSED,
        truncated=_is_truncated(backend, task, sample["arguments"]),
        choices=choices,
        gold=gold,
        answer=answer,
    )


def _positions(
    benchmark: Benchmark, task: Any, sample: Mapping[str, Any]
) -> tuple[int | None, int | None, int | None]:
    """Number of choices, and positions of the right one and of the answer, where there are any."""
    if task.OUTPUT_TYPE == "multiple_choice":
        choices = task.doc_to_choice(sample["doc"])
        gold = sample["target"]
        if isinstance(gold, str) and gold in choices:
            gold = choices.index(gold)
        is_position = isinstance(gold, int) and 0 <= gold < len(choices) <= len(LETTERS)
        if not is_position or benchmark.metric != "acc":  # `acc` takes the likeliest choice
            return len(choices), None, None
        scores = [response[0] for response in sample["filtered_resps"][: len(choices)]]
        return len(choices), gold, int(np.argmax(scores))
    if benchmark.name == "mmlu_pro":
        letter = sample["filtered_resps"][0]
        answer = LETTERS.index(letter) if letter in LETTERS else None
        return len(sample["doc"]["options"]), LETTERS.index(sample["target"]), answer
    return None, None, None


def _is_truncated(backend: Any, task: Any, requests: Sequence[Sequence[Any]]) -> bool:
    """Whether a prompt was too long for the context; the harness then drops its beginning."""
    room = backend.max_length - _budget(backend, task)
    texts = [request[0] for request in requests]
    if task.OUTPUT_TYPE != "generate_until":
        texts = [context + str(continuation) for context, continuation, *_ in requests]
        room += 1  # the last token of a continuation is predicted, not read
    # A token is at least a byte, so that a text of fewer bytes needs no look at its tokens.
    return any(
        len(text.encode()) > room and len(backend.tok_encode(text)) > room
        for text in dict.fromkeys(texts)
    )


def _score(
    benchmark: Benchmark,
    answered: Sequence[Answered],
    sizes: Mapping[str, int],
    *,
    replicates: int,
    seed: int,
) -> BenchmarkScore:
    titles = _titles(benchmark)
    names = sorted(sizes, key=lambda name: titles[name])
    subjects = tuple(
        SubjectScore(
            titles[name],
            sizes[name],
            sum(item.task == name for item in answered),
            sum(item.right for item in answered if item.task == name),
        )
        for name in names
    )
    pooled = pool(subjects, by_size=benchmark.by_size)
    weights = subject_weights(subjects, by_size=benchmark.by_size)
    of_task = {
        name: weight / item.asked
        for name, item, weight in zip(names, subjects, weights, strict=True)
    }
    own = np.array([of_task[item.task] for item in answered])
    right = np.array([item.right for item in answered])
    resampled = measure(
        benchmark.name,
        len(answered),
        lambda drawn: weighted_mean(right, drawn * own),
        replicates=replicates,
        seed=seed,
    )
    chances = [1 / item.choices for item in answered if item.choices]
    complete = len(chances) == len(answered)
    return BenchmarkScore(
        benchmark=benchmark.name,
        metric=benchmark.metric,
        shots=benchmark.shots,
        accuracy=pooled.accuracy,
        standard_error=pooled.standard_error,
        limit_error=pooled.limit_error,
        chance=float(own @ np.array(chances)) if complete else None,
        questions=sum(sizes.values()),
        asked=len(answered),
        unparsed=sum(item.unparsed for item in answered),
        truncated=sum(item.truncated for item in answered),
        subjects=subjects,
        positions=_bias(answered),
        replicates=resampled.replicates,
    )


def _titles(benchmark: Benchmark) -> dict[str, str]:
    """Each task's alias, or its name where it has none or shares it with another task."""
    aliases = {
        name: task.get_config("task_alias") or name for name, task in benchmark.tasks.items()
    }
    uses = Counter(aliases.values())
    return {name: alias if uses[alias] == 1 else name for name, alias in aliases.items()}


def _bias(answered: Sequence[Answered]) -> PositionBias | None:
    if any(item.gold is None for item in answered):
        return None
    gold = [item.gold for item in answered if item.gold is not None]
    choices = max(item.choices or 0 for item in answered)
    return position_bias(gold, [item.answer for item in answered], choices)
