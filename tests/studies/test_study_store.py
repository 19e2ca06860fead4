import errno
import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distillscale.errors import DamagedArtifact, DistillscaleError, InputError
from distillscale.studies.identity import Step
from distillscale.studies.manifest import MANIFEST, read_manifest
from distillscale.studies.store import WORK_FOLDER, Store, verify


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


STEP = Step("train", {"seed": 7, "rate": 0.1}, {"data": Step("data", {"rows": 3})}, name="a name")


def write(folder: Path) -> dict:
    (folder / "weights").mkdir()
    (folder / "weights" / "model.bin").write_bytes(bytes(range(256)) * 8)
    (folder / "log.json").write_text("{}")
    return {"loss": 0.5}


def leftovers(store: Store) -> list[Path]:
    return list((store.root / ".partial").iterdir())


def test_what_is_published_can_be_opened(store: Store):
    assert store.open(STEP) is None
    folder = store.publish(STEP, write)
    assert store.open(STEP) == folder == Store(store.root).open(STEP)
    assert sorted(path.name for path in folder.iterdir()) == ["log.json", MANIFEST, "weights"]
    assert leftovers(store) == []


def test_the_manifest_tells_what_made_the_artifact(store: Store):
    manifest = read_manifest(store.publish(STEP, write))
    assert manifest.step == STEP
    assert manifest.step.name == "a name"
    assert manifest.step.inputs["data"].params == {"rows": 3}
    assert manifest.seed == 7
    assert manifest.extra == {"loss": 0.5}
    assert set(manifest.files) == {"log.json", "weights/model.bin"}
    assert manifest.seconds >= 0
    assert manifest.peak_memory > 1e6
    assert {"python", "torch", "distillscale"} <= manifest.versions.keys()
    content = json.loads((store.folder(STEP) / MANIFEST).read_text())["manifest"]
    assert content["steps"][STEP.key]["inputs"] == {"data": STEP.inputs["data"].key}


def test_peak_memory_is_that_of_the_step(store: Store):
    def large(folder: Path) -> dict:
        (folder / "length").write_text(str(len(bytearray(200_000_000))))
        return {}

    first = read_manifest(store.publish(Step("large"), large)).peak_memory
    second = read_manifest(store.publish(Step("small"), lambda folder: {})).peak_memory
    assert first > second + 100_000_000


def test_manifests_are_listed_by_kind(store: Store):
    for seed in range(3):
        store.publish(Step("train", {"seed": seed}), write)
    store.publish(Step("data"), write)
    assert {manifest.step.params["seed"] for manifest in store.manifests("train")} == {0, 1, 2}
    assert len(list(store.manifests())) == 4


def test_a_step_that_fails_leaves_nothing(store: Store):
    def fail(folder: Path) -> dict:
        write(folder)
        (folder / WORK_FOLDER).mkdir()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.publish(STEP, fail)
    assert store.open(STEP) is None
    assert leftovers(store) == []


def test_extra_that_is_no_json_is_refused(store: Store):
    with pytest.raises(TypeError, match=r"train\.extra\.loss is nan"):
        store.publish(STEP, lambda folder: {"loss": float("nan")})
    assert leftovers(store) == []


def flip_a_bit(folder: Path) -> None:
    path = folder / "weights" / "model.bin"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def change_the_manifest(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_text(path.read_text().replace('"loss": 0.5', '"loss": 0.4'))


def cut_the_manifest(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_text(path.read_text()[:-20])


DAMAGES = {
    "weights/model.bin` is not what": flip_a_bit,
    "log.json` is missing": lambda folder: (folder / "log.json").unlink(),
    "added.json` is not what": lambda folder: (folder / "added.json").write_text("{}"),
    "manifest does not match": change_the_manifest,
    "manifest cannot be read": cut_the_manifest,
    "manifest cannot be read.*FileNotFound": lambda folder: (folder / MANIFEST).unlink(),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_damage_is_found_set_aside_with_a_warning_and_computed_again(
    store: Store, message: str, caplog: pytest.LogCaptureFixture
):
    folder = store.publish(STEP, write)
    verify(folder)
    DAMAGES[message](folder)
    with pytest.raises(DamagedArtifact, match=message):
        verify(folder)
    later = Store(store.root)
    with caplog.at_level(logging.WARNING):
        assert later.open(STEP) is None
    assert "computed again" in caplog.text
    assert len(list((store.root / ".damaged").iterdir())) == 1
    assert verify(later.publish(STEP, write)).extra == {"loss": 0.5}


def test_a_damaged_artifact_of_another_writer_is_replaced(store: Store):
    def write_while_another_is_first(folder: Path) -> dict:
        flip_a_bit(Store(store.root).publish(STEP, write))
        return write(folder)

    verify(store.publish(STEP, write_while_another_is_first))


def test_an_artifact_under_the_key_of_another_step_is_damage(store: Store):
    other = Step("train", {"seed": 8})
    shutil.copytree(store.publish(STEP, write), store.folder(other))
    with pytest.raises(DamagedArtifact, match="its manifest is that of"):
        verify(store.folder(other))
    assert store.open(other) is None
    assert store.open(STEP) is not None


def test_a_damaged_artifact_that_another_process_has_replaced_is_used(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    folder = store.publish(STEP, write)
    later = Store(store.root)
    monkeypatch.setattr("distillscale.studies.store._is_whole", lambda _: False)  # as it was then
    assert later.open(STEP) == folder
    assert not (store.root / ".damaged").exists()


def test_checksums_are_compared_once_per_store(store: Store, monkeypatch: pytest.MonkeyPatch):
    store.publish(STEP, write)
    later = Store(store.root)
    assert later.open(STEP)
    monkeypatch.setattr("distillscale.studies.store.verify", lambda _: pytest.fail("again"))
    assert later.open(STEP)


def publish_at(moment: float, root: Path, writer: int) -> None:
    def produce(folder: Path) -> dict:
        for number in range(5):
            (folder / f"{number}.txt").write_text(f"written by {writer}\n" * 1000)
        return {"writer": writer}

    time.sleep(max(0.0, moment - time.time()))
    for seed in range(10):
        Store(root).publish(Step("train", {"seed": seed}), produce)


def test_concurrent_writers_agree_on_one_whole_artifact(store: Store):
    spawn = multiprocessing.get_context("spawn")
    moment = time.time() + 2
    writers = [
        spawn.Process(target=publish_at, args=(moment, store.root, writer)) for writer in range(4)
    ]
    for process in writers:
        process.start()
    while any(process.is_alive() for process in writers):
        store.clean()  # a cleaner must not take what living writers write
    assert [process.exitcode for process in writers] == [0] * 4
    for seed in range(10):
        folder = store.open(Step("train", {"seed": seed}))
        assert folder is not None
        text = {path.read_text() for path in folder.glob("*.txt")}
        assert text == {f"written by {read_manifest(folder).extra['writer']}\n" * 1000}
    assert leftovers(store) == []
    assert not (store.root / ".damaged").exists()


WRITE_FOR_EVER = """
import sys, time
from pathlib import Path
from distillscale.studies.identity import Step
from distillscale.studies.store import Store, WORK_FOLDER

def produce(folder):
    (folder / "half.bin").write_text("half")
    if sys.argv[2] == "work":
        (folder / WORK_FOLDER).mkdir()
        (folder / WORK_FOLDER / "checkpoint").write_text("step 5")
    print("writing", flush=True)
    time.sleep(600)

Store(Path(sys.argv[1])).publish(Step("train"), produce)
"""


def killed_writer(store: Store, *, work: bool) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER, str(store.root), "work" if work else "no"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        store.clean()
        assert [path.name for path in leftovers(store)[0].glob("*.bin")] == ["half.bin"]
        process.send_signal(signal.SIGKILL)


def test_what_a_killed_writer_left_is_cleaned(store: Store):
    killed_writer(store, work=False)
    assert len(leftovers(store)) == 1
    assert store.open(Step("train")) is None
    store.clean()
    assert leftovers(store) == []


def test_work_of_a_killed_writer_is_there_for_the_next_attempt(store: Store):
    killed_writer(store, work=True)
    store.clean()
    found = []

    def produce(folder: Path) -> dict:
        found.append((folder / WORK_FOLDER / "checkpoint").read_text())
        assert [path.name for path in folder.iterdir()] == [WORK_FOLDER]
        return write(folder)

    folder = store.publish(Step("train"), produce)
    assert found == ["step 5"]
    assert not (folder / WORK_FOLDER).exists()
    assert leftovers(store) == []


def test_work_that_nobody_resumed_for_long_is_cleaned(store: Store):
    killed_writer(store, work=True)
    work = leftovers(store)[0] / WORK_FOLDER
    os.utime(work, (time.time() - 30 * 24 * 3600,) * 2)
    store.clean()
    assert leftovers(store) == []


def full_device(folder: Path) -> dict:
    write(folder)
    Path("/dev/full").write_text("x")
    return {}


def wrapped(folder: Path) -> dict:
    try:
        full_device(folder)
    except OSError as error:
        raise RuntimeError("writing failed") from error
    return {}


def foreign(folder: Path) -> dict:
    raise RuntimeError("I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("produce", [full_device, wrapped, foreign])
def test_a_full_disk_is_named_and_leaves_nothing(store: Store, produce):
    with pytest.raises(DistillscaleError, match="is full; free some space") as caught:
        store.publish(STEP, produce)
    assert str(store.root) in str(caught.value)
    assert store.open(STEP) is None
    assert leftovers(store) == []


def test_a_disk_that_fills_while_the_manifest_is_written_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DistillscaleError, match="is full"):
        store.publish(STEP, lambda folder: {})
    monkeypatch.undo()
    assert store.open(STEP) is None
    assert leftovers(store) == []


def test_a_store_where_nobody_may_write_is_bad_input(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="no artifact store can be made here"):
        Store(tmp_path / "file" / "store")


def test_an_artifact_removed_by_hand_is_missing(store: Store):
    shutil.rmtree(store.publish(STEP, write))
    assert store.open(STEP) is None
