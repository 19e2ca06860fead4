"""`compress` on a user's labelled file, to a folder that needs nothing of ours to be loaded."""

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from distillscale.commands.model_facts import METRICS

pytestmark = pytest.mark.slow

LABELS = {
    "good | news": ["rises", "gains", "wins"],
    "bad `news`": ["falls", "loses", "cuts"],
    "no news": ["waits", "rests", "stays"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compress")
    rng = random.Random(0)
    rows = ["headline,event"]
    for number in range(90):
        label = rng.choice(list(LABELS))
        rows.append(
            f'"Firm {number}, of {rng.randrange(100)}, {rng.choice(LABELS[label])}",{label}'
        )
    (folder / "news.csv").write_text("\n".join(rows))
    return folder


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "distillscale", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


@pytest.fixture(scope="module")
def deployed(folder: Path) -> Path:
    arguments = {
        "model": "lab", "data": "news.csv", "text-column": "headline", "label-column": "event",
        "keep": "0.5", "stages": "2", "supervision": "label", "method": "logit", "steps": "3",
        "batch-size": "8", "correction-steps": "40", "out": "made/student", "store": "store",
    }  # fmt: skip
    pairs = [part for name, value in arguments.items() for part in (f"--{name}", value)]
    done = call(folder, "compress", *pairs)
    assert done.returncode == 0, done.stderr
    assert "deployed: made/student" in done.stdout
    assert [path.name for path in (folder / "made").iterdir()] == ["student"]
    return folder / "made" / "student"


def test_the_folder_loads_and_generates_without_our_package(deployed: Path):
    model = AutoModelForCausalLM.from_pretrained(deployed)
    tokenizer = AutoTokenizer.from_pretrained(deployed)
    prompt = tokenizer("Text: Firm 3 rises\nAnswer:", return_tensors="pt")
    written = model.generate(
        prompt["input_ids"], attention_mask=prompt["attention_mask"], max_new_tokens=4,
        do_sample=False, eos_token_id=None,
    )  # fmt: skip
    assert written.shape[1] == prompt["input_ids"].shape[1] + 4
    names = {path.name for path in deployed.iterdir()}
    assert {"config.json", "model.safetensors", "README.md", "distillscale.json"} <= names
    assert not {"manifest.json", "log.json", "work"} & names


def test_the_card_tells_what_was_kept_and_measured(deployed: Path):
    card = (deployed / "README.md").read_text()
    kept = re.search(r"to ([\d.]+)% of its non-embedding", card)
    assert kept is not None
    assert float(kept[1]) == pytest.approx(50, rel=0.03)
    for metric in METRICS:
        (line,) = [line for line in card.splitlines() if line.startswith(f"| {metric} |")]
        assert len(re.findall(r"\| [\d.e+-]+ (?=\|)", line)) == 3
    assert "`` bad `news` ``" in card
    assert "    Text: some text\n    Answer:\n" in card


def test_classify_prints_one_of_the_labels_a_text(folder: Path, deployed: Path):
    done = call(folder, "classify", "made/student", "Firm 7 rises", "Firm 8\nfalls")
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [text for _, _, text in rows] == ["Firm 7 rises", "Firm 8 falls"]
    assert all(label in LABELS and 1 / 3 <= float(share) <= 1 for label, share, _ in rows)


def test_the_same_command_does_not_overwrite(folder: Path, deployed: Path):
    before = {path: path.stat().st_mtime_ns for path in deployed.iterdir()}
    done = call(
        folder, "compress", "--model", "lab", "--data", "news.csv", "--text-column", "headline",
        "--label-column", "event", "--out", "made/student",
    )  # fmt: skip
    assert done.returncode == 2
    assert "not empty" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in deployed.iterdir()} == before
