"""`data annotate` as users run it: files in, files out, kill -9 in between."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fault_proxy import PASS, Fault, Pass, fault_proxy
from lab_server import LabServer
from replies import error, ok
from typer.testing import CliRunner, Result

from distillscale.cli.data import data
from distillscale.errors import EndpointFailed, InputError
from distillscale.lab.examples import lab_examples
from distillscale.lab.teacher import shipped_teacher
from distillscale.lab.world import make_world
from distillscale.tasks import Trace
from distillscale.tasks.records import read_records


@pytest.fixture(scope="module")
def headlines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen lab headlines with labels."""
    examples = lab_examples("fin-headlines", make_world(), train=14, validation=0, test=0, seed=4)
    path = tmp_path_factory.mktemp("corpus") / "headlines.csv"
    table = pd.DataFrame({"text": [e.text for e in examples], "label": [e.label for e in examples]})
    table.to_csv(path, index=False)
    return path


def command(file: Path, out: Path, *options: str) -> list[str]:
    return ["annotate", str(file), "--task", "fin-headlines", "--out", str(out), *options]


def run(file: Path, out: Path, *options: str) -> Result:
    result = CliRunner().invoke(data, command(file, out, *options))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def report(out: Path) -> dict[str, Any]:
    return json.loads((out / "report.json").read_text())


@pytest.mark.slow
def test_votes_of_a_served_teacher(lab_server: LabServer, headlines: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "votes"
    options = ["--endpoint", lab_server.url, "--model", lab_server.model, "--votes", "3"]
    options += ["--supervision", "cot", "--thinking", "brief", "--label-column", "label"]
    options += ["--max-new-tokens", "60", "--top-log-probs", "2", "--traces-for", "lab"]
    said = run(headlines, out, *options).output
    table = pd.read_parquet(out / "annotations.parquet")
    assert list(table["text"]) == list(pd.read_csv(headlines)["text"])
    assert (table["votes"] == 3).all()
    decided = table[table["majority"].notna()]
    assert (decided["agrees_with_gold"] == (decided["majority"] == decided["gold"])).all()
    assert decided["agrees_with_gold"].mean() > 0.7
    assert ((table["entropy"] == 0) == (table["agreement"] == 1)).all()
    votes = pd.read_parquet(out / "votes.parquet")
    assert list(votes["example_id"]) == [f"row-{n}" for n in range(1, 15) for _ in range(3)]
    assert votes["reasoning"].str.len().gt(10).mean() > 0.9
    assert votes["tokens"].isna().all()  # this server returns no log-probabilities
    traces = read_records(out / "traces.parquet", Trace)
    assert {t.example_id: t.label for t in traces} == dict(
        zip(decided["id"], decided["majority"], strict=True)
    )
    summary = report(out)["summary"]
    assert summary["complete"]
    assert summary["gold_agreement"] == pytest.approx(decided["agrees_with_gold"].mean())
    assert "42 of 42 votes" in said


@pytest.mark.slow
def test_kill_and_go_on(lab_server: LabServer, headlines: Path, tmp_path: Path) -> None:
    """The process dies by SIGKILL while requests are under way; the same command ends the work."""

    def script(body: dict[str, Any], attempt: int) -> Fault:
        return Pass(seconds=0.2) if len(proxy.seen) < 8 else Pass(seconds=60)

    out = tmp_path / "out"
    with fault_proxy(lab_server.port, script) as proxy:
        options = ["--endpoint", proxy.url, "--model", lab_server.model, "--concurrency", "2"]
        shell = [sys.executable, "-c", "from distillscale.cli.data import data; data()"]
        process = subprocess.Popen([*shell, *command(headlines, out, *options)])
        journal = out / "journal.jsonl"
        end = time.monotonic() + 100
        while time.monotonic() < end and (
            not journal.exists() or journal.read_bytes().count(b"\n") < 5
        ):
            time.sleep(0.05)
        with pytest.raises(InputError, match="another process is annotating"):
            run(headlines, out, *options)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with journal.open("ab") as file:
        file.write(b'{"vote": {"example_id": "row-')  # half a line
    known = journal.read_bytes().count(b"\n") - 1
    assert 0 < known < 14
    with fault_proxy(lab_server.port, lambda body, n: PASS) as proxy:
        options[1] = proxy.url
        run(headlines, out, *options)
        assert len(proxy.seen) == 14 - known  # nothing is asked twice
        run(headlines, out, *options)
        assert len(proxy.seen) == 14 - known
    lines = journal.read_bytes().splitlines()[1:]
    counted = Counter(json.loads(line)["vote"]["example_id"] for line in lines)
    assert counted == Counter(f"row-{n}" for n in range(1, 15))
    run(headlines, tmp_path / "at_once", "--endpoint", lab_server.url, "--model", lab_server.model)
    files = [folder / "annotations.parquet" for folder in (out, tmp_path / "at_once")]
    pd.testing.assert_frame_equal(*(pd.read_parquet(file) for file in files))


def test_local_teacher_writes_the_same_kind_of_folder(headlines: Path, tmp_path: Path) -> None:
    run(headlines, tmp_path / "out", "--model", "lab", "--label-column", "label")
    table = pd.read_parquet(tmp_path / "out" / "annotations.parquet")
    assert table["agrees_with_gold"].mean() > 0.8
    assert (table["agreement"] == 1).all()
    assert report(tmp_path / "out")["usage"]["requests"] == 0


def test_budget_stops_cleanly_and_a_larger_one_goes_on(headlines: Path, tmp_path: Path) -> None:
    reply = ok("merger", usage={"prompt_tokens": 900, "completion_tokens": 3})
    with fault_proxy(None, lambda body, n: reply) as proxy:
        options = ["--endpoint", proxy.url, "--model", "m"]
        stopped = run(headlines, tmp_path / "out", *options, "--token-budget", "7000")
        assert "stopped: the budget of 7,000 tokens is spent" in stopped.output
        assert stopped.exit_code == 0
        first = report(tmp_path / "out")
        assert not first["summary"]["complete"]
        assert 0 < first["summary"]["votes"] < 14
        whole = run(headlines, tmp_path / "out", *options)
        assert "stopped" not in whole.output
        assert report(tmp_path / "out")["summary"]["complete"]
        assert len(proxy.seen) == 14


def test_more_votes_are_added_to_those_there_are(headlines: Path, tmp_path: Path) -> None:
    with fault_proxy(None, lambda body, n: ok("merger")) as proxy:
        options = ["--endpoint", proxy.url, "--model", "m", "--temperature", "1"]
        for votes in ("1", "3"):
            run(headlines, tmp_path / "out", *options, "--votes", votes)
        assert len(proxy.seen) == 3 * 14
        assert sorted(seen.body["seed"] for seen in proxy.seen) == [0] * 14 + [1] * 14 + [2] * 14


def test_the_key_reaches_the_server_and_no_file(
    headlines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-0123456789abcdef"
    monkeypatch.setenv("LAB_KEY", key)
    replies = [ok("merger"), error(400, f"key {key} may not ask this"), ok(f"it is {key}")]
    with fault_proxy(None, lambda body, n: replies[len(proxy.seen) % 3]) as proxy:
        options = ["--endpoint", proxy.url, "--model", "m", "--api-key-variable", "LAB_KEY"]
        said = run(headlines, tmp_path / "out", *options).output
        assert {seen.headers["authorization"] for seen in proxy.seen} == {f"Bearer {key}"}
    assert key not in said
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) == 5
    assert not [path for path in files if key.encode() in path.read_bytes()]
    for table in ("annotations", "votes"):
        assert key not in pd.read_parquet(tmp_path / "out" / f"{table}.parquet").to_csv()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--supervision", "cott"], "not one of label, cot, blended"),
        (["--supervision", "cot", "--thinking", "none"], "`cot` and `blended` go with"),
        (["--thinking", "full"], "`label` goes with `none`"),
        (["--thinking", "deep"], "not one of none, brief, full"),
        (["--votes", "2", "--temperature", "0"], "all votes would be the same"),
        (["--temperature", "-1"], "at least 0"),
        (["--task", "nonsense"], "neither a built-in task"),
        (["--text-column", "txt"], "did you mean `text`"),
        (["--label-column", "text"], "row 1: .*unknown label"),
        (["--token-budget", "5"], "only an endpoint takes it"),
        (["--top-log-probs", "5"], "only an endpoint or vLLM takes it"),
        (["--engine", "vlm"], "not one of transformers, vllm"),
        (["--engine", "vllm"], "vLLM cannot be imported here"),
        (["--engine", "vllm", "--endpoint", "http://h"], "leave --endpoint out"),
        (["--endpoint", "localhost:8000"], "https://HOST/v1"),
        (["--endpoint", "http://h", "--money-budget", "1"], "no price is given"),
        (["--endpoint", "http://h", "--api-key-variable", "NOT_SET_HERE"], "NOT_SET_HERE is not"),
        (["--traces-for", "/nowhere"], "no tokenizer"),
        (["--model", "/nowhere"], "/nowhere: no tokenizer"),
    ],
)
def test_wrong_options_are_one_sentence_before_anything_is_written(
    headlines: Path,
    tmp_path: Path,
    options: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)  # also where somebody has installed it
    with pytest.raises(InputError, match=sentence):
        run(headlines, tmp_path / "out", "--model", "lab", *options)
    assert not (tmp_path / "out").exists()


def test_another_runs_folder_is_refused(headlines: Path, tmp_path: Path) -> None:
    run(headlines, tmp_path / "out", "--model", "lab")
    with pytest.raises(InputError, match="whose seed is `0` instead of `1`"):
        run(headlines, tmp_path / "out", "--model", "lab", "--seed", "1")


def test_a_local_teacher_is_its_content_wherever_it_lies(headlines: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(shipped_teacher(), first)
    run(headlines, tmp_path / "out", "--model", str(first))
    votes = (tmp_path / "out" / "journal.jsonl").read_bytes()
    first.rename(second)
    run(headlines, tmp_path / "out", "--model", str(second))
    assert (tmp_path / "out" / "journal.jsonl").read_bytes() == votes
    (second / "generation_config.json").write_text('{"eos_token_id": 0}')
    with pytest.raises(InputError, match="votes of another run, whose model is"):
        run(headlines, tmp_path / "out", "--model", str(second))


def test_a_refused_key_is_one_sentence(headlines: Path, tmp_path: Path) -> None:
    with (
        fault_proxy(None, lambda body, n: error(401, "no such key")) as proxy,
        pytest.raises(EndpointFailed, match="401: no such key"),
    ):
        run(headlines, tmp_path / "out", "--endpoint", proxy.url, "--model", "m")
