import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cheap_steps import begun, execute, number

from distillscale.errors import DistillscaleError, InputError, TrainingDiverged
from distillscale.studies.compute import Outcome
from distillscale.studies.engine import run_plan
from distillscale.studies.identity import Step
from distillscale.studies.plan import Plan, make_plan
from distillscale.studies.store import Store

KINDS = ("number", "diverge", "bug", "die", "interrupt", "environment")
BOTH = pytest.mark.parametrize("workers", [1, 2])


class Bench:
    """A store, a log of begun steps, and the engine."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "store")
        self.log = folder / "log"

    def plan(self, *targets: Step) -> Plan:
        return make_plan(targets, Store(self.store.root), dict.fromkeys(KINDS, 1.0))

    def run(self, *targets: Step, workers: int = 1, progress=None) -> None:
        plan = self.plan(*targets)
        run_plan(plan, self.store, execute(self.log), workers=workers, progress=progress)

    def result(self, step: Step) -> int:
        folder = self.store.open(step)
        assert folder is not None
        return int((folder / "number.txt").read_text())

    @property
    def begun(self) -> list[str]:
        return begun(self.log)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@BOTH
def test_every_step_is_computed_once_from_its_inputs(bench: Bench, workers: int):
    data = number(1)
    left, right = number(10, data), number(100, data)
    end = number(1000, left, right)
    bench.run(end, left, workers=workers)
    assert bench.result(end) == 1000 + 11 + 101
    assert len(bench.begun) == 4
    bench.run(end, left, workers=workers)
    assert len(bench.begun) == 4


@BOTH
def test_a_shared_prefix_is_reused_by_another_study(bench: Bench, workers: int):
    data = number(1)
    bench.run(number(10, data), workers=workers)
    bench.run(number(20, data), workers=workers)
    assert len(bench.begun) == 3


def test_ancestors_of_cached_results_are_not_computed(bench: Bench):
    end = number(2, number(1))
    bench.run(end)
    for path in bench.store.folder(number(1)).iterdir():
        path.unlink()
    bench.store.folder(number(1)).rmdir()
    bench.run(end)
    assert len(bench.begun) == 2


def test_a_damaged_input_is_computed_again(bench: Bench, caplog):
    bench.run(number(1))
    (bench.store.folder(number(1)) / "number.txt").write_text("666")
    bench.run(end := number(10, number(1)))
    assert bench.result(end) == 11
    assert "computed again" in caplog.text


@BOTH
def test_one_failure_leaves_independent_steps_alone(bench: Bench, workers: int):
    bad = number(0, kind="diverge", name="stage-2")
    lost = number(1, number(2, bad))
    good = [number(add, number(0)) for add in range(10, 14)]
    with pytest.raises(TrainingDiverged) as caught:
        bench.run(lost, *good, workers=workers)
    assert str(caught.value) == (
        "step `stage-2`: the loss is NaN at step 3. (steps not run because of a failure: 2)"
    )
    assert [bench.result(step) for step in good] == [10, 11, 12, 13]
    assert bench.plan(lost, *good).missing == (bad, number(2, bad), lost)


@BOTH
def test_an_error_nobody_foresaw_names_the_step_too(bench: Bench, workers: int, caplog):
    bad = number(0, kind="bug", name="stage-2")
    with pytest.raises(DistillscaleError) as caught:
        bench.run(bad, workers=workers)
    assert str(caught.value) == "step `stage-2`: ZeroDivisionError: division by zero"
    assert "Traceback" in caplog.text


def test_further_failures_are_counted(bench: Bench):
    bad = [number(add, kind="diverge", name=f"stage-{add}") for add in range(3)]
    with pytest.raises(TrainingDiverged, match=r"`stage-0`: .*\(other failed steps: 2\)"):
        bench.run(*bad)


def test_a_killed_worker_is_named_and_replaced(bench: Bench):
    bad = number(0, kind="die", name="stage-2")
    good = [number(add) for add in range(10, 16)]
    with pytest.raises(DistillscaleError) as caught:
        bench.run(bad, *good, workers=2)
    assert "step `stage-2`: its worker process was killed (signal 9)" in str(caught.value)
    assert "fewer workers" in str(caught.value)
    assert [bench.result(step) for step in good] == list(range(10, 16))
    assert list((bench.store.root / ".partial").iterdir()) == []


def test_workers_share_the_cores(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("distillscale.studies.workers._cores", lambda: 6)
    steps = [number(add, kind="environment", seconds=0.3) for add in range(2)]
    bench.run(*steps, workers=2)
    found = [json.loads((bench.store.folder(s) / "environment.json").read_text()) for s in steps]
    assert [one["threads"] for one in found] == ["3", "3"]
    assert len({one["pid"] for one in found} - {os.getpid()}) == 2
    assert "OMP_NUM_THREADS" not in os.environ


def test_threads_that_the_user_chose_are_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("distillscale.studies.workers._cores", lambda: 6)
    bench.run(step := number(0, kind="environment"), workers=2)
    found = json.loads((bench.store.folder(step) / "environment.json").read_text())
    assert found["threads"] == "1"
    assert not found["torch"]  # the spine itself never loads it


def test_reading_planning_and_running_load_no_torch():
    modules = "study_file, grid, store, identity, plan, why, engine, progress"
    script = (
        f"import sys; from distillscale.studies import {modules}; print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


@BOTH
def test_progress_is_told(bench: Bench, workers: int):
    told = []

    class Recorder:
        def started(self, step: Step) -> None:
            told.append(("started", step))

        def advanced(self, step: Step, share: float) -> None:
            told.append((share, step))

        def ended(self, outcome: Outcome) -> None:
            told.append((outcome.error, outcome.step))

    step = number(1)
    bench.run(step, workers=workers, progress=Recorder())
    assert told == [("started", step), (0.5, step), (None, step)]


def test_a_number_of_workers_below_one_is_bad_input(bench: Bench):
    with pytest.raises(InputError, match="workers is 0; it must be at least 1"):
        bench.run(number(1), workers=0)


def test_an_interrupt_ends_the_run_and_leaves_no_half_artifact(bench: Bench):
    stop = number(0, number(1), kind="interrupt")
    with pytest.raises(KeyboardInterrupt):
        bench.run(stop)
    assert bench.result(number(1)) == 1
    assert list((bench.store.root / ".partial").iterdir()) == []


STUDY = """
import signal
import sys
from pathlib import Path
from test_study_engine import Bench, slow_study
if __name__ == "__main__":
    # A shell starts background jobs, and so the tests in them, with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    Bench(Path(sys.argv[1])).run(*slow_study(), workers=int(sys.argv[2]))
"""


def slow_study() -> list[Step]:
    """Two chains of eight steps."""
    ends = []
    for start in (1, 100):
        step = number(start, name=f"{start}-0")
        for place in range(1, 8):
            step = number(1, step, name=f"{start}-{place}", seconds=0.15)
        ends.append(step)
    return ends


def study_process(bench: Bench, workers: int) -> subprocess.Popen:
    script = bench.log.parent / "study.py"
    script.write_text(STUDY)
    paths = {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, str(script), str(bench.log.parent), str(workers)]
    return subprocess.Popen(
        command, env=os.environ | paths, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def stored(store: Store) -> set[str]:
    return {manifest.step.params["name"] for manifest in store.manifests()}


@pytest.mark.parametrize(("workers", "moment"), [(1, 5), (2, 4), (2, 9)])
def test_a_run_killed_at_any_moment_goes_on_where_it_was(bench: Bench, workers: int, moment: int):
    process = study_process(bench, workers)
    wait_until(lambda: len(bench.begun) >= moment)
    process.kill()
    process.communicate()
    pids = {int(line.split()[1]) for line in bench.log.read_text().splitlines()}
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
    finished, attempted = stored(bench.store), bench.begun
    assert len(attempted) - len(finished) <= workers
    bench.run(*slow_study())
    assert [bench.result(end) for end in slow_study()] == [8, 107]
    assert not finished & set(bench.begun[len(attempted) :])
    assert len(stored(bench.store)) == 16
    assert list((bench.store.root / ".partial").iterdir()) == []


def test_ctrl_c_ends_all_workers_and_leaves_no_half_artifact(bench: Bench):
    process = study_process(bench, workers=2)
    wait_until(lambda: len(bench.begun) >= 4)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: parent and workers
    _, complaints = process.communicate()
    assert process.returncode in (-signal.SIGINT, 1, 130)
    assert complaints.count("KeyboardInterrupt") == 1, complaints
    pids = {int(line.split()[1]) for line in bench.log.read_text().splitlines()}
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
    bench.store.clean()
    assert list((bench.store.root / ".partial").iterdir()) == []
    assert all(bench.store.open(manifest.step) for manifest in bench.store.manifests())
