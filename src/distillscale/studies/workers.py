"""Worker processes on this machine: each computes one step after another.

A worker lives as long as the process that started it: when that ends, even by kill -9, its
workers end too, and what they were writing is never taken for finished.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from distillscale.errors import DistillscaleError
from distillscale.studies.compute import Execute, Outcome, compute
from distillscale.studies.identity import Step
from distillscale.studies.store import Store

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SECONDS_BETWEEN_REPORTS = 0.2
_SECONDS_TO_END = 5


class WorkerProcesses:
    """A crew of processes that are started as they are needed and kept until the end.

    Each gets an equal share of the machine's cores for its threads, unless the environment
    already says otherwise (`OMP_NUM_THREADS`).
    """

    def __init__(
        self, workers: int, root: Path, execute: Execute, advanced: Callable[[Step, float], None]
    ) -> None:
        """Describe the crew; no process is started yet.

        Args:
            workers: the largest number of processes.
            root: folder of the store.
            execute: what computes a step; sent to the workers, so it must pickle.
            advanced: told what share of a running step is done.
        """
        self._size = workers
        self._arguments = (root, execute)
        self._threads = max(1, _cores() // workers)
        self._advanced = advanced
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, Step]] = {}

    def close(self) -> None:
        """End all workers; what the busy ones were writing is dropped."""
        for worker, _ in self._busy.values():
            worker.stop()
        for worker in self._idle:
            worker.dismiss()

    @property
    def running(self) -> int:
        """How many steps are being computed."""
        return len(self._busy)

    @property
    def has_room(self) -> bool:
        """Whether another step can be started."""
        return self.running < self._size

    def start(self, step: Step) -> None:
        """Give a step to an idle worker, or to a new one."""
        worker = self._idle.pop() if self._idle else _Worker(*self._arguments, self._threads)
        self._busy[worker.connection] = worker, step
        with suppress(BrokenPipeError, ConnectionResetError):  # died while idle: `wait` finds out
            worker.connection.send(step)

    def wait(self) -> list[Outcome]:
        """Wait for news; the steps that ended."""
        outcomes = []
        for connection in wait(list(self._busy)):
            assert isinstance(connection, Connection)
            worker, step = self._busy[connection]
            try:
                news = connection.recv()
            except (EOFError, ConnectionResetError):
                news = Outcome(step, worker.death())
            else:
                if isinstance(news, float):
                    self._advanced(step, news)
                    continue
                self._idle.append(worker)
            del self._busy[connection]
            outcomes.append(news)
        return outcomes


class _Worker:
    """A process and the connection to it."""

    def __init__(self, root: Path, execute: Execute, threads: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.connection, theirs = spawn.Pipe()
        self._process: SpawnProcess = spawn.Process(
            target=_work, args=(theirs, root), name="distillscale-worker"
        )
        with _environment(threads):
            self._process.start()
        theirs.close()
        self.connection.send(execute)

    def dismiss(self) -> None:
        """Let an idle process end by itself, so that it cleans up what its libraries hold."""
        self.connection.close()
        self._process.join(_SECONDS_TO_END)
        self.stop()

    def stop(self) -> None:
        self.connection.close()
        self._process.kill()
        self._process.join()

    def death(self) -> DistillscaleError:
        """Why the process is no more."""
        self.connection.close()
        self._process.join()
        code = self._process.exitcode or 0
        if code == -signal.SIGKILL:
            return DistillscaleError(
                "its worker process was killed (signal 9), as the system does when memory runs "
                "out; run the same command again, with fewer workers if memory is short."
            )
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return DistillscaleError(f"its worker process ended {how} in the middle of the step.")


def _work(connection: Connection, root: Path) -> None:
    """A worker's life: compute the steps that come through the connection until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    store = Store(root)
    with suppress(EOFError):
        execute = connection.recv()  # imports what it needs, hence not among the arguments:
        while True:  # signal and thread are set by now
            step = connection.recv()
            connection.send(compute(step, store, execute, _reporting(connection)))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _reporting(connection: Connection) -> Callable[[float], None]:
    last = 0.0

    def report(share: float) -> None:
        nonlocal last
        if time.monotonic() - last > _SECONDS_BETWEEN_REPORTS:
            last = time.monotonic()
            connection.send(float(share))

    return report


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """The environment that a new process inherits: numeric libraries read it when imported."""
    added = {name: str(threads) for name in _THREADS if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
