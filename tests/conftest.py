"""Settings that all tests share."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from lab_server import LabServer

# A busy machine is no failure: no test asserts seconds, hypothesis included.
settings.register_profile("distillscale", deadline=None, derandomize=True)
settings.load_profile("distillscale")


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[LabServer]":
    """`transformers serve` with the lab's teacher, on loopback; started once for all tests."""
    from lab_server import serving, write_chat_teacher

    folder = tmp_path_factory.mktemp("served") / "teacher"
    write_chat_teacher(folder)
    with serving(folder) as server:
        yield server
