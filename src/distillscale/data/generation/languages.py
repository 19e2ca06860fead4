"""A guess at a text's language: by its script, and by the function words of some languages."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

_CERTAIN = 2
"""Function words by which another language must be ahead, so that a foreign name is no proof."""

_URL = re.compile(r"https?://\S+")
_WORD = re.compile(r"\b[^\W\d_]+\b")


@dataclass(frozen=True)
class Language:
    """How a language is recognised: first words of its letters' Unicode names; function words."""

    scripts: tuple[str, ...]
    words: frozenset[str] = frozenset()


def _latin(words: str) -> Language:
    return Language(("LATIN",), frozenset(words.split()))


LANGUAGES: Mapping[str, Language] = {
    "en": _latin(
        "the of and to for in on at by with from after as is are was were be has have will would "
        "its this that not but over amid into than he she they you it we our your my a an i me am "
        "or if so no do does did can could what when where why how who there here out up about"
    ),
    "de": _latin(
        "der die das den dem des und oder nicht mit von vom zu zum zur im auf für ist sind wird "
        "werden wurde hat haben ein eine einen einem einer nach bei aus über auch sich als wie"
    ),
    "fr": _latin(
        "le la les des du et ou ne pas avec dans pour sur par est sont sera une aux ses son sa "
        "leur qui que ce cette ces plus après chez il elle nous vous"
    ),
    "es": _latin(
        "el la los las del y o no con en para por es son será una un unos su sus que se al más "
        "tras como pero este esta ha han lo"
    ),
    "it": _latin(
        "il lo la gli le del della dei delle e o non con nel nella per è sono sarà una un uno suo "
        "sua che si al alla più dopo come ma questo questa ha hanno"
    ),
    "pt": _latin(
        "o os as do da dos das e ou não com em no na nos nas para por é são será uma um seu sua "
        "que se ao à mais após como mas este esta tem foi"
    ),
    "nl": _latin(
        "de het een en of niet met van voor op in te is zijn wordt werd heeft hebben naar bij uit "
        "over ook zich als maar dit dat deze na door aan om"
    ),
    "ru": Language(("CYRILLIC",)),
    "uk": Language(("CYRILLIC",)),
    "el": Language(("GREEK",)),
    "ar": Language(("ARABIC",)),
    "he": Language(("HEBREW",)),
    "hi": Language(("DEVANAGARI",)),
    "th": Language(("THAI",)),
    "ko": Language(("HANGUL", "CJK")),
    "ja": Language(("HIRAGANA", "KATAKANA", "CJK")),
    "zh": Language(("CJK",)),
}
"""Languages by ISO 639-1 code. Where no function words are given, the script alone decides."""


@cache
def in_script(letter: str, scripts: tuple[str, ...]) -> bool:
    """Whether a letter belongs to one of some scripts."""
    return unicodedata.name(letter, "").startswith(scripts)


def guess_language(text: str, *, like: str) -> str | None:
    """The language of clearly more different function words than the language `like`.

    Returns:
        `like` itself where no other is ahead; None where nothing is known about it.
    """
    own = LANGUAGES[like]
    if not own.words:
        return None
    counts: Counter[str] = Counter()
    for word in sorted(set(_WORD.findall(_URL.sub("", text.lower())))):
        counts.update(_speakers().get(word, ()))
    ahead = [code for code, count in counts.most_common() if count >= counts[like] + _CERTAIN]
    return ahead[0] if ahead else like


@cache
def _speakers() -> Mapping[str, tuple[str, ...]]:
    words = {word for language in LANGUAGES.values() for word in language.words}
    return {
        word: tuple(code for code, language in LANGUAGES.items() if word in language.words)
        for word in words
    }
