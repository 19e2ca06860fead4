import hashlib

import pytest
from ruamel.yaml import YAML

from distillscale.data.card import DataCard, Source, write_card

COUNTS = {("train", "money", "a|b"): 1200, ("test", "money", "a|b"): 3, ("train", "x", "c"): 7}


@pytest.fixture
def card(tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"rows")
    made = DataCard(
        title='News: "all"\nof it',
        licence="CC BY 4.0",
        counts=COUNTS,
        sources=(Source("news.csv", "ab" * 32), Source("org/set", note="revision 1")),
        command="distillscale data import news.csv",
        notes=("3 rows were dropped.",),
    )
    write_card(made, tmp_path)
    return (tmp_path / "README.md").read_text()


def rows(card, header):
    """The cells of the table under a header line."""
    lines = card.split(header)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_files_are_named_with_their_checksums(card):
    digest = hashlib.sha256(b"rows").hexdigest()
    assert rows(card, "| file | bytes | SHA-256 |") == [["train.parquet", "4", digest]]


def test_counts_are_given_by_split_and_class(card):
    assert rows(card, "| split | examples |") == [["train", "1,207"], ["test", "3"]]
    assert rows(card, "| category | label | train | test |") == [
        ["money", "a\\|b", "1,200", "3"],
        ["x", "c", "7", "0"],
    ]


def test_licence_sources_and_making_are_stated(card):
    assert "1,210 examples of 2 classes. Licence: CC BY 4.0." in card
    assert f"- `news.csv`, SHA-256 {'ab' * 32}\n- `org/set`; revision 1\n" in card
    assert "    distillscale data import news.csv" in card
    assert "- 3 rows were dropped." in card


def test_the_front_matter_is_yaml_that_the_hub_reads(card):
    front = YAML(typ="safe").load(card.split("---\n")[1])
    assert front["pretty_name"] == 'News: "all"\nof it'
    assert front["task_categories"] == ["text-classification"]
    assert front["size_categories"] == ["1K<n<10K"]


@pytest.mark.parametrize(
    ("count", "size"),
    [(999, "n<1K"), (1000, "1K<n<10K"), (502_536, "100K<n<1M"), (10_000_000, "n>10M")],
)
def test_sizes_are_named_as_the_hub_names_them(tmp_path, count, size):
    write_card(DataCard("t", "l", {("train", "c", "a"): count}, (), "command"), tmp_path)
    assert f'size_categories: ["{size}"]' in (tmp_path / "README.md").read_text()
