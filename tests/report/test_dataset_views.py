import numpy as np
import pandas as pd
import pytest

from distillscale.report.dataset import embedding_view, label_distribution
from distillscale.report.dataset_views import (
    category_by_label,
    length_histogram,
    similarity_histogram,
)
from distillscale.report.inputs import NotDrawn
from distillscale.report.render import specification


def rows_of(chart):
    tables = specification(chart)["datasets"].values()
    return max((rows for rows in tables if "label" in rows[0] or "count" in rows[0]), key=len)


def subtitle(chart):
    text = specification(chart)["title"]["subtitle"]
    return text if isinstance(text, str) else " ".join(text)


def labels_table(rows):
    return pd.DataFrame(rows, columns=["label", "category", "count"])


def test_the_heat_map_counts_labels_that_cross_categories():
    rows = [("up", "tech", 30), ("up", "oil", 5), ("down", "tech", 2), ("flat", "oil", 9)]
    chart = category_by_label(labels_table(rows))
    cells = {(row["label"], row["category"], row["count"]) for row in rows_of(chart)}
    assert cells == set(rows)
    assert subtitle(chart).startswith("3 labels in 2 categories, 1 of them in several")


def test_labels_that_are_their_own_categories_make_no_heat_map_and_one_colour():
    labels = labels_table([("a", "a", 3), ("b", "b", 1)])
    with pytest.raises(NotDrawn, match="Every label is its own category"):
        category_by_label(labels)
    chart = label_distribution(labels)
    assert "categories" not in subtitle(chart)
    assert {row["category"] for row in rows_of(chart)} == {"all"}


def test_every_text_is_in_one_bar_of_the_lengths():
    values = np.random.default_rng(0).lognormal(4, 0.4, 5000).astype(int)
    values[:3] = 9000
    table = pd.Series(values).value_counts().rename_axis("characters").reset_index(name="count")
    chart = length_histogram(table)
    bars = rows_of(chart)
    assert sum(bar["count"] for bar in bars) == 5000
    assert len(bars) <= 45
    for bar in bars[:-1]:
        inside = (values >= bar["low"]) & (values < bar["high"])
        assert bar["count"] == inside.sum()
    assert bars[-1]["kind"] == "longer"
    assert bars[-1]["count"] == (values >= bars[-1]["low"]).sum()
    ranked = np.sort(values)
    assert f"half have at most {ranked[2499]:,}, 95 % at most {ranked[4749]:,}" in subtitle(chart)


def test_one_length_is_one_bar():
    bars = rows_of(length_histogram(pd.DataFrame({"characters": [7], "count": [4]})))
    assert [bar["count"] for bar in bars] == [4]


def test_bars_from_the_threshold_on_are_near_duplicates():
    cosines = np.array([0.3, 0.5, 0.8999, 0.9, 0.95, 1.0, 1.0], np.float32)
    chart = similarity_histogram(cosines, total=100, threshold=0.9, embedder="hashed")
    near = {bar["kind"]: 0 for bar in rows_of(chart)}
    for bar in rows_of(chart):
        near[bar["kind"]] += bar["count"]
    assert near == {"bar": 3, "near": 4}
    assert subtitle(chart).startswith("7 of 100 texts; 57.1 % have a near-duplicate")
    with pytest.raises(NotDrawn):
        similarity_histogram(cosines[:1], total=1, threshold=0.9, embedder="hashed")


def test_many_categories_share_a_look_and_keep_their_names():
    points = pd.DataFrame(
        [
            (n, n, "l", f"c{place:02}", "t")
            for place in range(20)
            for n in range(40 - place)
        ],
        columns=["x", "y", "label", "category", "text"],
    )  # fmt: skip
    rows = rows_of(embedding_view(points, "UMAP", 9000))
    looks = {row["look"] for row in rows}
    assert looks == {f"c{place:02}" for place in range(14)} | {"6 others"}
    assert {row["category"] for row in rows if row["look"] == "6 others"} == {
        f"c{place}" for place in range(14, 20)
    }
    assert subtitle(embedding_view(points, "UMAP", 9000)).startswith("610 of 9,000 texts by UMAP")
