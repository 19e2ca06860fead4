"""The data card of a corpus: what is in its folder, from where, how made, under which licence."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from distillscale import __version__
from distillscale.data.examples import CARD_FILE, COLUMNS, SPLITS
from distillscale.tasks import Split

UNSTATED = "not stated; ask the source before you share this"
_BLOCK = 1 << 20
_SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)

ClassCounts = Mapping[tuple[Split, str, str], int]
"""Examples by split, category and label."""


@dataclass(frozen=True)
class Source:
    """One thing that a corpus was made of; `sha256` where it is a file."""

    name: str
    sha256: str | None = None
    note: str = ""


@dataclass(frozen=True)
class DataCard:
    """What a card says besides what its folder's files tell.

    `command` is what makes the corpus again; `notes` are sentences on what was done and left out.
    """

    title: str
    licence: str
    counts: ClassCounts
    sources: tuple[Source, ...]
    command: str
    notes: tuple[str, ...] = ()


def write_card(card: DataCard, folder: Path) -> None:
    """Write `README.md` about the files that lie in a folder, with their SHA-256."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != CARD_FILE)
    sections = [
        _front_matter(card),
        f"# {_inline(card.title)}\n",
        f"{sum(card.counts.values()):,} examples of {len({k[2] for k in card.counts})} classes. "
        f"Licence: {_inline(card.licence)}.\n",
        "## Counts\n\n" + _split_table(card.counts),
        "## Sources\n\n" + _list(_source_line(source) for source in card.sources),
        f"## How it was made\n\n    {card.command}\n\nwith distillscale {__version__}.\n",
        _list(card.notes) if card.notes else "",
        "## Columns\n\n" + _table(("column", "what it holds"), COLUMNS.items()),
        "## Classes\n\n" + _class_table(card.counts),
        "## Files\n\n"
        + _table(
            ("file", "bytes", "SHA-256"),
            ((path.name, f"{path.stat().st_size:,}", sha256(path)) for path in files),
        ),
    ]
    text = "\n".join(section for section in sections if section)
    (folder / CARD_FILE).write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _front_matter(card: DataCard) -> str:
    """What the Hugging Face hub reads of a card. JSON is YAML too, and escapes anything."""
    total = sum(card.counts.values())
    above = next((name for name in _SIZES if total < name), None)
    below = max((size for size in _SIZES if size <= total), default=None)
    size = f"{_short(below)}<n<{_short(above)}" if above and below else f"n<{_short(above or 0)}"
    facts = {
        "pretty_name": card.title,
        "task_categories": ["text-classification"],
        "size_categories": [size if above else f"n>{_short(_SIZES[-1])}"],
    }
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in facts.items()]
    return "---\n" + "\n".join(lines) + "\n---\n"


def _short(number: int) -> str:
    return f"{number // 1_000_000}M" if number >= 1_000_000 else f"{number // 1000}K"


def _split_table(counts: ClassCounts) -> str:
    totals: Counter[str] = Counter()
    for (split, _, _), count in counts.items():
        totals[split] += count
    rows = [(split, f"{totals[split]:,}") for split in SPLITS if split in totals]
    return _table(("split", "examples"), rows)


def _class_table(counts: ClassCounts) -> str:
    splits = [split for split in SPLITS if any(key[0] == split for key in counts)]
    kinds = Counter[tuple[str, str]]()
    for (_, category, label), count in counts.items():
        kinds[category, label] += count
    order = sorted(kinds, key=lambda kind: (kind[0], -kinds[kind], kind[1]))
    rows = ((*kind, *(f"{counts.get((split, *kind), 0):,}" for split in splits)) for kind in order)
    return _table(("category", "label", *splits), rows)


def _source_line(source: Source) -> str:
    hashed = f", SHA-256 {source.sha256}" if source.sha256 else ""
    return f"`{_inline(source.name)}`{hashed}{'; ' + _inline(source.note) if source.note else ''}"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines)


def _list(items: Iterable[str]) -> str:
    return "".join(f"- {item}\n" for item in items)


def _cell(text: str) -> str:
    return _inline(text).replace("|", "\\|")


def _inline(text: str) -> str:
    return " ".join(text.split())
