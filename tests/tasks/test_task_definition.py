import re
from dataclasses import asdict
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from distillscale.errors import InputError
from distillscale.tasks import Task, builtin_tasks, load_task, task_from_labels
from distillscale.tasks.task import task_from_dict

VALID = {
    "name": "mails",
    "prompt": "Mail: {text}",
    "classes": [
        {"name": "spam", "definition": "Unwanted."},
        {"name": "ham", "category": "wanted", "definition": "Wanted."},
    ],
}


def write_task(folder: Path, **changes: object) -> Path:
    path = folder / "mails.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump({**VALID, **changes}, file)
    return path


def complaint(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_task(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("name", "classes", "categories"), [("fin-headlines", 35, 13), ("support-tickets", 20, None)]
)
def test_builtin_tasks_have_their_classes_each_with_a_definition(name, classes, categories):
    task = load_task(name)
    assert task.name == name
    assert len(task.labels) == classes
    assert categories is None or len(set(task.categories.values())) == categories
    for definition in task.classes:
        assert definition.definition.strip().endswith(".")
        assert "\n" not in definition.definition
        assert re.fullmatch(r"[a-z_]+", definition.name)


def test_builtin_tasks_are_listed():
    assert builtin_tasks() == ("fin-headlines", "support-tickets")


def test_a_users_task_is_read_as_written(tmp_path):
    task = load_task(write_task(tmp_path, instruction="Sort the mail."))
    assert task.name == "mails"
    assert task.prompt == "Mail: {text}"
    assert task.instruction == "Sort the mail."
    assert task.labels == ("spam", "ham")
    assert task.category_of("spam") == "spam"
    assert task.category_of("ham") == "wanted"


def test_a_users_task_is_read_anew_when_its_file_changes(tmp_path):
    load_task(write_task(tmp_path))
    assert load_task(write_task(tmp_path, prompt="Letter: {text}")).prompt == "Letter: {text}"


@pytest.mark.parametrize("name", ["fin-headlines", "support-tickets"])
def test_a_task_survives_being_made_a_dict(name):
    task = load_task(name)
    assert task_from_dict(asdict(task)) == task


def test_unknown_label_names_the_nearest_class():
    with pytest.raises(InputError, match=r"unknown label `layoff`; did you mean `layoffs`\?"):
        load_task("fin-headlines").category_of("layoff")


def test_unknown_label_without_a_near_class_lists_them(tmp_path):
    with pytest.raises(InputError, match="unknown label `xyzzy`: it has spam, ham"):
        load_task(write_task(tmp_path)).category_of("xyzzy")


def test_duplicate_class(tmp_path):
    text = complaint(write_task(tmp_path, classes=[*VALID["classes"], VALID["classes"][0]]))
    assert text == "`classes` names `spam` twice; a class must be unique."


@pytest.mark.parametrize(
    "prompt",
    [
        "Mail:",
        "{body}",
        "{text} {body}",
        "{text} {}",
        "{text.x}",
        "{text[0]}",
        "{text:d}",
        "{text!r}",
    ],
)
def test_a_prompt_holds_the_one_placeholder(tmp_path, prompt):
    text = complaint(write_task(tmp_path, prompt=prompt))
    assert text.startswith(f"`prompt` is {prompt!r}; it must hold the placeholder {{text}}")


def test_a_prompt_may_hold_escaped_braces_and_the_text_twice(tmp_path):
    task = load_task(write_task(tmp_path, prompt="{{json}} {text} | {text}"))
    assert task.prompt.format(text="a") == "{json} a | a"


def test_a_prompt_with_a_lone_brace(tmp_path):
    assert complaint(write_task(tmp_path, prompt="{text} }")).startswith("`prompt` is not a")


def test_unknown_key_names_the_nearest_one(tmp_path):
    assert complaint(write_task(tmp_path, promt="x")) == (
        "unknown key `promt`; did you mean `prompt`?"
    )


def test_unknown_key_of_a_class(tmp_path):
    classes = [VALID["classes"][0], {"name": "ham", "defintion": "Wanted."}]
    assert complaint(write_task(tmp_path, classes=classes)) == (
        "classes[1]: unknown key `defintion`; did you mean `definition`?"
    )


def test_a_class_needs_its_definition(tmp_path):
    classes = [VALID["classes"][0], {"name": "ham"}]
    assert complaint(write_task(tmp_path, classes=classes)) == (
        "classes[1]: `definition` is None; it must be a non-empty text."
    )


@pytest.mark.parametrize("value", [None, 5, "spam", {"spam": "Unwanted."}])
def test_classes_are_a_list(tmp_path, value):
    text = complaint(write_task(tmp_path, classes=value))
    assert text == f"`classes` is {value!r}; it must be a list of classes."


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("name: [", "not valid YAML"),
        ("name: a\nname: b\n", "not valid YAML"),
        ("just words", "a task is a mapping with the keys"),
        ("", "a task is a mapping with the keys"),
    ],
)
def test_not_a_task_at_all(tmp_path, content, says):
    path = tmp_path / "mails.yaml"
    path.write_text(content)
    assert complaint(path).startswith(says)


def test_a_binary_file(tmp_path):
    path = tmp_path / "mails.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert complaint(path).startswith("not readable as UTF-8 text")


def test_yaml_tags_construct_nothing(tmp_path):
    path = tmp_path / "mails.yaml"
    path.write_text("name: !!python/object/apply:os.system ['touch owned']\n")
    complaint(path)
    assert not (tmp_path / "owned").exists()


def test_a_missing_task_names_the_builtin_ones(tmp_path):
    with pytest.raises(InputError, match=r"neither a built-in task \(fin-headlines, support-"):
        load_task(tmp_path / "none.yaml")


def test_a_task_from_the_labels_of_a_file():
    task = task_from_labels("mine", ["b", "a", "b"])
    assert task.labels == ("a", "b")
    assert task.prompt.format(text="x") == "Text: x"


@pytest.mark.parametrize("labels", [["a"], ["a", ""], ["a", "b\nc"], ["a", " b"]])
def test_labels_that_make_no_task(labels):
    with pytest.raises(InputError, match=r"^mine: "):
        task_from_labels("mine", labels)


def test_tasks_are_values():
    assert isinstance(load_task("fin-headlines"), Task)
    assert load_task("fin-headlines") == load_task("fin-headlines")
