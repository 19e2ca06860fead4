"""What a deployed folder says about its model: the task, and how it reasons before it answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import PositiveInt, TypeAdapter, ValidationError

from distillscale.errors import InputError
from distillscale.tasks import Task
from distillscale.tasks.prompt import Thinking
from distillscale.tasks.task import check_task

_FILE = "distillscale.json"


@dataclass(frozen=True)
class Deployment:
    """The task and the depth of thinking that a model was distilled for.

    `max_new_tokens` is the budget of reasoning and answer together, where it thinks.
    """

    task: Task
    thinking: Thinking
    max_new_tokens: PositiveInt


_ADAPTER = TypeAdapter(Deployment)
Record = TypeVar("Record")


def write_deployment(deployment: Deployment, folder: Path) -> None:
    """Write it beside the model's files."""
    (folder / _FILE).write_bytes(_ADAPTER.dump_json(deployment, indent=1))


def has_deployment(folder: Path) -> bool:
    """Whether `compress` or `export` wrote a folder."""
    return (folder / _FILE).is_file()


def read_deployment(folder: Path) -> Deployment:
    """Read what `write_deployment` wrote.

    Raises:
        InputError: there is no such file, or it is not what `compress` writes.
    """
    path = folder / _FILE
    deployment = read_beside_model(path, _ADAPTER)
    check_task(deployment.task, str(path))
    return deployment


def read_beside_model(path: Path, adapter: TypeAdapter[Record]) -> Record:
    """Read a JSON file that `compress` writes beside a model's files.

    Raises:
        InputError: there is no such file, or it is not what `compress` writes.
    """
    if not path.is_file():
        raise InputError(
            f"{path.parent}: no {path.name}; it is not a folder that `compress` wrote."
        )
    try:
        return adapter.validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{path}: {field} is wrong ({first['msg']}).") from error
