"""`vllm-check`: a checkpoint's config against what vLLM reads of it."""

import json
from pathlib import Path
from typing import Any

from distillscale.errors import InputError
from distillscale.serving.vllm import VERSION, check_config, tensor_parallel_sizes


def vllm_check(folder: Path) -> bool:
    """Print what to know before vLLM reads a folder; True if nothing would fail.

    Raises:
        InputError: it has no readable config.json.
    """
    config = _read(folder / "config.json")
    findings = check_config(config)
    for finding in findings:
        print(finding)
    fits = not any(finding.fatal for finding in findings)
    if fits:
        sizes = ", ".join(map(str, tensor_parallel_sizes(config)))
        print(f"vLLM {VERSION} reads this config; tensor-parallel sizes: {sizes}.")
    else:
        print(f"vLLM {VERSION} would not run this model as it is.")
    return fits


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; name the folder of a checkpoint.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}).") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: it holds a {type(config).__name__}; a config is an object.")
    return config
