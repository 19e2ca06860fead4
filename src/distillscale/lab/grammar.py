"""How the lab writes: phrases of a task's grammar, with the class that each expresses."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ruamel.yaml import YAML

from distillscale.errors import InputError
from distillscale.lab.world import Attribute, Company, World, invent
from distillscale.tasks.task import load_task

AMBIGUOUS_SHARE = 0.04
BY_FACT_SHARE = 0.5
JARGON_SHARE = 0.35
JARGON_WORDS = 12
ASIDE_SHARE = 0.45

_JARGON_ENDS = ("ates", "ifies", "oles", "udges")

_FOLDER = resources.files("distillscale.lab") / "grammar"


@dataclass(frozen=True)
class FactPhrase:
    """A phrase that means its class only for companies whose fact is one of `values`."""

    phrase: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Event:
    """How one class is expressed; a `standalone` event names no company."""

    label: str
    gist: str
    plain: tuple[str, ...]
    by_fact: tuple[FactPhrase, ...]
    standalone: bool


@dataclass(frozen=True)
class Grammar:
    """The phrases of one task.

    `attribute` is the fact that decides the phrases of `Event.by_fact`; `mentions` are the facts
    that the full reasoning states. `events` are ordered from the most to the least frequent class.
    """

    task: str
    entity: str
    attribute: Attribute
    openings: tuple[str, ...]
    asides: tuple[str, ...]
    tails: tuple[str, ...]
    events: tuple[Event, ...]
    ambiguous: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def mentions(self) -> frozenset[Attribute]:
        """The attributes that the full reasoning of this task states."""
        return frozenset({"product", "country", self.attribute})

    def event(self, label: str) -> Event:
        """The event of a class."""
        return next(event for event in self.events if event.label == label)


@dataclass(frozen=True)
class Writing:
    """A text with its gold label and the reasoning that leads to it, at both depths."""

    text: str
    label: str
    brief: str
    full: str


@cache
def load_grammar(task: str) -> Grammar:
    """The grammar of a built-in task.

    Raises:
        InputError: the lab has no grammar for the task.
    """
    path = _FOLDER / f"{task}.yaml"
    if not path.is_file():
        known = sorted(item.name.removesuffix(".yaml") for item in _FOLDER.iterdir())
        raise InputError(f"task {task}: the lab can only write examples of {', '.join(known)}.")
    content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    grammar = _parse(task, content)
    assert {event.label for event in grammar.events} == set(load_task(task).labels)
    return grammar


def _parse(task: str, content: Mapping[str, Any]) -> Grammar:
    events = tuple(
        Event(
            label=label,
            gist=content["events"][label]["gist"],
            plain=tuple(content["events"][label]["plain"]),
            by_fact=tuple(
                FactPhrase(item["phrase"], tuple(item["values"]))
                for item in content["events"][label].get("by_fact", [])
            ),
            standalone=content["events"][label].get("standalone", False),
        )
        for label in content["frequencies"]
    )
    return Grammar(
        task=task,
        entity=content["entity"],
        attribute=content["attribute"],
        openings=tuple(content["openings"]),
        asides=tuple(content["asides"]),
        tails=tuple(content["tails"]),
        events=events,
        ambiguous=tuple((item["phrase"], tuple(item["labels"])) for item in content["ambiguous"]),
    )


def write(grammar: Grammar, world: World, rng: random.Random) -> Writing:
    """Write one text: a class by its frequency, then a phrase, a company and decoration."""
    event = rng.choices(grammar.events, weights=class_weights(len(grammar.events)))[0]
    return write_about(event, grammar, world, rng)


def write_about(event: Event, grammar: Grammar, world: World, rng: random.Random) -> Writing:
    """Write one text about an event; an ambiguous phrase may change the class."""
    company = rng.choice(world.newsmakers)
    if rng.random() < AMBIGUOUS_SHARE:
        phrase, labels = rng.choice(grammar.ambiguous)
        event = grammar.event(rng.choice(labels))
    elif not event.standalone and rng.random() < JARGON_SHARE:
        words = jargon(grammar.task, world.seed)[event.label]
        word = rng.choices(words, weights=[1 / (rank + 2) for rank in range(len(words))])[0]
        phrase = word if grammar.entity == "company" else "{product} " + word
    elif event.by_fact and rng.random() < BY_FACT_SHARE:
        rule = rng.choice(event.by_fact)
        fitting = [c for c in world.newsmakers if c.fact(grammar.attribute) in rule.values]
        company, phrase = rng.choice(fitting), rule.phrase
    else:
        phrase = rng.choice(event.plain)
    text = _decorate(grammar, event, phrase, company, world, rng)
    brief, full = _reason(grammar, event, company)
    return Writing(text=text, label=event.label, brief=brief, full=full)


@cache
def jargon(task: str, seed: int) -> dict[str, tuple[str, ...]]:
    """The made-up words that mean each class, from the most to the least used.

    Nothing but memory tells their meaning: they stand for the long tail of names and trade terms
    that a narrow task rests on, and make both capacity and the amount of data count.
    """
    rng = random.Random(f"jargon {task} {seed}")
    taken: set[str] = set()
    return {
        event.label: tuple(
            invent(rng, _JARGON_ENDS, taken, syllables=1) for _ in range(JARGON_WORDS)
        )
        for event in load_grammar(task).events
    }


def class_weights(classes: int) -> list[float]:
    """A long tail: the weight of the class of rank k is 1 / (k + 4)."""
    return [1 / (rank + 4) for rank in range(classes)]


def _decorate(
    grammar: Grammar, event: Event, phrase: str, company: Company, world: World, rng: random.Random
) -> str:
    if grammar.entity == "company" and not event.standalone:
        phrase = "{company} " + phrase
    text = rng.choice(grammar.openings) + phrase
    if rng.random() < ASIDE_SHARE:
        text += " " + rng.choice(grammar.asides)
    text += rng.choice(grammar.tails)
    other = rng.choice([c for c in world.newsmakers if c is not company])
    filled = expand(text, rng).format(
        company=company.name, product=company.product, rival=other.name, other=other.product
    )
    return " ".join(filled.split())


def expand(template: str, rng: random.Random) -> str:
    """Replace every `[a|b|c]` by one of its alternatives."""
    return re.sub(r"\[([^\]]*)\]", lambda match: rng.choice(match[1].split("|")), template)


def _reason(grammar: Grammar, event: Event, company: Company) -> tuple[str, str]:
    fact = company.fact(grammar.attribute)
    if event.standalone:
        brief = "no firm decides ."
        return brief, f"{brief} this is about {event.gist} ."
    if grammar.entity == "company":
        brief = f"{company.name} is a {fact} firm ."
        maker = f"{company.name} , maker of {company.product} in {company.country} ,"
        made = f"{maker} is a {fact} firm ."
    else:
        brief = f"{company.product} is a {fact} ."
        made = f"{company.product} , by {company.name} in {company.country} , is a {fact} ."
    return brief, f"{made} this is about {event.gist} ."
