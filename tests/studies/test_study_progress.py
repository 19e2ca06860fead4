import io

import pytest
from cheap_steps import number
from rich.console import Console

from distillscale.errors import DistillscaleError
from distillscale.studies.compute import Outcome
from distillscale.studies.plan import Plan
from distillscale.studies.progress import show_progress

STEPS = (number(1, name="traces [brief]"), number(2, name="stage 1"), number(3, name="stage 2"))
PLAN = Plan(STEPS, STEPS, dict(zip(STEPS, (10.0, 20.0, 30.0), strict=True)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("distillscale.studies.progress.time.monotonic", lambda: now[0])
    return now


def test_a_log_has_one_line_for_each_step_that_ended(clock: list[float]):
    output = io.StringIO()
    with show_progress(PLAN, Console(file=output, width=40)) as progress:
        progress.started(STEPS[0])
        progress.advanced(STEPS[0], 0.5)
        clock[0] = 20.0
        progress.ended(Outcome(STEPS[0]))
        progress.started(STEPS[1])
        clock[0] = 60.0
        progress.ended(Outcome(STEPS[1], DistillscaleError("the loss is NaN.")))
    assert output.getvalue().splitlines() == [
        "[1/3, about 2 min left] traces [brief]: 20 s",
        "[2/3, about 60 s left] stage 2: failed after 40 s: the loss is NaN.".replace("2:", "1:"),
    ]


def test_a_terminal_shows_the_study_and_the_running_steps(clock: list[float]):
    output = io.StringIO()
    console = Console(file=output, width=160, force_terminal=True, color_system=None)
    with show_progress(PLAN, console) as progress:
        progress.started(STEPS[0])
        progress.started(STEPS[1])
        clock[0] = 5.0
        progress.advanced(STEPS[1], 0.5)
        progress._display.refresh()
        during = output.getvalue()
        progress.ended(Outcome(STEPS[1], DistillscaleError("the loss is NaN.")))
        progress.ended(Outcome(STEPS[0]))
        output.truncate(0)
        progress._display.refresh()
        after = output.getvalue()
    assert "traces [brief]" in during
    assert "stage 1" in during
    assert "0/3, about 25 s left" in during
    assert "stage 2" not in during + after
    assert "2/3" in after
    assert "traces" not in after.split("study")[-1]


def test_an_empty_plan_shows_nothing_odd():
    output = io.StringIO()
    with show_progress(Plan((), (), {}), Console(file=output, force_terminal=True)):
        pass
    assert "Traceback" not in output.getvalue()
