"""One step computed: from the artifacts of its inputs to an artifact of its own.

This is all that an engine does with a step, wherever it runs: in this process, in a worker on this
machine, or elsewhere.
"""

import copy
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from distillscale.errors import DistillscaleError
from distillscale.studies.identity import Step
from distillscale.studies.store import Store


class Execute(Protocol):
    """What computes a step. It sees its parameters and its inputs' folders, and nothing else."""

    def __call__(
        self,
        kind: str,
        params: dict[str, Any],
        inputs: dict[str, Path],
        output: Path,
        progress: Callable[[float], None],
        /,
    ) -> Mapping[str, Any]:
        """Compute one step.

        Args:
            kind: which step.
            params: its parameters.
            inputs: the folders of its inputs, by role; only to be read.
            output: the folder to write the result into. What a killed attempt at the same step
                left in `output / store.WORK_FOLDER` is still there; the rest is empty.
            progress: to be told the share that is done, from 0 to 1.

        Returns:
            What the manifest's `extra` shall say: text, numbers, lists and mappings.
        """


@dataclass(frozen=True)
class Outcome:
    """How the computation of a step ended: without error its artifact is in the store.

    `details` is a traceback where the error was not foreseen.
    """

    step: Step
    error: DistillscaleError | None = None
    details: str = ""


def compute(
    step: Step, store: Store, execute: Execute, progress: Callable[[float], None]
) -> Outcome:
    """Compute a step whose inputs are in the store.

    Args:
        step: what to compute.
        store: where its inputs are and its artifact goes.
        execute: what computes it.
        progress: told the share that is done, from 0 to 1.
    """
    inputs = {role: store.folder(source) for role, source in step.inputs.items()}
    params = copy.deepcopy(dict(step.params))
    try:
        store.publish(step, lambda output: execute(step.kind, params, inputs, output, progress))
    except DistillscaleError as error:
        return Outcome(step, error)
    except Exception as error:
        message = f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"
        return Outcome(step, DistillscaleError(message), traceback.format_exc())
    return Outcome(step)
