import json
from pathlib import Path

import pytest
from fault_proxy import fault_proxy
from replies import ok

from distillscale.studies.folder_lock import locked
from distillscale.tasks import Example
from distillscale.tasks.records import read_records

OUT = ("--out", "corpus")


def test_a_corpus_is_made_and_told_of(call):
    ended = call("data", "generate", "fin-headlines", "--target", "200", *OUT)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0].split()[:2] == ["iteration", "drafts"]
    report = json.loads(Path("corpus/report.json").read_text())
    assert len([line for line in lines if line.endswith("%") and " to " in line]) == len(
        report["iterations"]
    )
    assert any(line.strip().startswith("near_duplicate") for line in lines)
    assert f"target reached: 200 texts after {len(report['iterations'])} iterations." in lines
    assert len(read_records(Path("corpus/examples.parquet"), Example)) == 200
    again = call("data", "generate", "fin-headlines", "--target", "200", *OUT)
    assert again.out == ended.out


def test_shares_and_rules_reach_the_corpus(call):
    ended = call(
        "data", "generate", "support-tickets", "--target", "100", *OUT, "--share", "billing=0.6",
        "--shortest", "25", "--longest", "60", "--ban", "please", "--min-acceptance", "0",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    examples = read_records(Path("corpus/examples.parquet"), Example)
    billing = sum(example.category == "billing" for example in examples)
    assert 0.5 < billing / 100 < 0.7
    assert all(25 <= len(example.text) <= 60 for example in examples)
    assert not any("please" in example.text for example in examples)


def test_a_chat_endpoint_writes_and_its_key_is_not_written(call, monkeypatch, capsys):
    monkeypatch.setenv("SECRET_KEY", "sk-very-secret")
    numbers = iter(range(10_000))

    def script(body, attempt):
        texts = [f"crews of {'abcdefghij'[n]}{next(numbers)}rix walk out" for n in range(10)]
        return ok(json.dumps({"texts": texts}))

    with fault_proxy(None, script) as proxy:
        ended = call(
            "data", "generate", "fin-headlines", "--target", "20", *OUT, "--generator", "endpoint",
            "--endpoint", proxy.url, "--model", "some-model", "--api-key-variable", "SECRET_KEY",
            "--concurrency", "1", "--threshold", "1",
        )  # fmt: skip
        assert ended.code == 0, ended.err
        assert all("sk-very-secret" in seen.headers["authorization"] for seen in proxy.seen)
    examples = read_records(Path("corpus/examples.parquet"), Example)
    assert {example.source for example in examples} == {"some-model"}
    assert "sk-very-secret" not in ended.out + ended.err
    for path in Path("corpus").rglob("*"):
        assert path.is_dir() or b"sk-very-secret" not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--generator", "gpt"], "--generator is `gpt`; it must be lab or endpoint."),
        (["--generator", "endpoint", "--model", "m"], "--generator endpoint needs --endpoint."),
        (["--model", "m"], "--model is for --generator endpoint; the lab needs none."),
        (["--threshold", "0"], "threshold 0.0: it must be a cosine over 0 and at most 1."),
        (["--share", "macro"], "--share is `macro`; it must be CATEGORY=SHARE, as macro=0.1."),
        (["--share", "macro=x"], "--share is `macro=x`; it must be"),
        (["--share", "none=0.1"], "share of `none`: task fin-headlines has no such category"),
        (["--min-acceptance", "1"], "--min-acceptance is 1.0; it must be at least 0 and below 1."),
        (["--language", "xx"], "language `xx`: it must be one of"),
        (["--money-budget", "2"], "no price is given"),
    ],
)
def test_wrong_arguments_are_refused_before_a_folder_is_made(complaint, arguments, sentence):
    told = complaint("data", "generate", "fin-headlines", "--target", "50", *OUT, *arguments)
    assert sentence in told
    assert not Path("corpus").exists()


def test_a_missing_key_is_refused(complaint):
    told = complaint(
        "data", "generate", "fin-headlines", "--target", "50", *OUT, "--generator", "endpoint",
        "--endpoint", "http://127.0.0.1:1/v1", "--model", "m", "--api-key-variable", "NO_SUCH_KEY",
    )  # fmt: skip
    assert "environment variable NO_SUCH_KEY is not set" in told


def test_a_task_without_a_grammar_is_refused(complaint):
    Path("mine.yaml").write_text(
        "name: mine\nprompt: 'Text: {text}'\nclasses:\n"
        "  - {name: a, definition: one}\n  - {name: b, definition: two}\n"
    )
    told = complaint("data", "generate", "mine.yaml", "--target", "50", *OUT)
    assert "the lab can only write examples of fin-headlines, support-tickets" in told


def test_a_task_with_a_built_in_name_and_other_classes_is_refused(complaint):
    Path("mine.yaml").write_text(
        "name: fin-headlines\nprompt: 'Text: {text}'\nclasses:\n"
        "  - {name: strike, definition: one}\n  - {name: b, definition: two}\n"
    )
    told = complaint("data", "generate", "mine.yaml", "--target", "50", *OUT)
    assert "it has other classes than the lab's task of this name" in told


def test_a_folder_with_something_else_or_another_run_is_refused(call, complaint):
    Path("other").mkdir()
    Path("other/note.txt").write_text("mine")
    told = complaint("data", "generate", "fin-headlines", "--target", "50", "--out", "other")
    assert "--out other: it exists and is not empty; name a new folder." in told
    assert call("data", "generate", "fin-headlines", "--target", "50", *OUT).code == 0
    told = complaint("data", "generate", "fin-headlines", "--target", "60", *OUT)
    assert told == (
        "--out corpus: the run in it was begun with target 50, not 60; give the same arguments, or "
        "name a new folder.\n"
    )


def test_a_folder_that_another_process_works_in_is_refused(call, complaint):
    assert call("data", "generate", "fin-headlines", "--target", "50", *OUT).code == 0
    with locked(Path("corpus")):
        told = complaint("data", "generate", "fin-headlines", "--target", "50", *OUT)
    assert "--out corpus: another process works in it" in told
