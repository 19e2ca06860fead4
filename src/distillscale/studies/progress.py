"""What a user sees while a study runs: bars in a terminal, lines in a log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich import progress as bars
from rich.console import Console
from rich.markup import escape
from rich.table import Column

from distillscale.studies.compute import Outcome
from distillscale.studies.identity import Step
from distillscale.studies.plan import Plan


class Progress(Protocol):
    """Who is told what an engine does."""

    def started(self, step: Step) -> None:
        """A step begins."""

    def advanced(self, step: Step, share: float) -> None:
        """A running step is done to a share from 0 to 1."""

    def ended(self, outcome: Outcome) -> None:
        """A step is computed or failed."""


class Silent:
    """Says nothing."""

    def started(self, step: Step) -> None:
        """Nothing."""

    def advanced(self, step: Step, share: float) -> None:
        """Nothing."""

    def ended(self, outcome: Outcome) -> None:
        """Nothing."""


class LogLines:
    """One line for each step that ended."""

    def __init__(self, plan: Plan, console: Console) -> None:
        """Count from the plan's missing steps."""
        self._console = console
        self._clock = _Clock(plan)

    def started(self, step: Step) -> None:
        """Nothing is written."""
        self._clock.started(step)

    def advanced(self, step: Step, share: float) -> None:
        """Nothing is written."""

    def ended(self, outcome: Outcome) -> None:
        """Write the line."""
        seconds = self._clock.ended(outcome.step)
        self._console.print(
            f"[{self._clock.status}] {_end(outcome, seconds)}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


class Bars:
    """A bar for the study and one for each running step."""

    def __init__(self, plan: Plan, display: bars.Progress) -> None:
        """Count from the plan's missing steps."""
        self._display = display
        self._clock = _Clock(plan)
        self._study = display.add_task(self._clock.status, total=self._clock.total)
        self._rows: dict[Step, bars.TaskID] = {}

    def started(self, step: Step) -> None:
        """Add the step's bar."""
        self._clock.started(step)
        self._rows[step] = self._display.add_task(escape(step.name), total=1.0)

    def advanced(self, step: Step, share: float) -> None:
        """Move the step's bar and the study's."""
        self._clock.advanced(step, share)
        self._display.update(self._rows[step], completed=share)
        self._show_study()

    def ended(self, outcome: Outcome) -> None:
        """Remove the step's bar; a failure leaves a line above the bars."""
        seconds = self._clock.ended(outcome.step)
        self._display.remove_task(self._rows.pop(outcome.step))
        if outcome.error is not None:
            self._display.console.print(_end(outcome, seconds), markup=False, style="red")
        self._show_study()

    def _show_study(self) -> None:
        done, status = self._clock.done, self._clock.status
        self._display.update(self._study, completed=done, description=status)


@contextmanager
def shown(plan: Plan, console: Console) -> Iterator[Progress]:
    """Bars where the console is a terminal, else lines."""
    if not console.is_terminal:
        yield LogLines(plan, console)
        return
    with bars.Progress(
        bars.BarColumn(bar_width=20),
        bars.TaskProgressColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        console=console,
        transient=True,
    ) as display:
        yield Bars(plan, display)


_FEWEST = 0.02  # share that must be done before the rest can be told from it


class _Clock:
    """How much of a plan is done, in expected seconds, and so how long the rest will take."""

    def __init__(self, plan: Plan) -> None:
        self.total = sum(plan.seconds.values())
        self._expected = plan.seconds
        self._finished: set[Step] = set()
        self._shares: dict[Step, float] = {}
        self._starts: dict[Step, float] = {}
        self._begin = time.monotonic()

    def started(self, step: Step) -> None:
        self._starts[step] = time.monotonic()

    def advanced(self, step: Step, share: float) -> None:
        self._shares[step] = share

    def ended(self, step: Step) -> float:
        """Seconds that the step took."""
        self._shares[step] = 1.0
        self._finished.add(step)
        return time.monotonic() - self._starts[step]

    @property
    def done(self) -> float:
        return sum(self._expected[step] * share for step, share in self._shares.items())

    @property
    def status(self) -> str:
        """`3/20 steps, about 4 min left`: the rest is expected to go as fast as what is done."""
        count = f"{len(self._finished)}/{len(self._expected)} steps"
        if not self._finished or not _FEWEST * self.total < self.done < self.total:
            return count
        left = (time.monotonic() - self._begin) * (self.total - self.done) / self.done
        return f"{count}, about {_duration(left)} left"


def _end(outcome: Outcome, seconds: float) -> str:
    if outcome.error is None:
        return f"{outcome.step.name}: {_duration(seconds)}"
    return f"{outcome.step.name}: failed after {_duration(seconds)}: {outcome.error}"


def _duration(seconds: float) -> str:
    if seconds >= 100:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
