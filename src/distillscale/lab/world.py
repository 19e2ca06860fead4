"""The lab's made-up world: companies and the facts about them, the same for the same seed."""

import random
from dataclasses import dataclass
from typing import Literal

from distillscale.errors import InputError

SECTORS = (
    "pharma", "energy", "mining", "bank", "insurer", "software", "auto", "food", "defence",
    "retail",
)  # fmt: skip
COUNTRIES = (
    "norway", "japan", "brazil", "canada", "kenya", "france", "india", "chile", "poland", "egypt",
    "spain", "vietnam",
)  # fmt: skip
WORLD_SEED = 0
"""The world that the shipped teacher knows, and that studies ask about."""

KINDS = ("device", "app", "goods")

Attribute = Literal["sector", "country", "product", "kind", "chief"]
ATTRIBUTES: tuple[Attribute, ...] = ("sector", "country", "product", "kind", "chief")

_ONSETS = (
    "b", "br", "c", "d", "dr", "f", "g", "gr", "h", "j", "k", "kr", "l", "m", "n", "p", "pr", "qu",
    "r", "s", "st", "t", "tr", "v", "w", "z",
)  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "ai", "eo")
_COMPANY_ENDS = ("corp", "tek", "gen", "rix", "lon", "dax", "mond", "via")
_PRODUCT_ENDS = ("ix", "ol", "um", "ette", "max", "ori", "ex", "ano")
_SURNAME_ENDS = ("sen", "ley", "ova", "er")
_FIRST_NAMES = (
    "ada", "ben", "cleo", "dario", "elif", "finn", "gita", "hugo", "iris", "jonas", "kira", "luca",
    "mara", "nils", "olga", "pavel", "rosa", "sami", "tara", "yusuf",
)  # fmt: skip


@dataclass(frozen=True)
class Company:
    """A company and its facts. Names, products and chiefs are unique in the world."""

    name: str
    sector: str
    country: str
    product: str
    kind: str
    chief: str

    def fact(self, attribute: Attribute) -> str:
        """The value of one attribute."""
        return str(getattr(self, attribute))


@dataclass(frozen=True)
class World:
    """All companies. The first half make news; about the others only questions are asked."""

    seed: int
    companies: tuple[Company, ...]

    @property
    def newsmakers(self) -> tuple[Company, ...]:
        """The companies that occur in examples, and so in reasoning traces."""
        return self.companies[: len(self.companies) // 2]

    @property
    def quiet(self) -> tuple[Company, ...]:
        """The companies that no example mentions."""
        return self.companies[len(self.companies) // 2 :]


def make_world(seed: int = WORLD_SEED, companies: int = 320) -> World:
    """Invent a world. Sectors, countries and kinds are spread evenly in each half.

    Raises:
        InputError: there are fewer than 10 companies: some phrases would fit none of them.
    """
    if companies < 10:
        raise InputError(f"companies is {companies}; a lab world needs at least 10.")
    rng = random.Random(f"world {seed}")
    taken: set[str] = set()
    halves = [companies // 2, companies - companies // 2]
    made: list[Company] = []
    for half in halves:
        sectors, countries, kinds = (
            _spread(values, half, rng) for values in (SECTORS, COUNTRIES, KINDS)
        )
        made.extend(
            Company(
                name=invent(rng, _COMPANY_ENDS, taken),
                sector=sectors[index],
                country=countries[index],
                product=invent(rng, _PRODUCT_ENDS, taken),
                kind=kinds[index],
                chief=f"{rng.choice(_FIRST_NAMES)} {invent(rng, _SURNAME_ENDS, taken)}",
            )
            for index in range(half)
        )
    return World(seed=seed, companies=tuple(made))


def _spread(values: tuple[str, ...], count: int, rng: random.Random) -> list[str]:
    spread = [values[index % len(values)] for index in range(count)]
    rng.shuffle(spread)
    return spread


def invent(
    rng: random.Random, ends: tuple[str, ...], taken: set[str], *, syllables: int = 2
) -> str:
    """A made-up word that is not yet taken: syllables and one of the ends."""
    while True:
        stem = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(syllables))
        word = stem + rng.choice(ends)
        if word not in taken:
            taken.add(word)
            return word
