"""A task: what the model must do. Built-in tasks and a user's own are the same YAML."""

import difflib
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from distillscale.errors import InputError

_FIELDS = ("name", "prompt", "instruction", "classes")
_CLASS_FIELDS = ("name", "category", "definition")
_BUILTIN = resources.files("distillscale.tasks") / "builtin"


@dataclass(frozen=True)
class ClassDefinition:
    """One class of a task: its label, the category that groups it, a one-line definition."""

    name: str
    category: str
    definition: str


@dataclass(frozen=True)
class Task:
    """A classification task.

    `prompt` is the template of the model's input and holds `{text}`. `instruction` is the system
    message for chat models; where a task gives none, one is made from the class definitions.
    """

    name: str
    prompt: str
    classes: tuple[ClassDefinition, ...]
    instruction: str = ""

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The class names, in the order of the task."""
        return tuple(definition.name for definition in self.classes)

    @cached_property
    def categories(self) -> dict[str, str]:
        """The category of each label."""
        return {definition.name: definition.category for definition in self.classes}

    def category_of(self, label: str) -> str:
        """The category of a label.

        Raises:
            InputError: the label is not one of the task's classes.
        """
        if label not in self.categories:
            near = difflib.get_close_matches(label, self.labels, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else f": it has {', '.join(self.labels)}."
            raise InputError(f"task {self.name}: unknown label `{label}`{hint}")
        return self.categories[label]


@cache
def builtin_tasks() -> tuple[str, ...]:
    """The names of the tasks that the package brings."""
    return tuple(sorted(item.name.removesuffix(".yaml") for item in _BUILTIN.iterdir()))


def load_task(name_or_path: str | Path) -> Task:
    """Load a built-in task by name, or a user's task from a YAML file.

    Raises:
        InputError: there is no such task, or the file breaks a rule; names file, field and value.
    """
    if str(name_or_path) in builtin_tasks():
        return _builtin_task(str(name_or_path))
    path = Path(name_or_path)
    if not path.is_file():
        raise InputError(
            f"task `{name_or_path}`: neither a built-in task ({', '.join(builtin_tasks())}) nor a "
            "YAML file."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not readable as UTF-8 text ({error}).") from error
    return _parse_task(text, str(path))


@cache
def _builtin_task(name: str) -> Task:
    text = (_BUILTIN / f"{name}.yaml").read_text(encoding="utf-8")
    return _parse_task(text, f"{name}.yaml")


def task_from_labels(name: str, labels: list[str]) -> Task:
    """A task for a user's labelled file: plain prompt, one class a label, no categories."""
    classes = tuple(ClassDefinition(label, label, label) for label in sorted(set(labels)))
    return check_task(Task(name=name, prompt="Text: {text}", classes=classes), name)


def task_from_dict(content: Mapping[str, Any]) -> Task:
    """A task from what `dataclasses.asdict` made of it."""
    classes = tuple(ClassDefinition(**item) for item in content["classes"])
    return Task(content["name"], content["prompt"], classes, content["instruction"])


def _parse_task(text: str, where: str) -> Task:
    try:
        content = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{where}: not valid YAML ({reason[:200]}).") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{where}: a task is a mapping with the keys {', '.join(_FIELDS)}.")
    _only_known(content, _FIELDS, where)
    fields = {key: _text(content, key, where) for key in ("name", "prompt")}
    instruction = _text(content, "instruction", where) if "instruction" in content else ""
    listed = content.get("classes")
    if not isinstance(listed, list):
        raise InputError(f"{where}: `classes` is {listed!r}; it must be a list of classes.")
    classes = tuple(
        _parse_class(item, f"{where}: classes[{number}]") for number, item in enumerate(listed)
    )
    return check_task(Task(**fields, classes=classes, instruction=instruction), where)


def _parse_class(item: Any, where: str) -> ClassDefinition:
    if not isinstance(item, Mapping):
        raise InputError(f"{where}: `{item}` is not a mapping with name and definition.")
    _only_known(item, _CLASS_FIELDS, where)
    name = _text(item, "name", where)
    category = _text(item, "category", where) if "category" in item else name
    return ClassDefinition(name, category, _text(item, "definition", where))


def _only_known(content: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(known)}."
            raise InputError(f"{where}: unknown key `{key}`; {hint}")


def _text(content: Mapping[str, Any], key: str, where: str) -> str:
    value = content.get(key)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: `{key}` is {value!r}; it must be a non-empty text.")
    return value


def check_task(task: Task, where: str) -> Task:
    """The same task, if it keeps the rules of a task.

    Raises:
        InputError: it breaks one; names `where`, field and value.
    """
    _check_prompt(task.prompt, where)
    if len(task.classes) < 2:
        raise InputError(f"{where}: `classes` has {len(task.classes)} classes; a task needs two.")
    seen: set[str] = set()
    for label in task.labels:
        if label in seen:
            raise InputError(f"{where}: `classes` names `{label}` twice; a class must be unique.")
        seen.add(label)
        if not label or label != label.strip() or re.search(r"[\r\n]", label):
            raise InputError(f"{where}: class {label!r} must be one line without outer spaces.")
    return task


def _check_prompt(prompt: str, where: str) -> None:
    try:
        parts = list(string.Formatter().parse(prompt))
    except ValueError as error:
        raise InputError(f"{where}: `prompt` is not a template ({error}).") from error
    placeholders = {(name, layout, cast) for _, name, layout, cast in parts if name is not None}
    if placeholders != {("text", "", None)}:
        raise InputError(
            f"{where}: `prompt` is {prompt!r}; it must hold the placeholder {{text}} and no other "
            "(write {{ and }} for braces)."
        )
