"""`laws fit` and `recommend` on a stored table."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from small_table import results

from distillscale.laws import load_laws
from distillscale.results import write_results


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "results.parquet"
    write_results(results(), path)
    return path


def test_fit_writes_laws_beside_the_table_and_prints_them(call, stored: Path):
    ended = call("laws", "fit", stored)
    assert ended.code == 0
    laws = load_laws(stored.with_name("laws.json"))
    assert {law.form for law in laws} == {"data", "size", "collapse"}
    assert all(word in ended.out for word in ("collapse", "params_with_embeddings", "alpha"))
    tabular = [line for line in ended.out.splitlines()[:-1] if not line.startswith("  [")]
    assert max(map(len, tabular)) <= 80  # footnotes are prose and may wrap
    assert str(stored.with_name("laws.json")) in ended.out


def test_fit_writes_where_it_is_told(call, stored: Path, tmp_path: Path):
    assert call("laws", "fit", stored, "--out", tmp_path / "new" / "x.json").code == 0
    assert load_laws(tmp_path / "new" / "x.json")
    assert not stored.with_name("laws.json").exists()


def test_fit_refuses_a_place_that_cannot_be_written(complaint, stored: Path):
    assert "--out" in complaint("laws", "fit", stored, "--out", stored / "laws.json")


def test_names_with_brackets_are_printed_as_they_are(call, tmp_path: Path):
    path = tmp_path / "[/red]" / "results.parquet"
    write_results(results(task="[bold]a[/bold][/]"), path)
    ended = call("laws", "fit", path)
    assert ended.code == 0
    assert "[bold]a[/bold][/], logit-label" in ended.out


def test_an_empty_table_has_no_laws(call, complaint, tmp_path: Path):
    write_results(results()[:0], tmp_path / "empty.parquet")
    assert "no law can be planned" in complaint("laws", "fit", tmp_path / "empty.parquet")
    assert not (tmp_path / "laws.json").exists()
    ended = call("recommend", "--results", tmp_path / "empty.parquet")
    assert (ended.code, ended.out) == (2, "")
    assert "no rows" in ended.err


def test_a_table_that_is_none_is_refused(complaint, tmp_path: Path):
    (tmp_path / "text.parquet").write_text("not Parquet")
    pd.DataFrame({"study": ["x"]}).to_parquet(tmp_path / "other.parquet")
    for command in (["laws", "fit"], ["recommend", "--results"]):
        assert "not a Parquet file" in complaint(*command, tmp_path / "text.parquet")
        assert "column `cell` is missing" in complaint(*command, tmp_path / "other.parquet")


def test_the_smallest_satisfying_model_is_recommended(call, stored: Path):
    ended = call(
        "recommend", "--results", stored, "--min", "macro_f1=0.85", "--min", "general=0.5",
        "--max", "params=600000",
    )  # fmt: skip
    assert ended.code == 0
    first = ended.out.splitlines()[0]
    assert (
        "is the smallest model with macro_f1 >= 0.85, general >= 0.5 and params <= 600,000" in first
    )
    assert "pruned only: fails" in ended.out


def test_what_cannot_be_had_is_said(call, stored: Path):
    ended = call("recommend", "--results", stored, "--min", "macro_f1=0.999")
    assert ended.code == 0
    assert "Nothing measured or interpolated satisfies macro_f1 >= 0.999" in ended.out


@pytest.mark.parametrize(
    "text", ["macro_f1", "macro_f1=", "macro_f1=high", "macro_f1==0.5", "=", "", "macro_f1=0,8"]
)
@pytest.mark.parametrize("option", ["--min", "--max"])
def test_a_malformed_constraint_is_one_sentence(complaint, stored: Path, option: str, text: str):
    said = complaint("recommend", "--results", stored, option, text)
    assert said == f"{option} `{text}`: it must be NAME=NUMBER, for example macro_f1=0.85.\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--min", "macro_f2=0.5"], "did you mean `macro_f1`?"),
        (["--min", "=0.5"], "no such metric or size"),
        (["--min", "macro_f1=nan"], "give a number"),
        (["--max", "params=inf"], "give a number"),
        (["--min", "params=9", "--max", "params=8"], "no value satisfies both"),
        (["--min", "general=0.5", "--min", "general=0.6"], "`general` is given twice"),
        (["--task", "support-tickets"], "task `support-tickets`: not in the results"),
    ],
)
def test_a_constraint_that_makes_no_sense_is_one_sentence(
    complaint, stored: Path, options: list[str], said: str
):
    complained = complaint("recommend", "--results", stored, *options)
    assert said in complained
    assert len(complained.splitlines()) == 1


def test_of_several_tasks_one_is_chosen(call, complaint, tmp_path: Path):
    path = tmp_path / "two.parquet"
    write_results(pd.concat([results(), results("support-tickets")]), path)
    assert "choose one" in complaint("recommend", "--results", path, "--min", "macro_f1=0.8")
    task = ["--task", "support-tickets"]
    assert call("recommend", "--results", path, "--min", "macro_f1=0.8", *task).code == 0


def test_laws_need_no_torch():
    code = "import sys, distillscale.cli, distillscale.commands.laws; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
