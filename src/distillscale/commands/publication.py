"""The folder that `compress` writes, as a whole: card, test texts, and what may be published."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from safetensors import SafetensorError, safe_open

from distillscale.commands.model_card import LawPlace, model_card
from distillscale.commands.model_facts import FACTS_FILE, read_facts
from distillscale.errors import InputError
from distillscale.models.checkpoint import load_tokenizer
from distillscale.serving.deployment import read_deployment
from distillscale.serving.vllm import check_config
from distillscale.tasks import Example
from distillscale.tasks.prompt import encode_prompt

TEST_FILE = "test.jsonl"
CARD_FILE = "README.md"

_PUBLISHED = (
    "model.safetensors", "model-?????-of-?????.safetensors", "model.safetensors.index.json",
    "config.json", "generation_config.json", "distillscale.json", FACTS_FILE,
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "chat_template.jinja",
)  # fmt: skip
"""Names of the files that `push` uploads, besides the card: no other file leaves this machine."""

_PICKLES = (
    ".bin", ".ckpt", ".dill", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pt2", ".pth",
)  # fmt: skip


@dataclass(frozen=True)
class Contents:
    """What of a folder is published, and the names of what is not; both sorted."""

    published: tuple[Path, ...]
    left_out: tuple[str, ...]


def card_of(folder: Path, *, name: str, places: Sequence[LawPlace] = ()) -> str:
    """The card of a folder, from its facts, task, tokenizer and config.

    Args:
        folder: written by `compress`.
        name: what the card calls it: the folder's name, or the repository's.
        places: where the model stands among fitted laws.

    Raises:
        InputError: a file of the folder is missing or wrong.
    """
    facts, deployment = read_facts(folder), read_deployment(folder)
    tokenizer = load_tokenizer(folder)
    ids = encode_prompt(deployment.task, "some text", deployment.thinking, tokenizer)
    return model_card(
        facts,
        deployment.task,
        folder=name,
        prompt=tokenizer.decode(ids),
        vllm=check_config(json.loads((folder / "config.json").read_text(encoding="utf-8"))),
        places=places,
    )


def write_test_texts(examples: Iterable[Example], folder: Path) -> None:
    """Keep the test texts and their gold labels beside the model, one JSON object a line."""
    lines = [
        json.dumps({"text": example.text, "label": example.label}, ensure_ascii=False)
        for example in examples
    ]
    (folder / TEST_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def contents(folder: Path) -> Contents:
    """Sort a folder's files into those that are published and those that stay.

    Raises:
        InputError: it holds a pickle or a link, has no weights, or weights that are no
            safetensors.
    """
    published, left_out = [], []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _PICKLES:
            raise InputError(
                f"{path}: a `{path.suffix}` file can run code when it is loaded; take it out of "
                "the folder, weights are published as safetensors only."
            )
        if path.is_symlink():
            raise InputError(f"{path}: a link; only files that lie in the folder are published.")
        if path.is_file() and any(fnmatchcase(path.name, name) for name in _PUBLISHED):
            published.append(path)
        elif path.name != CARD_FILE:
            left_out.append(path.name)
    _check_weights(folder, published)
    return Contents(tuple(published), tuple(left_out))


def _check_weights(folder: Path, published: Sequence[Path]) -> None:
    weights = [path for path in published if path.suffix == ".safetensors"]
    if not weights:
        raise InputError(f"{folder}: no model.safetensors; there are no weights to publish.")
    for path in weights:
        try:
            with safe_open(path, framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"{path}: no safetensors file, whatever its name ({error})."
            ) from error
