"""`push`: what would leave the machine, and what does, to a hub on loopback."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from loopback_hub import LoopbackHub, loopback_hub
from safetensors import safe_open
from tiny_deployment import write_tiny_deployment

PUBLISHED = {
    "README.md", "config.json", "distillscale.json", "facts.json", "generation_config.json",
    "model.safetensors", "tokenizer.json", "tokenizer_config.json",
}  # fmt: skip
TOKEN = "hf_not-a-real-one"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_deployment(tmp_path_factory.mktemp("deployed") / "model")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "model"
    copy.mkdir()
    for path in original.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def test_a_dry_run_lists_the_files_and_the_card(call: Callable, folder: Path, monkeypatch):
    (folder / "notes.txt").write_text("private")
    (folder / "secrets.json").write_text("{}")
    (folder / "checkpoints").mkdir()
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("socket.socket.connect", None)  # any use of the network would fail
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    ended = call("push", folder, "--repo", "me/student", "--dry-run")
    assert ended.code == 0, ended.err
    listing, card = ended.out.split("\n\nREADME.md:\n\n")
    assert listing.startswith("to me/student (private if it is new): 8 files, ")
    assert {line.split()[0] for line in listing.splitlines() if line.startswith("  ")} == PUBLISHED
    assert "stays here: checkpoints, notes.txt, secrets.json, test.jsonl" in listing
    assert ModelCard(card).data.library_name == "transformers"
    assert "from_pretrained('me/student')" in card
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_public_is_said(call: Callable, folder: Path):
    ended = call("push", folder, "--repo", "me/student", "--dry-run", "--public")
    assert "(public if it is new)" in ended.out


@pytest.mark.parametrize("name", ["pytorch_model.bin", "optimizer.PT", "x.pkl", "x.joblib"])
def test_a_pickle_is_refused(complaint, folder: Path, name: str):
    (folder / name).write_bytes(pickle.dumps({}))
    assert f"{name}: a `" in complaint("push", folder, "--repo", "me/student", "--dry-run")


def test_a_pickle_under_the_name_of_weights_is_refused(complaint, folder: Path):
    (folder / "model-00001-of-00002.safetensors").write_bytes(pickle.dumps({"a": 1}))
    said = complaint("push", folder, "--repo", "me/student", "--dry-run")
    assert "no safetensors file, whatever its name" in said


def test_a_link_is_refused(complaint, folder: Path, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    (folder / "vocab.json").symlink_to(secret)
    assert "vocab.json: a link" in complaint("push", folder, "--repo", "me/student", "--dry-run")


@pytest.mark.parametrize("name", ["student", "a/b/c", "me/..", "me/a b", "", "me/student.git"])
def test_a_name_that_the_hub_would_not_take_is_refused(complaint, folder: Path, name: str):
    assert "--repo" in complaint("push", folder, "--repo", name, "--dry-run")


def test_without_a_token_nothing_is_sent(call: Callable, folder: Path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("socket.socket.connect", None)
    ended = call("push", folder, "--repo", "me/student")
    assert ended.code == 2
    assert "HF_TOKEN is not set" in ended.err


@pytest.mark.parametrize("token", ["hf_sécret", "hf_a\nsecret", "hf_secret\x7f"])
def test_a_token_that_no_header_can_hold_is_refused_without_an_echo(
    call: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch, token: str
):
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr("socket.socket.connect", None)
    ended = call("push", folder, "--repo", "me/student")
    assert ended.code == 2
    assert "printable ASCII" in ended.err
    assert "cret" not in ended.out + ended.err


def test_another_folder_is_refused(complaint, tmp_path: Path):
    assert "no facts.json" in complaint("push", tmp_path, "--repo", "me/student", "--dry-run")
    assert "no such folder" in complaint("push", tmp_path / "gone", "--repo", "me/student")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    with loopback_hub() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


def test_one_commit_holds_exactly_the_files_that_the_dry_run_lists(
    call: Callable, hub: LoopbackHub, folder: Path, tmp_path: Path
):
    ended = call("push", folder, "--repo", "me/student")
    assert ended.code == 0, ended.err
    assert f"published: {hub.url}/me/student" in ended.out
    assert hub.tokens == {f"Bearer {TOKEN}"}
    assert TOKEN not in ended.out + ended.err
    (created,) = hub.created
    assert (created["name"], created["visibility"]) == ("student", "private")
    assert set(hub.files) == PUBLISHED
    for name in PUBLISHED - {"README.md"}:
        assert hub.files[name] == (folder / name).read_bytes()
    assert "from_pretrained('me/student')" in hub.files["README.md"].decode()
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(hub.files["model.safetensors"])
    with safe_open(copy, framework="np") as weights:
        assert len(list(weights.keys())) > 5


def test_a_refusal_of_the_hub_is_one_sentence_without_the_token(
    call: Callable, hub: LoopbackHub, folder: Path
):
    hub.refuse = True
    ended = call("push", folder, "--repo", "me/student")
    assert ended.code == 1
    assert "the hub did not take it" in ended.err
    assert TOKEN not in ended.out + ended.err
    assert hub.files == {}


@pytest.mark.parametrize("refuse", [False, True])
def test_a_line_break_behind_the_token_is_no_part_of_it(
    call: Callable, hub: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch, refuse: bool
):
    monkeypatch.setenv("HF_TOKEN", f" {TOKEN}\r\n")
    hub.refuse = refuse
    ended = call("push", folder, "--repo", "me/student")
    assert ended.code == int(refuse), ended.err
    assert hub.tokens == {f"Bearer {TOKEN}"}
    assert TOKEN not in ended.out + ended.err


def test_a_hub_that_cannot_be_reached_is_one_sentence_too(
    call: Callable, hub: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    ended = call("push", folder, "--repo", "me/student")
    assert ended.code == 1
    assert "the hub did not take it" in ended.err
