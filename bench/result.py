"""What a benchmark leaves: one line of JSON, also kept as a file, with the machine's name."""

import json
import platform
from pathlib import Path

import torch

FOLDER = Path(__file__).parent / "results"


def save(name: str, result: dict[str, object]) -> None:
    """Write a result to bench/results/ and print it as the last line."""
    result = {"benchmark": name, "machine": machine(), **result}
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def machine() -> str:
    """Processor or GPU, threads and torch."""
    return f"{_processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _processor() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
