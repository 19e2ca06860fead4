import json

import pandas as pd
import pytest

from distillscale.data.labelled_file import read_labelled_file, read_texts
from distillscale.errors import InputError

PAIRS = [("Rates held, again", "macro"), ("Firm cuts jobs", "layoffs"), ("Żółw „wins“", "NA")]


def write_table(path, pairs=PAIRS, columns=("headline", "topic")):
    table = pd.DataFrame(pairs, columns=list(columns))
    if path.suffix.lower() == ".csv":
        table.to_csv(path, index=False)
    elif path.suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True, force_ascii=False)
    else:
        table.to_parquet(path)
    return path


def complaint(path, text="headline", label="topic"):
    with pytest.raises(InputError) as caught:
        read_labelled_file(path, text, label)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    return sentence.removeprefix(f"{path}: ")


@pytest.fixture(params=[".csv", ".jsonl", ".parquet"])
def suffix(request):
    return request.param


def test_every_format_gives_the_same_pairs_in_the_files_order(tmp_path, suffix):
    path = write_table(tmp_path / f"file{suffix}")
    assert read_labelled_file(path, "headline", "topic") == PAIRS


def test_numbers_are_labels_too(tmp_path, suffix):
    path = write_table(tmp_path / f"file{suffix}", [("a", 1), ("b", 0)])
    assert read_labelled_file(path, "headline", "topic") == [("a", "1"), ("b", "0")]


def test_white_space_is_tidied(tmp_path, suffix):
    path = write_table(tmp_path / f"file{suffix}", [(" a\n b\t c ", "  x ")])
    assert read_labelled_file(path, "headline", "topic") == [("a b c", "x")]


def test_a_suffix_in_capitals(tmp_path):
    assert read_labelled_file(write_table(tmp_path / "FILE.CSV"), "headline", "topic") == PAIRS


def test_other_columns_do_not_matter(tmp_path, suffix):
    rows = [(1, "a", None, "x"), (2, "b", "c", "y")]
    path = write_table(tmp_path / f"file{suffix}", rows, ("n", "headline", "note", "topic"))
    assert read_labelled_file(path, "headline", "topic") == [("a", "x"), ("b", "y")]


@pytest.mark.parametrize("missing", ["", "  ", None])
def test_an_empty_cell_is_named_by_row_and_column(tmp_path, suffix, missing):
    path = write_table(tmp_path / f"text{suffix}", [("a", "x"), (missing, "y")])
    assert complaint(path) == "row 2: `headline` is empty; every row needs one."
    path = write_table(tmp_path / f"label{suffix}", [("a", "x"), ("b", "y"), ("c", missing)])
    assert complaint(path) == "row 3: `topic` is empty; every row needs one."


def test_a_missing_column_names_the_nearest_one(tmp_path, suffix):
    path = write_table(tmp_path / f"file{suffix}")
    assert complaint(path, "headlines") == "no column `headlines`; did you mean `headline`?"
    assert complaint(path, label="zzz") == "no column `zzz`; it has headline, topic."


def test_a_file_without_rows(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("headline,topic\n")
    assert complaint(path).startswith("no rows;")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty; the first line must name the columns."),
        (b'headline,topic\na,x\n"a', "row 2: not readable as csv (unexpected end of data)"),
        (b"headline,topic\na,x\nb\xe9,x\n", "row 2: `headline` is not UTF-8 (byte 0xe9)"),
        (b"h\0e\0,\0t\0\n\0", "it holds NUL bytes, as UTF-16 without byte order mark does"),
        (b"headline,topic,topic\na,x,y\n", "2 columns are named `topic`."),
    ],
)
def test_a_csv_file_that_cannot_be_read(tmp_path, content, said):
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    assert complaint(path).startswith(said)


def test_commas_that_are_not_quoted_do_not_shift_the_columns(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("headline,topic\nRates held, again,macro\nJobs cut, too,layoffs\n")
    assert complaint(path).startswith("row 1 has 3 fields, the header 2; quote texts")
    path.write_text("headline,topic\nRates held,macro\n\nJobs cut, too,layoffs\n")
    assert complaint(path).startswith("row 2 has 3 fields")


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_is_told_by_the_header(tmp_path, delimiter):
    path = tmp_path / "file.csv"
    table = pd.DataFrame(PAIRS, columns=["headline", "topic"]).assign(**{"a,b": "1,2"})
    table.to_csv(path, index=False, sep=delimiter)
    assert read_labelled_file(path, "headline", "topic") == PAIRS


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path, encoding):
    path = tmp_path / "file.csv"
    pd.DataFrame(PAIRS, columns=["headline", "topic"]).to_csv(path, index=False, encoding=encoding)
    assert read_labelled_file(path, "headline", "topic") == PAIRS


def test_half_a_surrogate_pair_is_no_text(tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_text('{"headline": "a \\ud83d", "topic": "x"}\n')
    assert complaint(path).startswith("row 1: `headline` is not UTF-8 (half of a surrogate pair)")


def test_jsonl_texts_that_look_like_dates_stay_texts(tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_text(json.dumps({"date": "2024-01-02", "modified": "1700000000"}) + "\n")
    assert read_labelled_file(path, "date", "modified") == [("2024-01-02", "1700000000")]


def test_a_cell_that_is_a_list(tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_text(json.dumps({"headline": "a", "topic": ["x", "y"]}) + "\n")
    assert complaint(path) == "row 1: `topic` is a list; it must be one text."


@pytest.mark.parametrize("name", ["file.jsonl", "file.parquet"])
def test_nonsense_in_other_formats(tmp_path, name):
    path = tmp_path / name
    path.write_text("no such thing")
    assert complaint(path).startswith(("not readable as parquet (", "row 1 is not JSON ("))


def test_no_file_and_no_such_format(tmp_path):
    assert complaint(tmp_path / "none.csv") == "no such file."
    (tmp_path / "file.xlsx").write_text("")
    assert (
        complaint(tmp_path / "file.xlsx") == "`.xlsx` is not one of .csv, .tsv, .jsonl, .parquet."
    )
    (tmp_path / "file.pkl").write_text("")
    assert complaint(tmp_path / "file.pkl") == "`.pkl` is not one of .csv, .tsv, .jsonl, .parquet."


def test_texts_of_a_column_are_read_from_every_format(tmp_path, suffix):
    path = write_table(tmp_path / f"file{suffix}")
    assert read_texts(path, "headline") == [text for text, _ in PAIRS]


def test_texts_are_the_lines_of_a_text_file(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("Żółw, one\n\n  two  \n", encoding="utf-8")
    assert read_texts(path, None) == ["Żółw, one", "two"]


@pytest.mark.parametrize(
    ("content", "column", "said"),
    [
        (b"", None, "no texts; there must be at least one."),
        (b"one", "text", "a .txt file has no column `text`; name none."),
        (b"\xff\xfe one", None, "not a readable UTF-8 text file"),
    ],
)
def test_text_files_that_cannot_be_used_are_told(tmp_path, content, column, said):
    path = tmp_path / "texts.txt"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_texts(path, column)
    assert said in str(caught.value)


def test_texts_of_a_table_need_a_column(tmp_path, suffix):
    path = write_table(tmp_path / f"file{suffix}")
    with pytest.raises(InputError, match="name the column with the texts; it has headline, topic"):
        read_texts(path, None)
