"""One distillation step, ours against the plain formula, TRL and Liger, on the same machine.

A step is student forward, the teacher's part, loss, backward and AdamW, at Qwen3's vocabulary with
a small tied Qwen3 body. All variants train the same student on the same batch towards the same
forward KL (mean over supervised positions, temperature 1); loss and gradients are compared with the
plain formula's first. Peers are called as their own trainers call them.

Times are medians of steps that alternate in one process, in seconds and in processor seconds of
all its threads: on a machine that other work shares, the latter are less disturbed. The targets are
held against seconds. Peak memory is that of one step in a process of its own, above what was
resident before it (model, batch, optimizer state). The last line is the result as JSON; it is also
written to bench/results/.

    kd_step.py                      both supervisions, every variant
    kd_step.py peak label ours_exact_cache    only the peak memory of one variant, in bytes
"""

import ctypes
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kd_variants import HIDDEN, OURS, PEERS, TOP_K, Bench, missing_peers
from result import save

LENGTH, BATCH, REPEATS = 256, 8, 3
SHARES = {"label": 0.03, "cot": 0.4}
"""Share of positions that is supervised, by supervision."""
CUDA_CONTEXT = 4096
"""Length at which a GPU also measures memory, all of it supervised: 32k positions a batch."""

TARGETS = {
    "label_speedup": 5.0,
    "label_memory_ratio": 5.0,
    "cot_speedup": 1.5,
    "cot_memory_ratio": 1.0,
    "teacher_share": 0.05,
}
"""Wanted: ratios best peer / ours, at least; the teacher's share of a step, at most."""
DEFAULT = "ours_exact_cache"
"""Held against the ratios: the trainer's default, without approximation. The teacher's share is
that of the top-k cache, by which the teacher's head is not needed either."""

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Measured:
    """Of a step, by variant: median (processor) seconds, and peak bytes (None: did not fit)."""

    seconds: dict[str, float]
    processor: dict[str, float]
    peak: dict[str, int | None]

    def ratios(self, ours: str) -> dict[str, tuple[float, float | None]]:
        """How many times the time and the memory of one of ours each peer takes."""
        return {
            peer: (
                round(self.seconds[peer] / self.seconds[ours], 2),
                _ratio(self.peak[peer], self.peak[ours]),
            )
            for peer in PEERS
            if peer in self.seconds
        }

    def processor_ratios(self, ours: str) -> dict[str, float]:
        """How many times the processor seconds of one of ours each peer takes."""
        return {
            peer: round(self.processor[peer] / self.processor[ours], 2)
            for peer in PEERS
            if peer in self.processor
        }


def _ratio(peer: int | None, ours: int | None) -> float | None:
    return round(peer / ours, 2) if peer and ours else None


def main() -> None:
    measured = {}
    for supervision, share in SHARES.items():
        bench = Bench(LENGTH, BATCH, round(LENGTH * share), DEVICE)
        check_equal(bench)
        seconds, processor = alternate(bench, [*PEERS, *OURS])
        del bench
        peak = {name: peak_apart(supervision, name) for name in seconds}
        measured[supervision] = Measured(seconds, processor, peak)
        report(supervision, measured[supervision])
    result = verdict(measured)
    if DEVICE.type == "cuda":
        result["peak_mib_32k"] = {
            name: mib(peak_apart("32k", name)) for name in measured["cot"].seconds
        }
    save(f"kd_step_{DEVICE.type}", result)


def check_equal(bench: Bench) -> None:
    """Every exact variant must have the plain formula's loss and gradients."""
    wanted_loss, wanted = bench.loss_and_gradients("plain")
    for name in [*PEERS, *OURS]:
        if name == "plain" or name not in bench.variants or "top" in name or name == "no_teacher":
            continue
        loss, found = bench.loss_and_gradients(name)
        assert abs(loss - wanted_loss) < 1e-5 * abs(wanted_loss), (name, loss, wanted_loss)
        for weight, gradient in wanted.items():
            error = (found[weight] - gradient).norm() / gradient.norm()
            assert error < 1e-4, (name, weight, error)


def alternate(bench: Bench, names: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds and processor seconds of every variant's step; the first round compiles."""
    spent: dict[str, list[tuple[float, float]]] = {n: [] for n in names if n in bench.variants}
    for turn in range(REPEATS + 1):
        for name, own in spent.items():
            gc.collect()
            both = timed(lambda name=name: bench.step(name))
            if turn:
                own.append(both)
    seconds, processor = (
        {name: statistics.median(both[clock] for both in own) for name, own in spent.items()}
        for clock in range(2)
    )
    return seconds, processor


def timed(work: Callable[[], Tensor]) -> tuple[float, float]:
    """Seconds, and processor seconds of all threads."""
    synchronize()
    started, used = time.perf_counter(), time.process_time()
    work()
    synchronize()
    return time.perf_counter() - started, time.process_time() - used


def synchronize() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def peak_apart(supervision: str, name: str) -> int | None:
    """Peak bytes of a variant's step, in a fresh process; None where it does not fit."""
    command = [sys.executable, "-W", "ignore", __file__, "peak", supervision, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{supervision} {name}: {done.stderr.strip().splitlines()[-1]}")
        return None
    return int(done.stdout.split()[-1])


def peak(supervision: str, name: str) -> int:
    """Peak bytes of the second step above what was resident before it, in this process.

    The first step, thrown away, makes what stays: optimizer state, compiled code, thread pools.
    """
    length, share = (CUDA_CONTEXT, 1.0) if supervision == "32k" else (LENGTH, SHARES[supervision])
    bench = Bench(length, BATCH, min(round(length * share), length - 1), DEVICE)
    bench.step(name)
    gc.collect()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        bench.step(name)
        return torch.cuda.max_memory_allocated() - before
    ctypes.CDLL(None).malloc_trim(0)  # memory that is free but still resident would hide a peak
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident
    bench.step(name)
    return resident("VmHWM") - before


def resident(field: str) -> int:
    """A field of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def verdict(measured: dict[str, Measured]) -> dict[str, object]:
    """The result: figures, targets, and whether they are met."""
    figures: dict[str, object] = {}
    reached: dict[str, float] = {}
    teacher_shares = []
    for supervision, own in measured.items():
        without = own.seconds["no_teacher"]
        figures[supervision] = {
            "seconds": {name: round(seconds, 4) for name, seconds in own.seconds.items()},
            "processor_seconds": {name: round(used, 4) for name, used in own.processor.items()},
            "peak_mib": {name: mib(size) for name, size in own.peak.items()},
            "peers_over_ours": {name: own.ratios(name) for name in OURS if name != "no_teacher"},
            "processor_peers_over_ours": {
                name: own.processor_ratios(name) for name in OURS if name != "no_teacher"
            },
            "teacher_share": {
                name: round(1 - without / own.seconds[name], 3)
                for name in OURS
                if name != "no_teacher"
            },
        }
        # A peer that reads a truncated teacher does less, so it is no match for the exact one.
        exact = [pair for peer, pair in own.ratios(DEFAULT).items() if "top_k" not in peer]
        reached[f"{supervision}_speedup"] = min(time for time, _ in exact)
        reached[f"{supervision}_memory_ratio"] = min(size for _, size in exact if size is not None)
        teacher_shares.append(1 - without / own.seconds["ours_top_k_cache"])
    reached["teacher_share"] = round(max(teacher_shares), 3)
    met = {
        name: reached[name] <= wanted if name == "teacher_share" else reached[name] >= wanted
        for name, wanted in TARGETS.items()
    }
    return {
        "setting": f"Qwen3, 2 layers, hidden {HIDDEN}, tied; batch {BATCH} x {LENGTH}; top {TOP_K}",
        "peers_absent": missing_peers(DEVICE),
        "figures": figures,
        "against_best_peer": reached,
        "targets": TARGETS,
        "met": met,
        "ok": all(met.values()),
    }


def report(supervision: str, own: Measured) -> None:
    for name, seconds in own.seconds.items():
        used, size = own.processor[name], mib(own.peak[name])
        print(f"{supervision:6} {name:22} {seconds:8.3f} s {used:8.3f} cpu s {size!s:>9} MiB")


def mib(size: int | None) -> float | None:
    return None if size is None else round(size / 2**20, 1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["peak"]:
        print(peak(sys.argv[2], sys.argv[3]))
    else:
        main()
