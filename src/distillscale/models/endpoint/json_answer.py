"""Read the JSON value in a model's text, with whatever the model wrote around it."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

_FENCED = re.compile(r"```[\w-]*\s*\n?(.*?)```", re.DOTALL)
_START = re.compile(r"[{\[]")
_MOST_STARTS = 64
"""Braces at which a value is looked for: a text of braces alone must not take quadratic time."""


class UnfitAnswer(Exception):
    """A text holds no JSON value that fits the schema; says what is wrong with the nearest."""


def read_json(text: str, schema: Mapping[str, Any]) -> Any:
    """The first JSON value in a text that fits a schema.

    The text is tried whole, then what stands in fenced blocks, then from each opening brace or
    bracket on, so that words before and after a value, and wrappers around it, do no harm.

    Raises:
        UnfitAnswer: there is none.
    """
    validator = Draft202012Validator(dict(schema))
    problem = None
    for value in _values(text):
        error = best_match(validator.iter_errors(value))
        if error is None:
            return value
        problem = problem or " ".join(error.message.split())[:200]
    raise UnfitAnswer(
        "the text holds no JSON" if problem is None else f"its JSON misses the schema ({problem})"
    )


def _values(text: str) -> Iterator[Any]:
    for candidate in (text, *_FENCED.findall(text)):
        with suppress(ValueError, RecursionError):
            yield json.loads(candidate, parse_constant=_refuse)
    decoder = json.JSONDecoder(parse_constant=_refuse)
    for found in islice(_START.finditer(text), _MOST_STARTS):
        with suppress(ValueError, RecursionError):
            yield decoder.raw_decode(text, found.start())[0]


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
