"""What `classify` reads of a deployed folder, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from distillscale.errors import InputError
from distillscale.serving.deployment import Deployment, read_deployment, write_deployment
from distillscale.tasks import load_task, task_from_labels

TASK = task_from_labels("mine", ["a", "ü | `b`"])


@pytest.mark.parametrize("task", [TASK, load_task("fin-headlines")])
def test_what_was_written_is_read(tmp_path: Path, task):
    deployment = Deployment(task, "brief", 99)
    write_deployment(deployment, tmp_path)
    assert read_deployment(tmp_path) == deployment


def altered(**changes: Any) -> str:
    content = {"task": json.loads(json.dumps(TASK, default=vars)), "thinking": "none"}
    return json.dumps(content | {"max_new_tokens": 64} | changes)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "the file"),
        ("[1]", "the file"),
        ("{}", "task"),
        (altered(thinking="deep"), "thinking"),
        (altered(max_new_tokens=0), "max_new_tokens"),
        (altered(max_new_tokens="64"), "max_new_tokens"),
        (altered(task={"name": "x", "prompt": "{text}"}), "task.classes"),
        (altered(task={"name": "x", "prompt": "{text}", "classes": [{"name": 1}]}), "task.classes"),
    ],
)
def test_another_file_of_that_name_is_refused(complaint, tmp_path: Path, text: str, field: str):
    (tmp_path / "distillscale.json").write_text(text)
    said = complaint("classify", tmp_path, "a headline")
    assert f"distillscale.json: {field}" in said
    assert len(said.splitlines()) == 1


def test_a_folder_without_it_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="not a folder that `compress` wrote"):
        read_deployment(tmp_path)


def test_a_folder_without_a_model_is_refused(complaint, tmp_path: Path):
    write_deployment(Deployment(TASK, "none", 16), tmp_path)
    assert "no causal LM" in complaint("classify", tmp_path, "a headline")
