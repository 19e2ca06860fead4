"""Drafts of a writer that repeats itself and errs, as language models do when asked for thousands.

What it can say about a class is a numbered list of ideas, each one text of the grammar; which idea
a draft takes follows a long tail, so the more have been told, the rarer is a new one. An idea is
told in the same words or slightly reworded. A few drafts are faulty in ways that filters know. So
generating, filtering and deduplicating can be seen at work without any model.
"""

import random
from collections.abc import Callable, Iterator, Mapping

from distillscale.lab.grammar import Grammar, load_grammar, write_about
from distillscale.lab.world import World

REWORDED_SHARE = 0.7
FAULTY_SHARE = 0.05

_ENDS = ("again", "today", "now", "too", "at last", "once more")
_TAIL = 0.7
_HEAD = 25
"""Ideas before the tail begins."""


def lab_drafts(
    task: str, world: World, weights: Mapping[str, float], *, count: int, seed: int, stream: str
) -> Iterator[tuple[str, str]]:
    """Write drafts: pairs of text and gold label.

    Args:
        weights: how often each class is asked for, relative to the others. A phrase that several
            classes share may give another.
        seed: of the ideas, the same in all streams.
        stream: name of this batch; another one takes other ideas.

    Raises:
        InputError: the lab has no grammar for the task.
    """
    grammar = load_grammar(task)
    rng = random.Random(f"drafts {task} {world.seed} {seed} {stream}")
    events = [grammar.event(label) for label in weights]
    for event in rng.choices(events, weights=list(weights.values()), k=count):
        own = random.Random(f"idea {task} {world.seed} {seed} {event.label} {_idea_number(rng)}")
        writing = write_about(event, grammar, world, own)
        text = writing.text
        if rng.random() < REWORDED_SHARE:
            text = _reworded(text, grammar, rng)
        if rng.random() < FAULTY_SHARE:
            text = rng.choice(list(FAULTS.values()))(text, writing.label)
        yield text, writing.label


def _idea_number(rng: random.Random) -> int:
    """Lomax distribution: the share of ideas beyond number k is (1 + k / _HEAD)^-_TAIL."""
    return int(_HEAD * ((1 - rng.random()) ** (-1 / _TAIL) - 1))


def _reworded(text: str, grammar: Grammar, rng: random.Random) -> str:
    """The same news with another opening, a word more at its end, or another final mark."""
    kind = rng.random()
    if kind < 0.1:
        return text + rng.choice((" .", " !", " ..."))
    if kind < 0.5:
        return f"{text} {rng.choice(_ENDS)}"
    openings = [opening for opening in grammar.openings if opening]
    bare = next((text[len(start) :] for start in openings if text.startswith(start)), text)
    return rng.choice(openings) + bare


_CYRILLIC = str.maketrans("abcdefghijklmnopqrstuvwxyz", "абкдефгхижклмнопярстувшхыз")

FAULTS: Mapping[str, Callable[[str, str], str]] = {
    "label in front": lambda text, label: f"{label} : {text}",
    "slot not filled": lambda text, _: "{company} " + text,
    "broken off": lambda text, _: text.split()[0],
    "runs on": lambda text, _: " and ".join([text] * 12),
    "another script": lambda text, _: text.translate(_CYRILLIC),
    "talks about itself": lambda text, _: f"as an ai i would write : {text}",
}
"""What may be wrong with a draft: functions of the text and its label."""
