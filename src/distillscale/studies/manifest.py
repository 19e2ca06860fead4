"""The manifest of an artifact: what made it, what it cost, and checksums that prove it whole."""

import functools
import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from distillscale.errors import DamagedArtifact
from distillscale.studies.identity import Step, from_lineage, lineage

MANIFEST = "manifest.json"
_PACKAGES = ("distillscale", "numpy", "peft", "scikit-learn", "tokenizers", "torch", "transformers")


@dataclass(frozen=True)
class Manifest:
    """What is known about a finished artifact.

    Attributes:
        step: the step that made it, with all its ancestors: a manifest explains itself even where
            the ancestors' artifacts are gone.
        files: SHA-256 of every file, by path inside the folder.
        seconds: wall time of the computation.
        peak_memory: largest resident memory in bytes while it ran.
        finished: when, as ISO 8601 in UTC.
        versions: Python, platform and packages it ran with (not all of them are identity).
        extra: what the step itself reports.
    """

    step: Step
    files: Mapping[str, str]
    seconds: float
    peak_memory: int
    finished: str
    versions: Mapping[str, str]
    extra: Mapping[str, Any]

    @property
    def seed(self) -> int | None:
        """The step's seed, where it has one."""
        return self.step.params.get("seed")

    def to_text(self) -> str:
        """The manifest as JSON, under a checksum of its own."""
        body: dict[str, Any] = {"key": self.step.key, "kind": self.step.kind, "seed": self.seed}
        body |= {key: value for key, value in vars(self).items() if key != "step"}
        body |= {"steps": lineage(self.step)}
        return json.dumps({"sha256": _checksum(body), "manifest": body}, indent=1, allow_nan=False)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of an artifact's folder.

    Raises:
        DamagedArtifact: it is missing, or not what was written.
    """
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        body = content["manifest"]
        if _checksum(body) != content["sha256"]:
            raise DamagedArtifact(f"{folder}: its manifest does not match its own checksum.")
        step = from_lineage(body["key"], body.pop("steps"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedArtifact(f"{folder}: its manifest cannot be read ({error!r}).") from error
    own = {key: value for key, value in body.items() if key not in ("key", "kind", "seed")}
    return Manifest(step=step, **own)


@functools.cache
def environment() -> dict[str, str]:
    """Versions of Python, platform and the packages that do the computing."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        versions[package] = metadata.version(package)
    return versions


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
