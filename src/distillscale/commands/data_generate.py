"""`data generate`: make a corpus for a task, by the lab's grammar or a chat endpoint."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distillscale.commands.output import check_new_folder, check_writable
from distillscale.data.generation.filters import DEFAULT_BANNED, FilterRules
from distillscale.data.generation.generators import EndpointGenerator, LabGenerator
from distillscale.data.generation.loop import Run
from distillscale.data.generation.recipe import Recipe, default_batch_size
from distillscale.data.generation.records import Generator
from distillscale.data.generation.report import HEADER, summary_lines, table_line
from distillscale.data.generation.weights import target_shares
from distillscale.errors import InputError
from distillscale.lab.world import make_world
from distillscale.models.endpoint import Budget, EndpointSettings
from distillscale.studies.folder_lock import try_lock
from distillscale.tasks import Task, load_task

GENERATORS = ("lab", "endpoint")


@dataclass(frozen=True)
class GenerateRequest:
    """What a user asks `data generate` for; see the command's help for each field."""

    task: str
    target: int
    generator: str
    threshold: float
    embedder: str
    batch_size: int | None
    seed: int
    shares: tuple[str, ...]
    min_acceptance: float
    few_shot: int
    language: str
    shortest: int
    longest: int
    banned: tuple[str, ...]
    endpoint: str | None
    model: str | None
    api_key_variable: str | None
    concurrency: int
    token_budget: int | None
    money_budget: float | None
    prompt_price: float
    completion_price: float


def generate(request: GenerateRequest, out: Path) -> None:
    """Make a corpus in a new folder, or go on with the run that is there.

    Raises:
        InputError: an argument is wrong or differs from those that the run in the folder was begun
            with, the folder holds something else, or another process works in it.
        EndpointFailed: no request to the endpoint can succeed; the same command goes on later.
    """
    if not 0 <= request.min_acceptance < 1:
        raise InputError(
            f"--min-acceptance is {request.min_acceptance}; it must be at least 0 and below 1."
        )
    task = load_task(request.task)
    settings = _endpoint_settings(request)
    recipe = _recipe(request, task, settings)
    budget = _budget(request)
    if settings is None:
        LabGenerator(task, make_world())  # refuses a task without a grammar before a folder is made
    else:
        settings.api_key()
    if (out / "checkpoint").is_dir():
        check_writable(out, "--out")
    else:
        check_new_folder(out, "--out")
        (out / "checkpoint").mkdir(parents=True)
    lock = try_lock(out)
    if lock is None:
        raise InputError(f"--out {out}: another process works in it; wait, or name a new folder.")
    try:
        run = Run(recipe, out)
        _report(run, _generator(recipe, run, settings, budget, out), request.min_acceptance, out)
    finally:
        os.close(lock)


def _report(run: Run, generator: Generator, min_acceptance: float, out: Path) -> None:
    """Go on with a run, and print each iteration as it is complete, and the whole at the end."""
    print(HEADER)
    for iteration in run.state.iterations:
        print(table_line(iteration), flush=True)
    outcome = run.go_on(
        generator,
        min_acceptance=min_acceptance,
        on_iteration=lambda iteration: print(table_line(iteration), flush=True),
    )
    for line in summary_lines(run.recipe, outcome.iterations):
        print(line)
    print(outcome.sentence)
    print(f"corpus: {out / 'examples.parquet'}; dropped: {out / 'dropped.parquet'}")
    print(f"report: {out / 'report.json'}")


def _recipe(request: GenerateRequest, task: Task, settings: EndpointSettings | None) -> Recipe:
    return Recipe(
        task=task,
        generator=request.generator,
        source=settings.model if settings else "lab",
        target=request.target,
        batch_size=request.batch_size or default_batch_size(request.target),
        threshold=request.threshold,
        embedder=request.embedder,
        seed=request.seed,
        shares=target_shares(task, _shares(request.shares)),
        rules=FilterRules(
            shortest=request.shortest,
            longest=request.longest,
            language=request.language,
            banned=(*DEFAULT_BANNED, *request.banned),
        ),
        few_shot=request.few_shot,
    )


def _endpoint_settings(request: GenerateRequest) -> EndpointSettings | None:
    """The endpoint's settings; None for the lab.

    Raises:
        InputError: the generator is unknown, or does not fit the endpoint's options.
    """
    if request.generator not in GENERATORS:
        raise InputError(
            f"--generator is `{request.generator}`; it must be {' or '.join(GENERATORS)}."
        )
    given = {"--endpoint": request.endpoint, "--model": request.model}
    if request.generator == "lab":
        for option, value in given.items():
            if value is not None:
                raise InputError(f"{option} is for --generator endpoint; the lab needs none.")
        return None
    for option, value in given.items():
        if value is None:
            raise InputError(f"--generator endpoint needs {option}.")
    assert request.endpoint is not None
    assert request.model is not None
    return EndpointSettings(
        url=request.endpoint,
        model=request.model,
        api_key_variable=request.api_key_variable,
        concurrency=request.concurrency,
    )


def _budget(request: GenerateRequest) -> Budget:
    return Budget(
        tokens=request.token_budget,
        money=request.money_budget,
        prompt_price=request.prompt_price,
        completion_price=request.completion_price,
    )


def _generator(
    recipe: Recipe, run: Run, settings: EndpointSettings | None, budget: Budget, out: Path
) -> Generator:
    if settings is None:
        return LabGenerator(recipe.task, make_world())
    return EndpointGenerator(
        recipe.task,
        recipe.rules,
        settings,
        budget,
        out,
        spent=run.state.usage,
        iteration=run.state.next_iteration,
    )


def _shares(given: Sequence[str]) -> Mapping[str, float]:
    """Read `CATEGORY=SHARE`.

    Raises:
        InputError: it has another form.
    """
    shares: dict[str, float] = {}
    for item in given:
        name, sign, value = item.rpartition("=")
        try:
            shares[name] = float(value)
        except ValueError:
            sign = ""
        if not sign or not name:
            raise InputError(f"--share is `{item}`; it must be CATEGORY=SHARE, as macro=0.1.")
    return shares
