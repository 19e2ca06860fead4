"""Question files of MMLU and MMLU-Pro: what is read, and what is refused in one sentence."""

import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distillscale.errors import InputError
from distillscale.evaluation.question_files import question_files, read_mmlu, read_mmlu_pro
from question_folders import SUBJECTS, write_mmlu, write_mmlu_pro


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    return write_mmlu(tmp_path_factory.mktemp("mmlu"))


def test_with_and_without_a_header_the_same_rows_are_read(published, tmp_path):
    bare = write_mmlu(tmp_path / "bare", header=False)
    rows = read_mmlu(published, SUBJECTS)
    assert rows == read_mmlu(bare, SUBJECTS)
    assert list(rows) == SUBJECTS
    first = rows["anatomy"]["dev"][0]
    assert first["subject"] == "anatomy"
    assert len(first["choices"]) == 4
    assert first["question"].startswith(" Which")  # nothing is trimmed


def test_a_question_that_begins_like_a_header_is_a_question(tmp_path):
    path = tmp_path / "dev" / "anatomy_dev.csv"
    path.parent.mkdir()
    path.write_text("question,one,two,three,four,C\n")
    shutil.copytree(tmp_path / "dev", tmp_path / "test")
    (tmp_path / "test" / "anatomy_dev.csv").rename(tmp_path / "test" / "anatomy_test.csv")
    rows = read_mmlu(tmp_path, ["anatomy"])["anatomy"]["test"]
    assert rows == [
        {
            "question": "question",
            "subject": "anatomy",
            "choices": ["one", "two", "three", "four"],
            "answer": 2,
        }
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it holds no question"),
        ("why,a,b,c,d\n", "question 1 is wrong"),
        ("why,a,b,c,d,A\nwhy,a,b,c,d,4\n", "question 2 is wrong"),
        ("why,a,b,c,d,E\n", "from A to D"),
        (b"why\xff,a,b,c,d,A\n", "not a CSV file in UTF-8"),
        (None, "no such file"),
    ],
)
def test_a_file_that_is_wrong_is_named(published, tmp_path, content, reason):
    folder = shutil.copytree(published, tmp_path / "copy")
    path = folder / "test" / "virology_test.csv"
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=rf"virology_test.*{reason}"):
        read_mmlu(folder, SUBJECTS)


def test_the_letter_says_what_is_right_in_mmlu_pro(tmp_path):
    path = write_mmlu_pro(tmp_path) / "test.parquet"
    table = pd.read_parquet(path)
    table.loc[0, "answer_index"] = (table.loc[0, "answer_index"] + 1) % 3
    table.to_parquet(path)
    rows = read_mmlu_pro(tmp_path)
    assert rows["test"][0]["answer"] == table.loc[0, "answer"]
    assert len(rows["validation"]) == 14 * 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.drop(columns="options"), "column `options` is missing"),
        (lambda t: t.assign(category=1), "column `category` is missing or of another type"),
        (lambda t: t.assign(answer="K"), "question 1 is wrong"),
        (lambda t: t.assign(question=[None, *t["question"][1:]]), "`question` has empty fields"),
    ],
)
def test_a_table_that_is_wrong_is_named(tmp_path, change, reason):
    path = write_mmlu_pro(tmp_path) / "test.parquet"
    change(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(InputError, match=rf"test\.parquet.*{reason}"):
        read_mmlu_pro(tmp_path)


def test_solved_questions_need_their_solutions(tmp_path):
    path = write_mmlu_pro(tmp_path) / "validation.parquet"
    pd.read_parquet(path).drop(columns="cot_content").to_parquet(path)
    with pytest.raises(InputError, match=r"validation\.parquet: column `cot_content`"):
        read_mmlu_pro(tmp_path)


def test_what_is_no_parquet_file_or_no_folder_of_questions_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no questions of MMLU-Pro; a file test\*"):
        read_mmlu_pro(tmp_path)
    (tmp_path / "test.parquet").write_text("text")
    with pytest.raises(InputError, match="not a Parquet file"):
        read_mmlu_pro(tmp_path)


def test_imported_rows_of_mmlu_are_checked_too(tmp_path):
    for split in ("dev", "test"):
        (tmp_path / split).mkdir()
        rows = [{"question": "why", "subject": "anatomy", "choices": list("abcd"), "answer": 4}]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / split / f"anatomy_{split}.parquet")
    with pytest.raises(InputError, match=r"anatomy_dev\.parquet: question 1 .* from 0 to 3"):
        read_mmlu(tmp_path, ["anatomy"])


def test_an_imported_file_without_questions_is_refused(tmp_path):
    (tmp_path / "dev").mkdir()
    pq.write_table(
        pa.table({"question": pa.array([], pa.string())}), tmp_path / "dev/a_dev.parquet"
    )
    with pytest.raises(InputError, match=r"a_dev\.parquet: it holds no question"):
        read_mmlu(tmp_path, ["a"])


def test_other_files_are_no_part_of_a_question_folder(published, tmp_path):
    folder = shutil.copytree(published, tmp_path / "copy")
    (folder / "LICENSE").write_text("MIT")
    assert len(question_files(folder)) == 2 * 57
