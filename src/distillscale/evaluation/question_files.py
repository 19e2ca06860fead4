"""Question files of MMLU and MMLU-Pro on this machine, read into the rows that the hub holds.

MMLU is a folder with `dev` and `test`, each with one CSV file a subject: six columns (question,
four choices, and the answer as 0 to 3 or A to D), with or without a line of column names, as
hendrycks/test publishes them. MMLU-Pro is a folder with Parquet files whose names begin with `test`
and, for the solved questions of its prompts, `validation`, as on the hub. Parquet files that
`harness_import.py` wrote are read in the same places.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distillscale.errors import InputError

Row = dict[str, Any]
Splits = dict[str, list[Row]]

MMLU_SPLITS = ("dev", "test")
PRO_SPLITS = ("validation", "test")
LETTERS = "ABCDEFGHIJ"
"""What the choices are called; MMLU-Pro has up to ten."""

_CHOICES = 4
_ANSWERS = {text: n for n in range(_CHOICES) for text in (str(n), LETTERS[n])}
_PRO_COLUMNS = {
    "question": pa.types.is_string,
    "options": pa.types.is_list,
    "answer": pa.types.is_string,
    "category": pa.types.is_string,
}


def read_mmlu(folder: Path, subjects: Sequence[str]) -> dict[str, Splits]:
    """The `dev` and `test` rows of each subject: `question, subject, choices, answer` (0 to 3).

    Raises:
        InputError: a subject's file is missing, or a line is no question with four choices.
    """
    return {
        subject: {split: _mmlu_rows(folder, subject, split) for split in MMLU_SPLITS}
        for subject in subjects
    }


def read_mmlu_pro(folder: Path, validation: Path | None = None) -> Splits:
    """The `validation` rows (none where there is no such file) and the `test` rows.

    The letter `answer` says what is right, as it does for the harness; `answer_index` is not read
    (in one of the 12,032 published questions it names another option).

    Args:
        folder: of the files.
        validation: file of the solved questions, where it lies elsewhere.

    Raises:
        InputError: there is no test file, a column is missing or of another type, or an answer is
            none of its options.
    """
    files = {split: sorted(folder.glob(f"{split}*.parquet")) for split in PRO_SPLITS}
    if validation is not None:
        files["validation"] = [validation]
    splits = {split: _pro_rows(files[split], split) for split in PRO_SPLITS}
    if not splits["test"]:
        raise InputError(f"{folder}: no questions of MMLU-Pro; a file test*.parquet holds them.")
    return splits


def question_files(folder: Path) -> list[Path]:
    """The files of a question folder that decide what is asked."""
    found = [*folder.rglob("*.csv"), *folder.rglob("*.parquet")]
    return sorted(path for path in found if path.is_file())


def _mmlu_rows(folder: Path, subject: str, split: str) -> list[Row]:
    path = folder / split / f"{subject}_{split}.csv"
    if path.is_file():
        return _csv_rows(path, subject)
    parquet = path.with_suffix(".parquet")
    if not parquet.is_file():
        raise InputError(
            f"{path}: no such file; the questions of MMLU are {split}/SUBJECT_{split}.csv for each "
            "subject."
        )
    rows = _parquet(parquet).to_pylist()
    if not rows:
        raise InputError(f"{parquet}: it holds no question.")
    for number, row in enumerate(rows):
        choices, answer = row.get("choices") or (), row.get("answer")
        if not isinstance(row.get("question"), str) or len(choices) != _CHOICES:
            raise _no_question(parquet, number, "a question with four choices")
        if answer not in range(_CHOICES):
            raise _no_question(parquet, number, "an answer from 0 to 3")
    return rows


def _csv_rows(path: Path, subject: str) -> list[Row]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file in UTF-8 ({error}).") from error
    has_names = bool(lines) and lines[0][:1] == ["question"] and lines[0][-1] not in _ANSWERS
    rows = []
    for number, fields in enumerate(lines[has_names:]):
        if len(fields) != _CHOICES + 2 or fields[-1] not in _ANSWERS:
            raise _no_question(
                path, number, "question, four choices, and an answer from 0 to 3 or from A to D"
            )
        question, *choices, answer = fields
        rows.append(
            {
                "question": question,
                "subject": subject,
                "choices": choices,
                "answer": _ANSWERS[answer],
            }
        )
    if not rows:
        raise InputError(f"{path}: it holds no question.")
    return rows


def _pro_rows(files: Sequence[Path], split: str) -> list[Row]:
    rows: list[Row] = []
    for path in files:
        table = _parquet(path)
        _check_columns(path, table, split)
        own = table.to_pylist()
        for number, row in enumerate(own):
            options, answer = row["options"], row["answer"]
            if len(options) > len(LETTERS) or answer not in tuple(LETTERS[: len(options)]):
                raise _no_question(
                    path, number, f"up to {len(LETTERS)} options and one's letter as the answer"
                )
        rows += own
    return rows


def _check_columns(path: Path, table: pa.Table, split: str) -> None:
    wanted = dict(_PRO_COLUMNS)
    if split == "validation":
        wanted["cot_content"] = pa.types.is_string
    for name, is_right in wanted.items():
        if name not in table.column_names or not is_right(_plain(table.schema.field(name).type)):
            raise InputError(
                f"{path}: column `{name}` is missing or of another type; MMLU-Pro's files have "
                f"{', '.join(wanted)}."
            )
        if table.column(name).null_count:
            raise InputError(f"{path}: column `{name}` has empty fields; each needs a value.")


def _plain(kind: pa.DataType) -> pa.DataType:
    """`large_string` and `large_list` are strings and lists too."""
    if pa.types.is_large_string(kind):
        return pa.string()
    return pa.list_(kind.value_type) if pa.types.is_large_list(kind) else kind


def _parquet(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a Parquet file ({error}).") from error


def _no_question(path: Path, number: int, wanted: str) -> InputError:
    return InputError(f"{path}: question {number + 1} is wrong; it must have {wanted}.")
