"""Which methods of intervals were chosen for which laws, as a JSON file.

`laws coverage --out FILE` writes one, `laws fit --methods FILE` makes intervals by it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distillscale.errors import InputError
from distillscale.laws.uncertainty.coverage import Simulation
from distillscale.laws.uncertainty.intervals import Choice

SAY = "`distillscale laws coverage --out` writes one"


def save_choices(simulations: Mapping[str, Simulation], path: Path) -> None:
    """Write what was chosen for each pool of laws, with the coverage that was measured.

    Args:
        simulations: by the pool's name (see `Pool`).
        path: the file, written whole or not at all.
    """
    content = {
        name: {
            "curve": found.chosen.curve,
            "parameters": dict(found.chosen.parameters),
            "stretch": found.chosen.stretch,
            "within": found.within,
            "coverage": {entry.target: round(entry.coverage, 4) for entry in found.of_chosen},
        }
        for name, found in simulations.items()
    }
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    temporary.replace(path)


def load_choices(paths: Sequence[Path]) -> dict[str, Choice]:
    """The choices of several files by the pool's name; a later file's count.

    Raises:
        InputError: a file is missing or is not one of choices.
    """
    return {name: choice for path in paths for name, choice in _read(path)}


def _read(path: Path) -> Iterable[tuple[str, Choice]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file of methods; {SAY}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [(name, _choice(entry)) for name, entry in content.items()]
    except (ValueError, KeyError, TypeError, AttributeError, InputError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: not a file of methods ({reason}); {SAY}.") from error


def _choice(entry: dict[str, Any]) -> Choice:
    return Choice(entry["curve"], dict(entry["parameters"]), float(entry["stretch"]))
