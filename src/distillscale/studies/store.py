"""The artifact store: a local folder in which every result is kept under its step's key.

    ROOT/<kind>/<key>/          a finished artifact: the step's files and `manifest.json`
    ROOT/.partial/<key>.<x>/    one that is being written; its writer holds a lock on the folder
    ROOT/.damaged/              artifacts that failed their checksums, set aside

An artifact appears under its final name only when it is complete and on disk, so that a kill, a
full disk or a second writer can never leave half of one there.
"""

import errno
import hashlib
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from distillscale.errors import DamagedArtifact, DistillscaleError, InputError
from distillscale.studies.folder_lock import lock, locked, try_lock
from distillscale.studies.identity import Step, canonical
from distillscale.studies.manifest import MANIFEST, Manifest, environment, read_manifest
from distillscale.studies.memory import peak_memory, reset_peak_memory

WORK_FOLDER = "work"
"""Folder inside a step's output that survives a kill: the next attempt at the same step finds it
in the same place (a trainer's checkpoints). It is no part of the artifact."""

_WORK_IS_KEPT_FOR = 7 * 24 * 3600  # seconds
_ROOM = 1 << 20  # bytes; a write that failed with less than this free failed for lack of room

logger = logging.getLogger(__name__)


class Store:
    """A content-addressed store of artifacts, shared by any number of processes."""

    def __init__(self, root: Path) -> None:
        """Open the store at a folder, and create it where there is none.

        Raises:
            InputError: the folder cannot be created or written.
        """
        self.root = root.absolute()
        self._partial = self.root / ".partial"
        self._verified: set[str] = set()
        try:
            self._partial.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{root}: no artifact store can be made here ({error.strerror}); name a folder "
                "that you may write."
            ) from error

    def folder(self, step: Step) -> Path:
        """Where the artifact of a step is, or would be."""
        return self.root / step.kind / step.key

    def open(self, step: Step) -> Path | None:
        """The folder of a step's artifact; None where there is none that is whole.

        Checksums are compared once per store object. A damaged artifact is set aside with a
        warning, so that it counts as missing and is computed again.
        """
        folder = self.folder(step)
        if not folder.is_dir():
            return None
        if step.key not in self._verified:
            if not _is_whole(folder) and not self._replaced(folder):
                return None
            self._verified.add(step.key)
        return folder

    def publish(self, step: Step, produce: Callable[[Path], Mapping[str, Any]]) -> Path:
        """Let `produce` write a step's files into an empty folder, and store them whole.

        Args:
            step: what is computed.
            produce: writes the files; returns what the manifest's `extra` shall say.

        Returns:
            The artifact's folder. Where another writer was first, it is theirs and ours is gone.

        Raises:
            DistillscaleError: the disk is full. Nothing is left of the artifact then, as after
                any other exception.
        """
        with self._claimed(step) as folder, _full_disk_named(self.root):
            _seal(folder, _measured(step, folder, produce))
            return self._put_in_place(step, folder)

    def manifests(self, kind: str | None = None) -> Iterator[Manifest]:
        """The manifests of all artifacts, or of those of one kind; unreadable ones are skipped."""
        for path in sorted(self.root.glob(f"{kind or '[!.]*'}/*/{MANIFEST}")):
            try:
                yield read_manifest(path.parent)
            except DamagedArtifact as damage:
                logger.warning("%s It is passed over.", damage)

    def clean(self) -> None:
        """Remove what killed runs left; work folders stay for a week, to be resumed from."""
        with locked(self._partial):
            for folder in self._partial.iterdir():
                held = try_lock(folder)
                if held is not None:
                    _keep_only_work(folder)
                    os.close(held)

    @contextmanager
    def _claimed(self, step: Step) -> Iterator[Path]:
        """A folder that only we write, in which an abandoned attempt's work folder is kept."""
        with locked(self._partial):
            folder, held = self._claim(step)
        try:
            yield folder
        except KeyboardInterrupt:
            _keep_only_work(folder)
            raise
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        else:
            shutil.rmtree(folder, ignore_errors=True)  # still there where another was first
        finally:
            os.close(held)

    def _claim(self, step: Step) -> tuple[Path, int]:
        """A locked folder: an abandoned one with work to resume from, else a new one."""
        for abandoned in self._partial.glob(f"{step.key}.*"):
            held = try_lock(abandoned)
            if held is not None:
                _keep_only_work(abandoned)
                if abandoned.exists():
                    return abandoned, held
                os.close(held)
        folder = self._partial / f"{step.key}.{secrets.token_hex(4)}"
        folder.mkdir()
        return folder, lock(folder)

    def _put_in_place(self, step: Step, folder: Path) -> Path:
        target = self.folder(step)
        target.parent.mkdir(exist_ok=True)
        while True:
            try:
                folder.rename(target)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                if self.open(step) is not None:
                    return target  # another writer was first
            else:
                _sync(target.parent)
                self._verified.add(step.key)
                return target

    def _replaced(self, folder: Path) -> bool:
        """Set a damaged artifact aside, unless another process has done so and computed it anew."""
        with locked(self._partial):
            try:
                verify(folder)
            except DamagedArtifact as damage:
                logger.warning("%s It is set aside and will be computed again.", damage)
                place = self.root / ".damaged"
                place.mkdir(exist_ok=True)
                with suppress(FileNotFoundError):
                    folder.rename(place / f"{folder.name}.{secrets.token_hex(4)}")
                return False
            return True


def _is_whole(folder: Path) -> bool:
    try:
        verify(folder)
    except DamagedArtifact:
        return False
    return True


def verify(folder: Path) -> Manifest:
    """Compare an artifact with its manifest.

    Raises:
        DamagedArtifact: a file is missing, altered, or was added, or the artifact is another
            step's; names the file.
    """
    manifest = read_manifest(folder)
    if manifest.step.key != folder.name:
        raise DamagedArtifact(f"{folder}: its manifest is that of {manifest.step.key}.")
    found = _checksums(folder)
    for name in sorted(found.keys() | manifest.files.keys()):
        if found.get(name) != manifest.files.get(name):
            what = "is missing" if name not in found else "is not what was stored"
            raise DamagedArtifact(f"{folder}: file `{name}` {what}.")
    return manifest


def _measured(step: Step, folder: Path, produce: Callable[[Path], Mapping[str, Any]]) -> Manifest:
    """Compute a step's files and describe them."""
    reset_peak_memory()
    started = time.monotonic()
    extra = canonical(produce(folder), f"{step.kind}.extra")
    seconds, peak = time.monotonic() - started, peak_memory()
    shutil.rmtree(folder / WORK_FOLDER, ignore_errors=True)
    return Manifest(
        step=step,
        files=_checksums(folder),
        seconds=round(seconds, 3),
        peak_memory=peak,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=environment(),
        extra=extra,
    )


def _seal(folder: Path, manifest: Manifest) -> None:
    """Bring every file to the disk; the manifest comes last."""
    for path in sorted(folder.rglob("*")):
        _sync(path)
    (folder / MANIFEST).write_text(manifest.to_text(), encoding="utf-8")
    _sync(folder / MANIFEST)
    _sync(folder)


def _checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under a folder but the manifest, by relative path."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: _sha256(path) for name, path in names.items() if name != MANIFEST}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep_only_work(folder: Path) -> None:
    """Empty an abandoned folder but for its work folder; remove it where that is none or old."""
    work = folder / WORK_FOLDER
    if not work.is_dir() or time.time() - work.stat().st_mtime > _WORK_IS_KEPT_FOR:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in folder.iterdir():
        if path.is_dir() and path != work:
            shutil.rmtree(path, ignore_errors=True)
        elif path != work:
            path.unlink(missing_ok=True)


@contextmanager
def _full_disk_named(root: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if _lacks_room(error, root):
            raise DistillscaleError(
                f"the disk that holds {root} is full; free some space and run the same command "
                "again."
            ) from error
        raise


def _lacks_room(error: BaseException | None, folder: Path) -> bool:
    """Whether an error, or one behind it, came from a full disk."""
    if shutil.disk_usage(folder).free < _ROOM:
        return True
    while error is not None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or os.strerror(errno.ENOSPC) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
