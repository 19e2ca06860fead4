"""Every command that README and docs show exists, with the options they use."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from distillscale.cli import app

ROOT = Path(__file__).parents[2]


def shown_commands() -> list[list[str]]:
    commands = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        commands += re.findall(r"^(?:\$ )?(distillscale [^#\n]*)", text, flags=re.MULTILINE)
    return [shlex.split(command) for command in commands]


def targets() -> set[str]:
    return set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def test_there_are_commands_to_check():
    assert len(shown_commands()) >= 8


@pytest.mark.parametrize("words", shown_commands(), ids=" ".join)
def test_shown_command_exists_with_its_options(words: list[str]):
    command = typer.main.get_command(app)
    rest = words[1:]
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known


def test_shown_make_targets_exist():
    text = (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    assert set(re.findall(r"\bmake (study|test|lint|bench|real-data|\w+-\w+)", text)) <= targets()


def test_files_that_readme_links_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(((?!https?:)[^)#]+)\)", text):
        assert (ROOT / link).exists(), link
