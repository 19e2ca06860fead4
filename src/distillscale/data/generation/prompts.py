"""What a chat model is told to write, and the JSON that it must answer with."""

from collections.abc import Mapping, Sequence
from typing import Any

from distillscale.data.generation.filters import FilterRules
from distillscale.models.endpoint import Message
from distillscale.tasks import Example, Task

TEXTS_A_REQUEST = 10

_SYSTEM = (
    "You write realistic, varied texts for a classification data set. Answer with JSON and nothing "
    "else."
)


def draft_messages(
    task: Task, label: str, count: int, rules: FilterRules, few_shot: Sequence[Example]
) -> tuple[Message, ...]:
    """The request for some texts of one class.

    Args:
        few_shot: accepted examples of the class's category that show how wide it is.
    """
    definitions = {item.name: item.definition for item in task.classes}
    siblings = [
        f"- {name}: {definitions[name]}"
        for name, category in task.categories.items()
        if category == task.category_of(label) and name != label
    ]
    parts = [
        f"Write {count} different texts of the class `{label}`: {definitions[label]}",
        f"Each will stand in the place of {{text}} in this template: {task.prompt}",
        f"Language: {rules.language} (ISO 639-1). Each text is one line of {rules.shortest} to "
        f"{rules.longest} characters. Vary names, numbers, wording, tone and length. The class "
        "must follow from what a text says: never write the name of a class, a tag or a number.",
    ]
    if siblings:
        parts.append("No text may fit these classes as well:\n" + "\n".join(siblings))
    if few_shot:
        listed = "\n".join(f"- ({item.label}) {item.text}" for item in few_shot)
        parts.append(
            "Unusual texts that are in the data set already. Be as unusual, but write nothing "
            f"close to them:\n{listed}"
        )
    parts.append(f'Answer as {{"texts": [...]}} with {count} texts.')
    return Message("system", _SYSTEM), Message("user", "\n\n".join(parts))


def draft_schema(count: int) -> Mapping[str, Any]:
    """The JSON schema of an answer."""
    texts = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": count}
    return {
        "type": "object",
        "properties": {"texts": texts},
        "required": ["texts"],
        "additionalProperties": False,
    }
