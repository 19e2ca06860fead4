from pathlib import Path

import pytest

from distillscale.errors import InputError
from distillscale.lab.teacher import shipped_teacher
from distillscale.studies.sources import (
    Sources,
    copy_checkpoint,
    data_file,
    digest,
    teacher_source,
)

HUB = {"hub": "organisation/model", "revision": "v1"}


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    folder = tmp_path / "teacher"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "merges.txt", "chat_template.jinja"):
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "output").mkdir()
    return tmp_path / "output"


def test_a_folder_is_named_by_its_content(teacher: Path):
    identity, folder = teacher_source(str(teacher), revision="ignored")
    assert (identity, folder) == ({"digest": digest(teacher)}, teacher)


def test_lab_is_the_shipped_teacher():
    identity, folder = teacher_source("lab", None)
    assert folder == shipped_teacher()
    assert identity == teacher_source(str(shipped_teacher()), None)[0]


def test_a_hub_model_is_named_by_name_and_revision(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert teacher_source("organisation/model", "v1") == (HUB, None)


def test_a_folder_of_a_hub_models_name_comes_first(teacher, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "organisation").mkdir()
    teacher.rename(tmp_path / "organisation" / "model")
    assert "digest" in teacher_source("organisation/model", None)[0]


@pytest.mark.parametrize("name", ["gpt2", "a/b/c", "./model", "/srv/model", "~/model", "a/b c", ""])
def test_what_is_neither_folder_nor_hub_name_is_refused(name: str):
    with pytest.raises(InputError, match=r"organisation/model"):
        teacher_source(name, None)


def test_a_digest_depends_on_names_and_contents_of_a_checkpoints_files_only(teacher: Path):
    before = digest(teacher)
    (teacher / "README.md").write_text("not read")
    (teacher / "runs").mkdir()
    (teacher / "runs" / "config.json").write_text("not read either")
    assert digest(teacher) == before
    (teacher / "merges.txt").rename(teacher / "vocab.txt")
    renamed = digest(teacher)
    (teacher / "vocab.txt").write_text("other")
    assert len({before, renamed, digest(teacher)}) == 3


def test_a_files_digest_does_not_depend_on_its_name(tmp_path: Path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("text,label\n")
    assert digest(tmp_path / "a.csv") == digest(tmp_path / "b.csv")


def test_a_data_source_is_a_file_or_a_name_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text("text,label\n")
    assert data_file("data.csv", "dataset.source") == Path("data.csv")
    assert data_file("organisation/set", "dataset.source") is None
    assert data_file("imdb", "dataset.source") is None


@pytest.mark.parametrize(
    "name", ["gone.csv", "GONE.CSV", "a/gone.jsonl", "folder", "./x", "/srv/x.parquet", "a/b/c"]
)
def test_other_data_sources_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"^dataset\.source `.*csv, \.jsonl, \.parquet\.$"):
        data_file(name, "dataset.source")


def test_a_local_teacher_is_copied_since_its_files_may_change(teacher: Path, output: Path):
    (teacher / "added_tokens.json").symlink_to(teacher / "config.json")
    identity, folder = teacher_source(str(teacher), None)
    copy_checkpoint(Sources({identity["digest"]: str(folder)}), identity, output)
    copies = sorted(output.iterdir())
    assert [copy.name for copy in copies] == [
        "added_tokens.json", "chat_template.jinja", "config.json", "merges.txt",
        "model.safetensors",
    ]  # fmt: skip
    assert all(copy.stat().st_nlink == 1 and not copy.is_symlink() for copy in copies)
    (teacher / "config.json").write_text("changed")
    assert (output / "config.json").read_text() == "config.json"
    assert digest(output) == identity["digest"]


def test_a_hub_models_files_are_linked(teacher: Path, output: Path, monkeypatch):
    asked = {}

    def download(name: str, **options: object) -> str:
        asked.update(options, name=name)
        return str(teacher)

    monkeypatch.setattr("distillscale.studies.sources.snapshot_download", download)
    copy_checkpoint(Sources({}), HUB, output)
    assert (asked["name"], asked["revision"]) == ("organisation/model", "v1")
    assert "*.bin" not in asked["allow_patterns"]
    assert (output / "model.safetensors").samefile(teacher / "model.safetensors")


def test_without_links_they_are_copied(teacher: Path, output: Path, monkeypatch):
    def no_links(source: Path, target: Path) -> None:
        raise OSError("another device")

    monkeypatch.setattr("distillscale.studies.sources.snapshot_download", lambda *_, **__: teacher)
    monkeypatch.setattr("distillscale.studies.sources.os.link", no_links)
    copy_checkpoint(Sources({}), HUB, output)
    assert digest(output) == digest(teacher)


@pytest.mark.parametrize("error", [OSError("no\nroute"), ValueError("odd name")])
def test_a_failed_download_is_one_sentence(output: Path, monkeypatch, error: Exception):
    def download(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr("distillscale.studies.sources.snapshot_download", download)
    with pytest.raises(InputError, match=r"`organisation/model` cannot be downloaded .*\)\.$"):
        copy_checkpoint(Sources({}), HUB, output)


@pytest.mark.parametrize("change", [lambda f: f.write_text("x"), lambda f: f.unlink()])
def test_a_file_that_changed_since_the_plan_is_not_read(tmp_path: Path, change):
    file = tmp_path / "data.csv"
    file.write_text("text,label\n")
    content = digest(file)
    sources = Sources({content: str(file)})
    assert sources.path(content) == file
    change(file)
    with pytest.raises(InputError, match=r"data\.csv: it changed while the study ran"):
        sources.path(content)
