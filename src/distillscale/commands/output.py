"""Where a command writes, checked before it computes anything."""

import os
from pathlib import Path

from distillscale.errors import InputError


def check_new_folder(folder: Path, option: str) -> None:
    """Make sure that a folder can be made, or is there and empty, without making it.

    Raises:
        InputError: it holds something, or the user may not write there.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{option} {folder}: it exists and is not empty; name a new folder.")
    check_writable(folder.absolute().parent, option)


def check_file(out: Path, option: str) -> None:
    """Make sure that a file can be written, without making it.

    Raises:
        InputError: it is a folder, or the user may not write where it is to be.
    """
    if out.is_dir():
        raise InputError(f"{option} {out}: it is a folder; name a file.")
    check_writable(out.parent, option)


def check_writable(folder: Path, option: str) -> None:
    """Make sure that a folder can be written or made, without making it.

    Raises:
        InputError: something else is in its place, or the user may not write there.
    """
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if _is(path))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(
            f"{option} {folder}: `{nearest}` is not a folder that you may write to; name another."
        )


def _is(path: Path) -> bool:
    return path.exists() or path.is_symlink()
