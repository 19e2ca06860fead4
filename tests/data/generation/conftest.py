from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_corpus import TASK, recipe_of

from distillscale.data.generation.generators import LabGenerator
from distillscale.data.generation.loop import Outcome, Run
from distillscale.lab.world import make_world


@pytest.fixture
def make() -> Callable[..., Outcome]:
    """Make a corpus by the lab's grammar in a folder, or go on with it."""

    def make(folder: Path, *, min_acceptance: float = 0.02, **changes: Any) -> Outcome:
        run = Run(recipe_of(**changes), folder)
        return run.go_on(LabGenerator(TASK, make_world()), min_acceptance=min_acceptance)

    return make
