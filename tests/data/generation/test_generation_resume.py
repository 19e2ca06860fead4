import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_corpus import RESULTS, results_of

COMMAND = "from distillscale.cli.data import data; data()"
ARGUMENTS = ["generate", "fin-headlines", "--target", "900", "--batch-size", "60", "--out"]


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


def start(folder):
    command = [sys.executable, "-c", COMMAND, *ARGUMENTS, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def iterations_done(folder):
    return len(list((folder / "checkpoint").glob("corpus-*.parquet")))


def survives(make, folder, renames, monkeypatch):
    """Make a corpus in a process that dies at the rename after so many."""
    rename = Path.replace
    left = iter(range(renames))

    def replace(path, target):
        if next(left, None) is None:
            raise Killed
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    try:
        make(folder, target=100, batch_size=50)
    except Killed:
        return False
    return True


def test_a_run_that_dies_at_any_file_goes_on_to_the_same_corpus(make, tmp_path, monkeypatch):
    make(tmp_path / "whole", target=100, batch_size=50)
    wanted = results_of(tmp_path / "whole")
    rename = Path.replace
    deaths = 0
    while not survives(make, tmp_path / f"dies-{deaths}", deaths, monkeypatch):
        monkeypatch.setattr(Path, "replace", rename)
        make(tmp_path / f"dies-{deaths}", target=100, batch_size=50)
        assert results_of(tmp_path / f"dies-{deaths}") == wanted
        deaths += 1
    # Of each iteration the parts, the index and the state; then the results.
    assert deaths > 2 * 4


@pytest.mark.slow
def test_a_killed_process_goes_on_to_the_same_corpus(tmp_path):
    whole = start(tmp_path / "whole")
    assert whole.wait(timeout=300) == 0, whole.stderr.read()
    rng = random.Random(0)
    killed = 0
    folder = tmp_path / "killed"
    while True:
        process = start(folder)
        begun = iterations_done(folder)
        while iterations_done(folder) <= begun and process.poll() is None:
            time.sleep(0.001)
        time.sleep(rng.random() * 0.15)
        process.kill()  # does nothing to one that has ended
        if process.wait(timeout=300) == 0:
            break
        killed += 1
    assert killed >= 1
    for name in RESULTS:
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
