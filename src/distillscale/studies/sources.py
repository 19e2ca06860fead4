"""External inputs of a study: named by what they hold, found by where they lie."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from distillscale.errors import InputError
from distillscale.lab.teacher import shipped_teacher

_CHECKPOINT_FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja", "*.model")


@dataclass(frozen=True)
class Sources:
    """Where external inputs lie on this machine, by their digest. No part of any identity."""

    paths: Mapping[str, str]

    def path(self, digest: str) -> Path:
        """The file or folder with this content."""
        return Path(self.paths[digest])


def digest(path: Path) -> str:
    """SHA-256 of a file's content, or of the names and contents of a checkpoint folder's files."""
    files = [path] if path.is_file() else _checkpoint_files(path)
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{'' if file == path else file.name} {content}\n".encode())
    return total.hexdigest()


def teacher_source(model: str, revision: str | None) -> tuple[dict[str, Any], Path | None]:
    """What names a teacher in a step's identity, and the folder where it lies.

    A local teacher is named by its content; one on the hub by its name and revision, and its
    folder is not known before it is downloaded.

    Raises:
        InputError: it is neither `lab`, nor a checkpoint folder, nor a hub name.
    """
    folder = shipped_teacher() if model == "lab" else Path(model)
    if (folder / "config.json").is_file():
        return {"digest": digest(folder)}, folder
    if folder.is_dir() or model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise InputError(
            f"teacher.model `{model}` is no folder with a config.json, and no hub name of the form "
            "`organisation/model`."
        )
    return {"hub": model, "revision": revision}, None


def copy_checkpoint(sources: Sources, params: Mapping[str, Any], folder: Path) -> None:
    """Put a teacher's files into a folder: a local folder's as copies, since it may change.

    The hub's cache never changes, so its files are linked where the disk allows.

    Raises:
        InputError: a hub model cannot be downloaded.
    """
    local = "digest" in params
    source = sources.path(params["digest"]) if local else _download(params)
    for file in _checkpoint_files(source):
        place = shutil.copyfile if local else _link_or_copy
        place(file.resolve(), folder / file.name)


def _link_or_copy(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


def _download(params: Mapping[str, Any]) -> Path:
    try:
        return Path(
            snapshot_download(
                params["hub"],
                revision=params["revision"],
                allow_patterns=list(_CHECKPOINT_FILES),
            )
        )
    except (HfHubHTTPError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"teacher.model `{params['hub']}` cannot be downloaded from the hub ({reason[:200]})."
        ) from error


def _checkpoint_files(folder: Path) -> list[Path]:
    return sorted(file for pattern in _CHECKPOINT_FILES for file in folder.glob(pattern))
