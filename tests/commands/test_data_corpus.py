"""`data import`, `split`, `check` and `view`, as they are called from a shell."""

import hashlib
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from distillscale.cli.data import data
from distillscale.data.examples import read_examples
from distillscale.errors import DistillscaleError, InputError
from distillscale.tasks import load_task

ROWS = [("Shares rise again", "up"), ("Shares fall, badly", "down"), ("Żółw „wins“", "up")]


def run(*words, capsys=None):
    """Call the command; returns its exit code."""
    try:
        return data([str(word) for word in words], standalone_mode=False) or 0
    except SystemExit as end:
        return end.code


@pytest.fixture
def news(tmp_path):
    path = tmp_path / "news.csv"
    pd.DataFrame(ROWS, columns=["headline", "event"]).to_csv(path, index=False)
    return path


def bring_in(source, out, *options):
    columns = ["--text-column", "headline", "--label-column", "event", "--labels-from-file"]
    return run("import", source, *columns, "--out", out, *options)


def test_a_table_becomes_a_corpus_with_card_and_task(news, tmp_path, capsys):
    bring_in(news, tmp_path / "corpus", "--licence", "CC0", "--split", "test")
    examples = read_examples(tmp_path / "corpus")
    assert [(e.text, e.label, e.split, e.source) for e in examples] == [
        (text, label, "test", "news.csv") for text, label in ROWS
    ]
    assert load_task(tmp_path / "corpus" / "task.yaml").labels == ("down", "up")
    card = (tmp_path / "corpus" / "README.md").read_text()
    assert "Licence: CC0." in card
    assert hashlib.sha256(news.read_bytes()).hexdigest() in card
    written = (tmp_path / "corpus" / "examples.parquet").read_bytes()
    assert hashlib.sha256(written).hexdigest() in card
    assert str(tmp_path) not in card
    assert "3 rows, 3 imported" in capsys.readouterr().out


def test_the_command_on_the_card_makes_the_same_corpus(news, tmp_path, monkeypatch):
    bring_in(news, tmp_path / "corpus", "--drop-bad-rows")
    card = (tmp_path / "corpus" / "README.md").read_text()
    line = next(line for line in card.splitlines() if line.startswith("    distillscale data"))
    monkeypatch.chdir(tmp_path)
    run(*shlex.split(line.replace("FOLDER", "again"))[2:])
    again = tmp_path / "again" / "examples.parquet"
    assert again.read_bytes() == (tmp_path / "corpus" / "examples.parquet").read_bytes()


def test_a_refused_table_leaves_nothing_behind(tmp_path):
    path = tmp_path / "news.csv"
    rows = [*[(f"text {n}", "up") for n in range(40_000)], ("", "down")]
    pd.DataFrame(rows, columns=["headline", "event"]).to_csv(path, index=False)
    with pytest.raises(InputError, match=r"news\.csv: row 40001: `headline` is empty"):
        bring_in(path, tmp_path / "corpus")
    assert [one.name for one in tmp_path.iterdir()] == ["news.csv"]


def test_another_encoding_is_told_and_taken(tmp_path):
    path = tmp_path / "news.csv"
    path.write_bytes("headline;event\nCafé schließt;down\nKurs steigt;up\n".encode("cp1252"))
    with pytest.raises(InputError, match=r"row 1: `headline` is not UTF-8 \(byte 0xe9\)"):
        bring_in(path, tmp_path / "corpus")
    bring_in(path, tmp_path / "corpus", "--encoding", "cp1252")
    assert read_examples(tmp_path / "corpus")[0].text == "Café schließt"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--task", "fin-headlines", "--labels-from-file"], "give either --task"),
        ([], "give either --task"),
        (["--task", "fin-headlines", "--category-column", "c"], "with --task a label's category"),
        (["--labels-from-file"], "name its columns with --text-column and --label-column"),
        (["--labels-from-file", "--revision", "v1"], "a file has none"),
        (["--labels-from-file", "--text-column", "headline", "--label-column", "event",
          "--encoding", "klingon"], "there is no encoding `klingon`"),
        (["--labels-from-file", "--label-names", "none.txt"], "not a readable text file"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(news, tmp_path, options, says):
    with pytest.raises(InputError) as caught:
        run("import", news, "--out", tmp_path / "corpus", *options)
    assert says in str(caught.value)


def test_the_papers_corpus_needs_no_columns(tmp_path, monkeypatch, capsys):
    """A local folder of its name stands for the hub, which tests do not reach."""
    pytest.importorskip("datasets", reason="the `hub` extra is not installed")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    folder = Path("nvidia/FinHeadlineMix")
    folder.mkdir(parents=True)
    table = pd.DataFrame(ROWS, columns=["headline", "category"])
    table.to_parquet(folder / "train.parquet")
    run("import", "nvidia/FinHeadlineMix", "--labels-from-file", "--out", "corpus")
    assert [example.label for example in read_examples(Path("corpus"))] == ["up", "down", "up"]
    assert "assumption: nvidia/FinHeadlineMix has its texts in" in capsys.readouterr().out
    card = Path("corpus/README.md").read_text()
    assert "Licence: CC BY 4.0." in card
    assert "columns `headline` and `category` were assumed" in card
    (folder / "train.parquet").unlink()
    table.rename(columns={"headline": "zeile"}).to_parquet(folder / "train-1.parquet")
    with pytest.raises(InputError) as caught:
        run("import", "nvidia/FinHeadlineMix", "--labels-from-file", "--out", "other")
    assert "none of the columns that we assumed (headline, text, title)" in str(caught.value)
    assert "name the right one with --text-column" in str(caught.value)


WORDS = [f"{a}{b}" for a in ("bal", "cor", "dun", "fes", "gim") for b in ("ter", "pol", "zan")]


@pytest.fixture
def corpus(tmp_path):
    """An imported corpus of 120 texts; 20 of them have a near-duplicate, one is there twice."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 14)) for _ in range(100)]
    texts += [f"{text} today" for text in texts[:20]] + [texts[0].upper()]
    rows = [(text, "up" if n % 3 else "down") for n, text in enumerate(texts)]
    path = tmp_path / "texts.jsonl"
    table = pd.DataFrame(rows, columns=["headline", "event"])
    table.to_json(path, orient="records", lines=True)
    bring_in(path, tmp_path / "corpus")
    return tmp_path / "corpus"


def test_a_corpus_is_split_without_leaks(corpus, tmp_path, capsys):
    run("split", corpus, "--out", tmp_path / "parts", "--test", "0.2", "--validation", "12")
    out = capsys.readouterr().out
    assert "84 train, 12 validation, 24 test" in out
    assert "1 texts that are the same" in out
    assert "40 texts form 20 groups" in out
    parts = tmp_path / "parts"
    assert {one.name for one in parts.iterdir()} == {
        "train.parquet", "validation.parquet", "test.parquet", "task.yaml", "README.md",
    }  # fmt: skip
    for one, other in (("test", "train"), ("test", "validation"), ("validation", "train")):
        assert run("check", parts / f"{one}.parquet", parts / f"{other}.parquet") == 0


def test_leaks_end_with_code_1_and_are_listed(corpus, tmp_path, capsys):
    other = tmp_path / "other.csv"
    known = read_examples(corpus)
    rows = [known[99].text.upper(), known[0].text, "something new", f"{known[50].text} again"]
    pd.DataFrame({"line": rows}).to_csv(other, index=False)
    options = ["--other-text-column", "text", "--out", tmp_path / "leaks.parquet"]
    code = run(
        "check", other, corpus / "examples.parquet", "--text-column", "line", *options,
    )  # fmt: skip
    assert code == 1
    assert "3 of 4 texts" in capsys.readouterr().out
    leaks = pd.read_parquet(tmp_path / "leaks.parquet")
    assert leaks["row"].tolist() == [1, 2, 4]
    assert leaks["other_row"].tolist() == [100, 1, 51]
    assert leaks["exact"].tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["split", "CORPUS", "--test", "1.5"], "--test 1.5: it must be a number of examples"),
        (["split", "CORPUS", "--threshold", "0"], "threshold 0.0: it must be a cosine"),
        (["split", "none"], "none: no such file or folder."),
        (["split", "texts.jsonl"], "texts.jsonl: not an examples file"),
        (["view", "."], "neither examples.parquet nor a file of a split"),
    ],
)
def test_corpora_and_numbers_that_cannot_be_used_are_told(corpus, monkeypatch, words, says):
    monkeypatch.chdir(corpus.parent)
    words = [str(corpus) if word == "CORPUS" else word for word in words]
    with pytest.raises(DistillscaleError) as caught:
        run(*words, "--out", "new")
    assert says in str(caught.value)
    assert not Path("new").exists()


def test_a_view_is_a_page_with_its_pictures(corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "umap", None)  # its compilation takes half a minute
    run("view", corpus, "--out", tmp_path / "view")
    names = {"label-distribution", "lengths", "similarities", "embedding"}
    drawn = {one.name for one in (tmp_path / "view").iterdir()}
    assert drawn == {f"{name}.{kind}" for name in names for kind in ("png", "svg")} | {"view.html"}
    page = (tmp_path / "view" / "view.html").read_text()
    assert "Every label is its own category." in page
    assert "t-SNE of TF-IDF vectors" in page
    assert read_examples(corpus)[0].text in page
    assert "33.9 % have a near-duplicate" in page
    assert "121 examples" in capsys.readouterr().out
