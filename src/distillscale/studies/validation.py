"""Read a YAML file into a pydantic model, and say what is wrong with it in plain sentences."""

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from distillscale.errors import InputError

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[str | int, ...]


def read_yaml(path: Path, model: type[Model]) -> Model:
    """Read a YAML file into a model.

    Values must have the type that the model asks for: `"5"` is not a number, `true` is not 1.

    Raises:
        InputError: the file is missing, not YAML, or does not fit the model. The text has one
            sentence (one line) an error, with file, line, field, value and what would be right.
    """
    content, root = _parse(path)
    try:
        # JSON is where pydantic is strict about scalars and still reads lists as tuples.
        return model.model_validate_json(json.dumps(content, default=str), strict=True)
    except ValidationError as error:
        schema = model.model_json_schema()
        found = sorted(_placed(one, root, schema) for one in _own_errors(error, schema))
        raise InputError("\n".join(f"{path}:{line}: {what}" for line, what in found)) from error


def _parse(path: Path) -> tuple[Any, Node]:
    try:
        text = path.read_text(encoding="utf-8")
        reader = YAML(typ="safe", pure=True)
        content, root = reader.load(text), YAML(typ="safe", pure=True).compose(text)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable UTF-8 text file ({error}).") from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}:{line}: not valid YAML, {error.problem}.") from error
    except YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(root, MappingNode):
        raise InputError(f"{path}:1: the file must be a mapping of keys to values.")
    return content, root


def _own_errors(error: ValidationError, schema: Mapping[str, Any]) -> list[Any]:
    """The errors without those that only follow from others.

    A list counts as too short when its items are wrong, a key as missing when it is misspelt.
    """
    errors = error.errors(include_url=False)
    followed = {
        ("too_short", one["loc"][:depth]) for one in errors for depth in range(len(one["loc"]))
    }
    for one in errors:
        if one["type"] == "extra_forbidden":
            near = _near(str(one["loc"][-1]), _keys(schema, one["loc"][:-1]))
            followed |= {("missing", (*one["loc"][:-1], key)) for key in near}
    return [one for one in errors if (one["type"], one["loc"]) not in followed]


def _placed(details: Any, root: Node, schema: Mapping[str, Any]) -> tuple[int, str]:
    """The line of a pydantic error, and the sentence about it."""
    line, found = _locate(root, details["loc"])
    place = _schema_at(schema, details["loc"])
    return line, _complaint(details, _dotted(found), place, schema)


def _complaint(
    details: Any, field: str, place: Mapping[str, Any], schema: Mapping[str, Any]
) -> str:
    """What is wrong with a field whose part of the JSON Schema is `place`."""
    match details["type"]:
        case "extra_forbidden":
            keys = _keys(schema, details["loc"][:-1])
            return f"unknown key `{field}`; {_nearest(str(details['loc'][-1]), keys)}"
        case "missing":
            purpose = str(place.get("description", "it has no default")).rstrip(".")
            return f"`{_dotted((field, details['loc'][-1]))}` is missing: {purpose}."
        case "union_tag_not_found":
            return f"`{field}.kind` is missing: it must be one of {', '.join(_tags(place))}."
        case "union_tag_invalid":
            tag = details["ctx"]["tag"]
            return f"`{field}.kind` is {_short(tag)}; {_nearest(tag, _tags(place))}"
        case "literal_error":
            value = details["input"]
            return f"`{field}` is {_short(value)}; {_nearest(str(value), place['enum'])}"
        case "value_error":
            return f"{field and f'`{field}`: '}{details['ctx']['error']}."
        case _:
            return f"`{field}` is {_short(details['input'])}; it {_rule(details['msg'])}."


def _rule(message: str) -> str:
    """Pydantic's rule as the end of a sentence: `should be greater than 0`."""
    rule = message[message.index("should") :] if "should" in message else f"is wrong: {message}"
    rule = rule.removesuffix(" after validation, not 0")
    return rule.replace("a valid array", "a list").replace("an object", "a mapping")


def _locate(root: Node, location: Location) -> tuple[int, Location]:
    """The line (from 1) nearest to a pydantic location, and the part of it that the file has.

    Parts that the file does not have are passed over: pydantic puts the tag of a discriminated
    union into the location.
    """
    node, line, found = root, root.start_mark.line, list[str | int]()
    for part in location:
        child = _child(node, part)
        if child is not None:
            line, node = child
            found.append(part)
    return line + 1, tuple(found)


def _child(node: Node, part: str | int) -> tuple[int, Node] | None:
    """The line (from 0) of a key or list item, and the node under it."""
    if isinstance(node, MappingNode):
        pairs = (pair for pair in node.value if pair[0].value == str(part))
        return next(((key.start_mark.line, value) for key, value in pairs), None)
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line, node.value[part]
    return None


def _schema_at(schema: Mapping[str, Any], location: Location) -> Mapping[str, Any]:
    """The part of a JSON Schema that describes a location; empty where it has none."""
    place: Mapping[str, Any] = schema
    for part in location:
        place = _resolved(schema, place)
        mapping = place.get("discriminator", {}).get("mapping", {})
        if part in mapping:
            place = {"$ref": mapping[part]}
        elif isinstance(part, int):
            place = place.get("items", {})
        else:
            place = place.get("properties", {}).get(part, {})
    return _resolved(schema, place)


def _resolved(schema: Mapping[str, Any], place: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in place:
        return place
    return schema["$defs"][place["$ref"].rsplit("/", 1)[-1]] | {
        key: value for key, value in place.items() if key != "$ref"
    }


def _keys(schema: Mapping[str, Any], location: Location) -> list[str]:
    return list(_schema_at(schema, location).get("properties", {}))


def _tags(place: Mapping[str, Any]) -> list[str]:
    return list(place.get("discriminator", {}).get("mapping", {}))


def _dotted(location: Location) -> str:
    """`grids[0].schedules[1].stages`."""
    parts = (
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in location if part != ""
    )
    return "".join(parts).removeprefix(".")


def _near(word: str, known: Sequence[str]) -> list[str]:
    """The one nearest word, or none."""
    return difflib.get_close_matches(word, known, n=1)


def _nearest(word: str, known: Sequence[str]) -> str:
    near = _near(word, known)
    return f"did you mean `{near[0]}`?" if near else f"it must be one of {', '.join(known)}."


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
