"""Question files made into a local task of lm-evaluation-harness, for its own command line.

The folder holds the questions as Parquet, laid out as `question_files.py` reads them, and a group
`mmlu_local` or `mmlu_pro_local` whose tasks are the harness's own with these rows:
`lm_eval --include_path FOLDER --tasks mmlu_local --num_fewshot 5 ...`.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distillscale.errors import InputError
from distillscale.evaluation.harness_catalogue import SOLVED_PRO, local_rows, pooling
from distillscale.evaluation.question_files import Splits


def import_questions(name: str, questions: Path, out: Path, validation: Path | None = None) -> int:
    """Write question files as a local task of the harness; the number of test questions.

    The task's file names the questions by their absolute paths, as the harness needs them: import
    again where the folder is moved.

    Args:
        name: `mmlu` or `mmlu_pro`.
        questions: folder of question files.
        out: an empty or new folder.
        validation: file of MMLU-Pro's solved questions, where it is not in the folder.

    Raises:
        InputError: a question file is wrong, or MMLU-Pro's solved questions are missing.
    """
    rows = local_rows(name, questions, validation)
    folder = out.absolute()
    if name == "mmlu_pro":
        splits = next(iter(rows.values()))
        if not splits["validation"]:
            raise InputError(
                f"{questions}: no validation*.parquet, whose solved questions the harness shows "
                f"before each of MMLU-Pro's; name {SOLVED_PRO} with --validation FILE, or ask "
                "without them and without an import: `distillscale knowledge MODEL --benchmark "
                f"mmlu_pro --questions {questions} --shots 0`."
            )
        files = dict.fromkeys(rows, _write(splits, folder, "{split}.parquet"))
        tests = len(splits["test"])
    else:
        files = {
            task: _write(splits, folder, f"{{split}}/{_subject(splits)}_{{split}}.parquet")
            for task, splits in rows.items()
        }
        tests = sum(len(splits["test"]) for splits in rows.values())
    group = {
        "group": f"{name}_local",
        "task": [_task(task, data_files) for task, data_files in files.items()],
        "aggregate_metric_list": pooling(name),
        "metadata": {"version": 1.0},
    }
    # JSON is YAML, and quotes every path.
    text = f"# Written by `distillscale import-questions`.\n{json.dumps(group, indent=1)}\n"
    (folder / f"{name}_local.yaml").write_text(text, encoding="utf-8")
    return tests


def _subject(splits: Splits) -> str:
    return str(splits["test"][0]["subject"])


def _write(splits: Splits, folder: Path, pattern: str) -> dict[str, str]:
    """Write the splits of a task; their paths."""
    paths = {split: folder / pattern.format(split=split) for split in splits}
    for split, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(splits[split]), path)
    return {split: str(path) for split, path in paths.items()}


def _task(task: str, data_files: dict[str, str]) -> dict[str, Any]:
    return {
        "task": task,
        "dataset_path": "parquet",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": data_files},
    }
