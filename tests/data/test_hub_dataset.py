import builtins

import pandas as pd
import pytest

from distillscale.data.hub import read_hub_dataset
from distillscale.errors import InputError

datasets = pytest.importorskip("datasets", reason="the `hub` extra is not installed")


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """Nothing is looked up on the hub, and what is prepared goes to a folder of the test."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "headlines"
    path.mkdir()
    return path


def complaint(source, text="text", label="label"):
    with pytest.raises(InputError) as caught:
        read_hub_dataset(str(source), text, label)
    sentence = str(caught.value)
    assert sentence.startswith(f"{source}: ")
    assert "\n" not in sentence
    return sentence.removeprefix(f"{source}: ")


def write_classes(folder, labels, split="train"):
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["macro", "layoffs"]),
            "note": datasets.Value("string"),
        }
    )
    rows = {
        "text": [f"text  {n}" for n in range(len(labels))],
        "label": labels,
        "note": [None] * len(labels),
    }
    table = datasets.Dataset.from_dict(rows, features=features)
    table.to_parquet(folder / f"{split}-00000.parquet")


def test_class_numbers_are_given_by_their_names(folder):
    write_classes(folder, [1, 0, 1])
    write_classes(folder, [0], split="test")
    assert read_hub_dataset(str(folder), "text", "label") == [
        ("text 0", "layoffs"),
        ("text 1", "macro"),
        ("text 2", "layoffs"),
    ]


def test_files_of_a_split_are_read_one_after_the_other(folder):
    pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"]}).to_parquet(
        folder / "train-00000-of-00002.parquet"
    )
    pd.DataFrame({"text": ["c"], "label": ["x"]}).to_parquet(
        folder / "train-00001-of-00002.parquet"
    )
    assert read_hub_dataset(str(folder), "text", "label") == [("a", "x"), ("b", "y"), ("c", "x")]


def test_numbers_without_names_stay_numbers(folder):
    pd.DataFrame({"text": ["a", "b"], "label": [3, 0]}).to_parquet(folder / "train.parquet")
    assert read_hub_dataset(str(folder), "text", "label") == [("a", "3"), ("b", "0")]


def test_a_class_column_may_be_the_text(folder):
    write_classes(folder, [1, 0])
    assert read_hub_dataset(str(folder), "label", "text") == [
        ("layoffs", "text  0"),
        ("macro", "text  1"),
    ]


@pytest.mark.parametrize("missing", [-1, None])
def test_a_row_without_a_class_is_named(folder, missing):
    write_classes(folder, [1, missing])
    assert complaint(folder) == "row 2: `label` is empty; every row needs one."


def test_the_checks_are_those_of_a_labelled_file(folder):
    pd.DataFrame({"text": ["a", " "], "label": ["x", "y"]}).to_parquet(folder / "train.parquet")
    assert complaint(folder) == "row 2: `text` is empty; every row needs one."
    assert complaint(folder, label="labels") == "no column `labels`; did you mean `label`?"
    assert complaint(folder, text="zzz") == "no column `zzz`; it has text, label."


def test_several_labels_a_row(folder):
    rows = {"text": ["a"], "label": [["x", "y"]]}
    datasets.Dataset.from_dict(rows).to_parquet(folder / "train.parquet")
    assert complaint(folder).startswith("row 1: `label` is a ")


def test_a_dataset_without_a_train_split(folder):
    write_classes(folder, [0], split="test")
    assert "train" in complaint(folder)


def test_no_dataset_at_all(folder):
    complaint(folder)
    complaint(folder / "none")
    complaint("nobody/no-such-dataset")


def test_a_damaged_file(folder):
    (folder / "train.parquet").write_text("no such thing")
    complaint(folder)


def test_code_that_a_dataset_carries_is_never_run(folder):
    write_classes(folder, [0, 1])
    ran = folder.parent / "ran"
    (folder / "headlines.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    complaint(folder)
    assert not ran.exists()


def test_without_the_extra_the_sentence_says_how_to_install_it(folder, monkeypatch):
    real_import = builtins.__import__

    def no_datasets(name, *arguments, **options):
        if name == "datasets":
            raise ImportError(name)
        return real_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", no_datasets)
    with pytest.raises(InputError, match=r"`pip install 'distillscale\[hub\]'`"):
        read_hub_dataset(str(folder), "text", "label")
