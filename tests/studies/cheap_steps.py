"""Step functions that cost nothing, for tests of store and engine; imported by workers too."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from distillscale.errors import TrainingDiverged
from distillscale.studies.compute import Execute
from distillscale.studies.identity import Step


def execute(log: Path) -> Execute:
    """What computes the steps below, and appends `name pid` to a log for each that it begins."""
    return partial(_execute, log)


def _execute(
    log: Path,
    kind: str,
    params: dict[str, Any],
    inputs: dict[str, Path],
    output: Path,
    progress: Callable[[float], None],
) -> Mapping[str, Any]:
    with log.open("a") as file:
        file.write(f"{params.get('name', kind)} {os.getpid()}\n")
    numbers = [int((folder / "number.txt").read_text()) for folder in inputs.values()]
    progress(0.5)
    time.sleep(params.get("seconds", 0))
    match kind:
        case "diverge":
            raise TrainingDiverged("the loss is NaN at step 3.")
        case "bug":
            raise ZeroDivisionError("division by\nzero")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "interrupt":
            raise KeyboardInterrupt
        case "environment":
            threads = os.environ.get("OMP_NUM_THREADS")
            (output / "environment.json").write_text(
                json.dumps(
                    {"pid": os.getpid(), "threads": threads, "torch": "torch" in sys.modules}
                )
            )
    (output / "number.txt").write_text(str(params.get("add", 0) + sum(numbers)))
    return {"numbers": len(numbers)}


def number(add: int, *sources: Step, kind: str = "number", name: str = "", **params: Any) -> Step:
    """A step whose result is `add` and the sum of its sources' results."""
    inputs = {f"source{place}": source for place, source in enumerate(sources)}
    named = {"name": name} if name else {}
    return Step(kind, {"add": add} | named | params, inputs, name=name)


def begun(log: Path) -> list[str]:
    """The names of the steps that were begun, in order."""
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []
