import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from mini_study import STUDY

from distillscale.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "mini.yaml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Run a command in this process (imports cost seconds), in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["distillscale", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        written = capsys.readouterr()
        return Ended(code, written.out, written.err)

    return call


@pytest.fixture
def complaint(call: Callable[..., Ended]) -> Callable[..., str]:
    """Run a command that must refuse its input: one sentence, exit code 2."""

    def complaint(*arguments: str | Path) -> str:
        ended = call(*arguments)
        assert ended.code == 2, ended
        assert "Traceback" not in ended.err
        assert ended.out == ""
        return ended.err

    return complaint
