"""The local engine: runs the missing steps of a plan, in this process or in several."""

import logging
from collections.abc import Generator
from contextlib import closing
from functools import partial

from distillscale.errors import DistillscaleError, InputError
from distillscale.studies.compute import Execute, Outcome, compute
from distillscale.studies.plan import Plan
from distillscale.studies.progress import Progress, Silent
from distillscale.studies.ready import ReadySteps
from distillscale.studies.store import Store
from distillscale.studies.workers import WorkerProcesses

logger = logging.getLogger(__name__)

Outcomes = Generator[Outcome, None, None]


def run_plan(
    plan: Plan,
    store: Store,
    execute: Execute,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> None:
    """Compute every missing step of a plan.

    A step that fails takes the steps that need it with it; all others are computed.

    Args:
        plan: what is missing.
        store: where the results go. A run that was killed goes on from what is there.
        execute: what computes a step; with several workers something that pickles: a function of
            a module, or a `partial` of one.
        workers: 1 computes in this process; more start that many processes.
        progress: told what happens.

    Raises:
        InputError: `workers` is not positive.
        DistillscaleError: a step failed (the first one's error), raised when all others ended.
        KeyboardInterrupt: the user stopped the run; what was finished is stored.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}; it must be at least 1.")
    ready = ReadySteps(plan.missing, plan.seconds)
    listener = progress or Silent()
    run = (
        _in_this_process(ready, store, execute, listener)
        if workers == 1
        else _in_workers(ready, store, execute, listener, workers)
    )
    store.clean()
    try:
        failures = _failures(run, ready, listener)
    finally:
        run.close()  # ends the workers
        store.clean()
    if failures:
        raise _summary(failures, len(ready.dependents([failure.step for failure in failures])))


def _failures(run: Outcomes, ready: ReadySteps, progress: Progress) -> list[Outcome]:
    """Let a run go on to its end; the outcomes of the steps that failed."""
    failures = []
    for outcome in run:
        progress.ended(outcome)
        if outcome.error is None:
            ready.done(outcome.step)
        else:
            failures.append(outcome)
    return failures


def _in_this_process(
    ready: ReadySteps, store: Store, execute: Execute, progress: Progress
) -> Outcomes:
    while (step := ready.take()) is not None:
        progress.started(step)
        yield compute(step, store, execute, partial(progress.advanced, step))


def _in_workers(
    ready: ReadySteps, store: Store, execute: Execute, progress: Progress, workers: int
) -> Outcomes:
    with closing(WorkerProcesses(workers, store.root, execute, progress.advanced)) as crew:
        while True:
            while crew.has_room and (step := ready.take()) is not None:
                progress.started(step)
                crew.start(step)
            if not crew.running:
                return
            yield from crew.wait()


def _summary(failures: list[Outcome], lost: int) -> DistillscaleError:
    """The first failure's error, naming its step and how much else is missing."""
    for failure in failures:
        if failure.details:
            logger.error("step `%s` failed\n%s", failure.step.name, failure.details)
    first, others = failures[0], len(failures) - 1
    counts = {"other failed steps": others, "steps not run because of a failure": lost}
    rest = "; ".join(f"{what}: {count}" for what, count in counts.items() if count)
    sentence = f"step `{first.step.name}`: {first.error}" + (f" ({rest})" if rest else "")
    return type(first.error or DistillscaleError())(sentence)
