"""Locks on folders. The system gives a lock back when its process ends, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def lock(folder: Path) -> int:
    """Wait for the lock of a folder; closing the descriptor that is returned gives it back."""
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def try_lock(folder: Path) -> int | None:
    """The lock of a folder, as by `lock`; None where another holds it or the folder has gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), folder.stat()):  # not renamed in the meantime
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder."""
    descriptor = lock(folder)
    try:
        yield
    finally:
        os.close(descriptor)
