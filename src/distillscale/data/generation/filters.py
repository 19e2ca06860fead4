"""What a draft must be to be considered: plain checks, each the reason that it is named by.

A check is a function of draft, task and rules that says whether the draft is to be dropped. To add
one, write it and enter it in `FILTERS`; the first that objects gives the reason.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from distillscale.data.generation.languages import LANGUAGES, guess_language, in_script
from distillscale.data.generation.records import Draft
from distillscale.data.split import normalised
from distillscale.errors import InputError
from distillscale.tasks import Task

DEFAULT_BANNED = (
    "as an ai",
    "as a language model",
    "i cannot assist",
    "i can't assist",
    "sure, here",
)
"""How models talk about themselves instead of writing what was asked for."""

_FOREIGN_LETTERS = 0.1
"""Share of letters of another script that is let pass: a name, a unit."""

_SLOT = re.compile(
    r"\{\w*\}|</?\w+>|\[[A-Z][A-Z_ ]+\]|\blorem ipsum\b"
    r"|\[(?:amount|city|company|country|date|insert|name|number|person|product)\b[^\]]*\]"
)
_BROKEN_KINDS = ("Cc", "Cn", "Co", "Cs", "Zl", "Zp")
"""Unicode categories that no text of one line holds: controls, no characters, line breaks."""

_MARKUP = re.compile(r'```|\*\*|^\s*(?:\d{1,2}[.)]|[-*•#])\s|^\s*[\[{]|"\s*:\s*["\[{]|\\[nu"]')


@dataclass(frozen=True)
class FilterRules:
    """What a task's texts are like.

    Attributes:
        shortest: characters.
        longest: characters.
        language: one of `LANGUAGES`; it decides the script too.
        banned: no text may hold one of these, whatever the case.
    """

    shortest: int = 12
    longest: int = 300
    language: str = "en"
    banned: tuple[str, ...] = DEFAULT_BANNED

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: a length or the language is out of range.
        """
        if not 1 <= self.shortest <= self.longest:
            raise InputError(
                f"texts of {self.shortest} to {self.longest} characters: the shortest must be at "
                "least 1 and at most the longest."
            )
        if self.language not in LANGUAGES:
            raise InputError(
                f"language `{self.language}`: it must be one of {', '.join(sorted(LANGUAGES))}."
            )
        if not all(map(str.strip, self.banned)):
            raise InputError("a banned text is empty; every text would hold it.")


Filter = Callable[[Draft, Task, FilterRules], bool]


def reason_to_drop(draft: Draft, task: Task, rules: FilterRules) -> str | None:
    """The name of the first filter that objects; None lets the draft pass."""
    return next((name for name, objects in FILTERS.items() if objects(draft, task, rules)), None)


def is_malformed(draft: Draft, _task: Task, _rules: FilterRules) -> bool:
    """No letter, a line break or control character, an open slot, markup, or broken encoding."""
    text = draft.text
    return (
        not any(map(str.isalpha, text))
        or "\ufffd" in text
        or any(map(_is_broken, text))
        or bool(_SLOT.search(text) or _MARKUP.search(text))
    )


def _is_broken(character: str) -> bool:
    return not character.isprintable() and unicodedata.category(character) in _BROKEN_KINDS


def is_too_short(draft: Draft, _task: Task, rules: FilterRules) -> bool:
    """Fewer characters than the rules ask for."""
    return len(draft.text) < rules.shortest


def is_too_long(draft: Draft, _task: Task, rules: FilterRules) -> bool:
    """More characters than the rules allow."""
    return len(draft.text) > rules.longest


def has_wrong_script(draft: Draft, _task: Task, rules: FilterRules) -> bool:
    """More than a tenth of the letters belong to another script than the language's."""
    scripts = LANGUAGES[rules.language].scripts
    if draft.text.isascii():
        return "LATIN" not in scripts
    letters = [character for character in draft.text if character.isalpha()]
    foreign = sum(not in_script(letter, scripts) for letter in letters)
    return foreign > _FOREIGN_LETTERS * len(letters)


def has_wrong_language(draft: Draft, _task: Task, rules: FilterRules) -> bool:
    """The function words are those of another language of the same script.

    A guess: a text without such words passes.
    """
    guess = guess_language(draft.text, like=rules.language)
    return guess is not None and guess != rules.language


def tells_its_label(draft: Draft, task: Task, _rules: FilterRules) -> bool:
    """A class or category stands in the text as a tag, not as a word of it.

    A tag is a name that is no plain word (`earnings_beat`, `Earnings-Beat`); any name before a
    colon at the start, in brackets, after `#` or after `label:`; or a text that is a name and
    nothing else. "merger talks" in a text of the class `merger` is ordinary.
    """
    tags, names = _tags(task)
    return bool(tags.search(draft.text)) or normalised(draft.text) in names


def is_banned(draft: Draft, _task: Task, rules: FilterRules) -> bool:
    """One of the banned strings occurs."""
    text = draft.text.casefold()
    return any(banned.casefold() in text for banned in rules.banned)


FILTERS: Mapping[str, Filter] = {
    "malformed": is_malformed,
    "too_short": is_too_short,
    "too_long": is_too_long,
    "wrong_script": has_wrong_script,
    "wrong_language": has_wrong_language,
    "label_leaked": tells_its_label,
    "banned": is_banned,
}


@cache
def _tags(task: Task) -> tuple[re.Pattern[str], frozenset[str]]:
    """What finds a tag anywhere in a text, and the normal forms of all names."""
    names = {*task.labels, *task.categories.values()}
    words = {name: re.split(r"[\W_]+", name) for name in names}
    loose = "|".join(r"[\W_]*".join(map(re.escape, parts)) for parts in words.values())
    joined = [r"[_-]".join(map(re.escape, parts)) for parts in words.values() if len(parts) > 1]
    forms = [
        rf"^\W*(?:{loose})\s*[:|]",
        rf"[\[(<]\s*(?:{loose})\s*[\])>]",
        rf"#(?:{loose})\b",
        rf"\b(?:label|class|category|event|topic)\s*[:=]\s*\W?(?:{loose})\b",
        *(rf"\b(?:{own})\b" for own in joined),
    ]
    plain = {normalised(" ".join(parts)) for parts in words.values()}
    return re.compile("|".join(forms), re.IGNORECASE), frozenset(plain)
