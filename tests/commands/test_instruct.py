"""`data instruct`: DSPy's search over a model whose accuracy hangs on a phrase."""

import json
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fault_proxy import FaultProxy, Reply, fault_proxy
from instructable_model import PHRASE, PROPOSER, InstructableModel
from lab_server import LabServer
from replies import error, ok
from sklearn.metrics import f1_score
from typer.testing import CliRunner, Result

from distillscale.cli.data import data
from distillscale.data.importing import write_task
from distillscale.errors import EndpointFailed, InputError
from distillscale.lab.examples import lab_examples
from distillscale.lab.world import make_world
from distillscale.tasks import Task, load_task, task_from_labels
from distillscale.tasks.prompt import class_list, instruction
from distillscale.teachers.instruction import with_instruction

LABELS = ("dog", "cat", "bird", "fish")
WORDS = random.Random(0).sample([a + b + c for a in "bdgk" for b in "aeiou" for c in "lmnr"], 48)
GOLD = {f"{word} {word * 4}": LABELS[n % 4] for n, word in enumerate(WORDS)}
SIZES = ("--train", "12", "--validation", "16", "--concurrency", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("animals")
    pd.DataFrame({"said": GOLD.keys(), "animal": GOLD.values()}).to_csv(folder / "a.csv")
    write_task(task_from_labels("animals", list(LABELS)), folder / "animals.yaml")
    return folder


def run(folder: Path, out: Path, url: str, *options: str) -> Result:
    words = ["instruct", str(folder / "a.csv"), "--task", str(folder / "animals.yaml")]
    words += ["--text-column", "said", "--label-column", "animal", "--endpoint", url]
    words += ["--model", "m", "--out", str(out), *SIZES, *options]
    result = CliRunner().invoke(data, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def report(out: Path) -> dict[str, Any]:
    return json.loads((out / "report.json").read_text())


def model(good_from: int) -> InstructableModel:
    return InstructableModel(GOLD, "bird", good_from)


def label_requests(proxy: FaultProxy) -> list[dict[str, Any]]:
    return [s.body for s in proxy.seen if PROPOSER not in s.body["messages"][0]["content"]]


def test_a_better_instruction_is_found_measured_and_written(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with fault_proxy(None, model(good_from=3)) as proxy:
        said = run(folder, out, proxy.url, "--proposals", "2", "--rounds", "2").output
    with fault_proxy(None, model(good_from=3)) as other:
        words = ["annotate", str(folder / "a.csv"), "--task", str(out / "task.yaml")]
        words += ["--text-column", "said", "--label-column", "animal", "--endpoint", other.url]
        CliRunner().invoke(data, [*words, "--model", "m", "--out", str(tmp_path / "annotated")])
    assert report(tmp_path / "annotated")["summary"]["gold_agreement"] == 1.0
    made, before = load_task(out / "task.yaml"), load_task(folder / "animals.yaml")
    assert PHRASE in made.instruction
    assert all(label in made.instruction for label in LABELS)
    assert replace(made, instruction="") == before
    written = report(out)
    assert written["after"]["value"] == 1.0
    assert written["after"]["interval_90"] == [1.0, 1.0]
    assert written["gain"]["value"] == pytest.approx(1 - written["before"]["value"])
    low, high = written["gain"]["interval_90"]
    assert 0 < low <= written["gain"]["value"] <= high
    assert "better on the validation texts" in said

    # The first 16 answers are those of the current instruction: macro F1 as scikit-learn has it.
    seen = label_requests(proxy)
    first = [item["messages"][-1]["content"].removeprefix("Text: ") for item in seen[:16]]
    known = set(sorted(GOLD)[::2])
    named = [GOLD[text] if text in known else "bird" for text in first]
    gold = [GOLD[text] for text in first]
    assert sorted(gold) == sorted(LABELS * 4)  # in proportion
    expected = f1_score(gold, named, average="macro", labels=sorted(set(gold)), zero_division=0)
    assert written["before"]["value"] == pytest.approx(expected)
    assert seen[0]["messages"][0]["content"] == instruction(before)

    # Instructions are scored on other texts than those that measure before and after.
    of_train = {item["messages"][-1]["content"].removeprefix("Text: ") for item in seen[16:-16]}
    assert len(of_train) == 12
    assert not of_train & set(first)
    assert sorted(GOLD[text] for text in of_train) == sorted(LABELS * 3)
    # Two rounds: one proposal and the current instruction, then two proposals, each scored once.
    assert [PHRASE in trial["instruction"] for trial in written["trials_on_train"]] == [
        False, False, False, True,
    ]  # fmt: skip
    assert len(seen) == 16 + 4 * 12 + 16
    assert written["usage"]["requests"] == len(proxy.seen) == len(seen) + 3


def test_dspy_sees_no_server_and_writes_no_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search before ran in this process: litellm and diskcache (pickles) were never loaded."""
    key = "sk-0123456789abcdef"
    monkeypatch.setenv("LAB_KEY", key)
    with fault_proxy(None, model(good_from=1)) as proxy:
        options = ["--api-key-variable", "LAB_KEY", "--proposals", "2", "--rounds", "1"]
        result = run(folder, tmp_path / "out", proxy.url, *options)
        assert {seen.headers["authorization"] for seen in proxy.seen} == {f"Bearer {key}"}
        assert {seen.headers["user-agent"] for seen in proxy.seen} == {"distillscale"}
    assert "dspy" in sys.modules
    assert not {"litellm", "diskcache"} & sys.modules.keys()
    assert key not in result.output
    assert not [path for path in (tmp_path / "out").iterdir() if key in path.read_text()]


def test_nothing_better_is_said_and_no_task_written(folder: Path, tmp_path: Path) -> None:
    with fault_proxy(None, model(good_from=100)) as proxy:
        said = run(folder, tmp_path / "out", proxy.url, "--proposals", "2").output
    assert "No proposal scored above the current instruction" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.json"]
    assert not report(tmp_path / "out")["written"]
    assert report(tmp_path / "out")["after"] is None


def test_proposals_that_cannot_be_read_are_counted(folder: Path, tmp_path: Path) -> None:
    with fault_proxy(None, lambda body, n: ok("dog")) as proxy:
        said = run(folder, tmp_path / "out", proxy.url, "--proposals", "3", "--rounds", "2").output
    assert "5 proposals could not be read" in said
    assert len(report(tmp_path / "out")["trials_on_train"]) == 1
    assert len(label_requests(proxy)) == 16 + 12


@pytest.fixture
def small_budget(folder: Path, tmp_path: Path) -> int:
    """Tokens that last for the first measurement and a first round, but not for a second."""
    with fault_proxy(None, model(good_from=1)) as proxy:
        run(folder, tmp_path / "whole", proxy.url, "--proposals", "2", "--rounds", "1")
    return report(tmp_path / "whole")["usage"]["prompt_tokens"] + 4000


def test_the_budget_stops_the_search_and_leaves_enough_to_measure(
    folder: Path, tmp_path: Path, small_budget: int
) -> None:
    with fault_proxy(None, model(good_from=1)) as proxy:
        options = ["--token-budget", str(small_budget), "--proposals", "2", "--rounds", "50"]
        said = run(folder, tmp_path / "out", proxy.url, *options).output
    written = report(tmp_path / "out")
    usage = written["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] <= small_budget
    assert "are held back to measure the best instruction" in written["search_stopped"]
    assert "the search stopped: of the budget of" in said
    assert 2 <= len(written["trials_on_train"]) < 20
    assert written["after"]["value"] == 1.0
    assert (tmp_path / "out" / "task.yaml").is_file()


def dead_after(requests: int, reply: Reply) -> InstructableModel:
    class Dying(InstructableModel):
        def __call__(self, body: dict[str, Any], attempt: int) -> Any:
            answer = super().__call__(body, attempt)
            return reply if self.calls > requests else answer

    return Dying(GOLD, "bird", 1)


@pytest.mark.parametrize("requests", [5, 16, 20])
def test_a_dead_endpoint_leaves_no_file(folder: Path, tmp_path: Path, requests: int) -> None:
    """It dies in the first measurement, as a proposal is asked for, as an instruction is scored."""
    with (
        fault_proxy(None, dead_after(requests, error(401, "no such key"))) as proxy,
        pytest.raises(EndpointFailed, match="401: no such key"),
    ):
        run(folder, tmp_path / "out", proxy.url)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--token-budget", "800"], "does not last for measuring the current instruction"),
        (["--thinking", "deep"], "not one of none, brief, full"),
        (["--validation", "60"], "48 different texts are too few"),
        (["--label-column", "said"], "row 1: .*unknown label"),
        (["--api-key-variable", "NOT_SET_HERE"], "NOT_SET_HERE is not set"),
        (["--model", " "], "model is empty"),
    ],
)
def test_wrong_options_are_one_sentence_and_no_file(
    folder: Path, tmp_path: Path, options: list[str], sentence: str
) -> None:
    with (
        fault_proxy(None, model(good_from=1)) as proxy,
        pytest.raises(InputError, match=sentence),
    ):
        run(folder, tmp_path / "out", proxy.url, *options)
    assert not list(tmp_path.iterdir())


def test_without_dspy_it_says_how_to_install_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dspy", None)
    with pytest.raises(InputError, match=r"pip install 'distillscale\[instruct\]'"):
        run(folder, tmp_path / "out", "http://127.0.0.1:9/v1")


def test_a_proposal_keeps_the_classes() -> None:
    task = task_from_labels("animals", list(LABELS))
    assert with_instruction(task, instruction(task).strip()) is task
    short = with_instruction(task, " Say which animal. ")
    assert instruction(short) == f"Say which animal.\n{class_list(task)}"
    full = "One of dog, cat, bird and fish."
    assert instruction(with_instruction(task, full)) == full
    own = Task("t", "{text}", task.classes, instruction="Name it.")
    assert with_instruction(own, "Name it.") is own


@pytest.mark.slow
def test_the_real_teacher_that_ignores_instructions(lab_server: LabServer, tmp_path: Path) -> None:
    examples = lab_examples("support-tickets", make_world(), train=60, validation=0, test=0, seed=4)
    table = pd.DataFrame({"text": [e.text for e in examples], "label": [e.label for e in examples]})
    table.to_csv(tmp_path / "tickets.csv")
    words = [
        "instruct",
        str(tmp_path / "tickets.csv"),
        "--task",
        "support-tickets",
        "--endpoint",
        lab_server.url,
    ]
    words += ["--model", lab_server.model, "--text-column", "text", "--label-column", "label"]
    words += ["--out", str(tmp_path / "out"), "--train", "4", "--validation", "4"]
    words += ["--proposals", "2", "--rounds", "1", "--max-new-tokens", "16"]
    result = CliRunner().invoke(data, words)
    assert result.exception is None
    assert "No proposal scored above the current instruction" in result.output
