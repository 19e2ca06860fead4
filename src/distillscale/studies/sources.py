"""External inputs of a study: named by what they hold, found by where they lie."""

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from distillscale.errors import InputError
from distillscale.evaluation.question_files import question_files
from distillscale.lab.teacher import shipped_teacher
from distillscale.models.endpoint import EndpointSettings

_CHECKPOINT_FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja", "*.model")
_HUB_NAME = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*", re.ASCII)
_DATA_FILES = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Sources:
    """Where external inputs lie, by their digest, and the endpoint that serves the teacher.

    No part of any identity.
    """

    paths: Mapping[str, str]
    endpoint: EndpointSettings | None = None

    def path(self, content: str) -> Path:
        """The file or folder with this digest.

        Raises:
            InputError: what lies there is no longer what the study was planned with.
        """
        path = Path(self.paths[content])
        if not path.exists() or digest(path) != content:
            raise InputError(f"{path}: it changed while the study ran; run the same command again.")
        return path


def digest(path: Path) -> str:
    """SHA-256 of a file's content, or of the names and contents of a folder's files.

    Of a checkpoint those that make it up count, of any other folder the question files.
    """
    files = [path] if path.is_file() else _content_files(path)
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        name = "" if file == path else file.relative_to(path).as_posix()
        total.update(f"{name} {content}\n".encode())
    return total.hexdigest()


def teacher_source(model: str, revision: str | None) -> tuple[dict[str, Any], Path | None]:
    """What names a teacher in a step's identity, and the folder where it lies.

    A local teacher is named by its content; one on the hub by its name and revision, and its
    folder is not known before it is downloaded.

    Raises:
        InputError: it is neither `lab`, nor a checkpoint folder, nor a hub name.
    """
    folder = local_teacher(model)
    if folder is not None:
        if not any(folder.glob("*.safetensors")):
            raise InputError(
                f"teacher.model `{model}`: the folder has no *.safetensors file, and weights are "
                "read from no other."
            )
        return {"digest": digest(folder)}, folder
    if Path(model).is_dir() or model.count("/") != 1 or not _HUB_NAME.fullmatch(model):
        raise InputError(
            f"teacher.model `{model}` is no folder with a config.json, and no hub name of the form "
            "`organisation/model`."
        )
    return {"hub": model, "revision": revision}, None


def encoder_source(encoder: str) -> tuple[dict[str, str], Path | None]:
    """What names a pretrained encoder in a step's identity, and its folder, where it is local.

    Raises:
        InputError: it is neither a folder with weights in safetensors nor a hub name.
    """
    folder = Path(encoder)
    if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
        return {"digest": digest(folder)}, folder
    if folder.exists() or not _HUB_NAME.fullmatch(encoder):
        raise InputError(
            f"baselines.encoder `{encoder}` is no folder with a config.json and *.safetensors "
            "weights, and no model's name on the hub."
        )
    return {"hub": encoder}, None


def local_teacher(model: str) -> Path | None:
    """The folder of a teacher that lies on this machine; None where it may be one of the hub."""
    folder = shipped_teacher() if model == "lab" else Path(model)
    return folder if (folder / "config.json").is_file() else None


def data_file(source: str, field: str) -> Path | None:
    """The file that a data source names; None where it is a dataset's name on the hub.

    Args:
        field: where the study names it, for the sentence of an error.

    Raises:
        InputError: it is neither. A folder is not taken: its content has no digest.
    """
    path = Path(source)
    if path.is_file():
        return path
    if path.exists() or path.suffix.lower() in _DATA_FILES or not _HUB_NAME.fullmatch(source):
        raise InputError(
            f"{field} `{source}` is no file, and no name of a dataset on the hub; a file is one "
            f"of {', '.join(_DATA_FILES)}."
        )
    return None


def copy_checkpoint(sources: Sources, params: Mapping[str, Any], folder: Path) -> None:
    """Put a teacher's files into a folder: a local folder's as copies, since it may change.

    The hub's cache never changes, so its files are linked where the disk allows.

    Raises:
        InputError: a hub model cannot be downloaded, or a local one has changed.
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
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"teacher.model `{params['hub']}` cannot be downloaded from the hub ({reason[:200]})."
        ) from error


def _content_files(folder: Path) -> list[Path]:
    is_checkpoint = (folder / "config.json").is_file()
    return _checkpoint_files(folder) if is_checkpoint else question_files(folder)


def _checkpoint_files(folder: Path) -> list[Path]:
    return sorted(file for pattern in _CHECKPOINT_FILES for file in folder.glob(pattern))
