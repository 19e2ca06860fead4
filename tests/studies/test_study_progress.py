import io

import pytest
from cheap_steps import number
from rich.console import Console

from distillscale.errors import DistillscaleError
from distillscale.studies.compute import Outcome
from distillscale.studies.plan import Plan
from distillscale.studies.progress import shown

STEPS = (number(1, name="traces [brief]"), number(2, name="stage 1"), number(3, name="stage 2"))
PLAN = Plan(STEPS, STEPS, dict(zip(STEPS, (10.0, 20.0, 30.0), strict=True)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("distillscale.studies.progress.time.monotonic", lambda: now[0])
    return now


def test_a_log_has_one_line_for_each_step_that_ended(clock: list[float]):
    output = io.StringIO()
    with shown(PLAN, Console(file=output, width=40)) as progress:
        progress.started(STEPS[0])
        progress.advanced(STEPS[0], 0.5)
        clock[0] = 20.0
        progress.ended(Outcome(STEPS[0]))
        progress.started(STEPS[1])
        clock[0] = 60.0
        progress.ended(Outcome(STEPS[1], DistillscaleError("the loss is NaN.")))
    assert output.getvalue().splitlines() == [
        "[1/3 steps, about 2 min left] traces [brief]: 20 s",
        "[2/3 steps, about 60 s left] stage 1: failed after 40 s: the loss is NaN.",
    ]


def test_a_terminal_shows_the_study_and_the_running_steps(clock: list[float]):
    output = io.StringIO()
    console = Console(file=output, width=160, force_terminal=True, color_system=None)
    with shown(PLAN, console) as progress:
        progress.started(STEPS[2])
        clock[0] = 10.0
        progress.ended(Outcome(STEPS[2]))
        progress.started(STEPS[0])
        progress.started(STEPS[1])
        progress.advanced(STEPS[1], 0.5)
        progress._display.refresh()
        during = output.getvalue()
        progress.ended(Outcome(STEPS[1], DistillscaleError("the loss is NaN.")))
        progress.ended(Outcome(STEPS[0]))
        progress._display.refresh()
        after = output.getvalue()
    last_frame = during.rpartition("1/3 steps, about 5.0 s left")[2]
    assert "traces [brief]" in last_frame
    assert "stage 1" in last_frame
    assert "stage 2" not in last_frame
    assert "stage 1: failed after 0.0 s: the loss is NaN." in output.getvalue()
    last_frame = after.rpartition("3/3 steps")[2]
    assert "traces" not in last_frame


def test_an_empty_plan_shows_nothing_odd():
    output = io.StringIO()
    with shown(Plan((), (), {}), Console(file=output, force_terminal=True)):
        pass
    assert "Traceback" not in output.getvalue()
