"""The results table of artifacts made by hand."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from distillscale.evaluation import Measurement
from distillscale.models.size import ModelSize
from distillscale.results import CELL_COLUMNS, COLUMNS, read_results, write_results
from distillscale.studies.graph import StageSteps, StudyGraph, study_graph
from distillscale.studies.store import Store
from distillscale.studies.study_file import Study
from distillscale.studies.tables import results_table
from distillscale.tasks.records import write_records

PARAMS = (1000, 800, 400, 300)


@pytest.fixture
def graph() -> StudyGraph:
    """Two cells, one distilled and its control, of three stages."""
    return study_graph(
        Study.model_validate(
            {
                "name": "by-hand",
                "dataset": {"validation": 8, "test": 20},
                "distillation": {
                    "steps": 3, "batch_size": 8, "learning_rate": {"logit": 1e-3, "lora": 1e-3},
                },
                "grids": [
                    {
                        "tasks": ["fin-headlines"],
                        "configurations": ["logit-label", "pruned-only"],
                        "schedules": [{"kind": "explicit", "prune_ratios": [0.8, 0.4, 0.3]}],
                        "dataset_sizes": [50],
                    }
                ],
            }
        )
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def publish(store: Store, stages: Sequence[StageSteps]) -> None:
    """Artifacts as `evaluate` and `distill` write them; macro F1 is a tenth of the stage."""
    for stage in stages:

        def evaluation(folder: Path, number: int = stage.stage) -> dict[str, int]:
            size = ModelSize(PARAMS[number], PARAMS[number] + 50)
            (folder / "size.json").write_text(json.dumps(asdict(size)))
            measured = [
                Measurement("macro_f1", number / 10, None, 20, (0.1, 0.2)),
                Measurement("accuracy", 0.5, 1 / 35, 20, (0.4, 0.6)),
                Measurement("kl_reasoning", None, None, 0),
            ]
            write_records(measured, folder / "measurements.parquet")
            return {}

        def training(folder: Path) -> dict[str, int]:
            log = {"last_loss": 0.25, "gradient_norm_spread": None}
            (folder / "log.json").write_text(json.dumps(log))
            return {}

        store.publish(stage.evaluate, evaluation)
        if stage.distill is not None:
            store.publish(stage.distill, training)


def test_sizes_ratios_and_largest_cut_are_as_measured(graph: StudyGraph, store: Store):
    for chain in graph.stages.values():
        publish(store, chain)
    table = results_table(graph, store)
    for _, rows in table.groupby("cell"):
        stages = rows.groupby("stage")[
            ["params", "params_with_embeddings", "prune_ratio", "largest_cut"]
        ].first()  # fmt: skip
        assert stages["params"].tolist() == list(PARAMS)
        assert stages["params_with_embeddings"].tolist() == [p + 50 for p in PARAMS]
        assert stages["prune_ratio"].tolist() == pytest.approx([1, 0.8, 0.4, 0.3])
        assert stages["largest_cut"].tolist() == pytest.approx([0, 0.2, 0.5, 0.5])


def test_there_is_one_row_a_cell_stage_and_metric(graph: StudyGraph, store: Store):
    for chain in graph.stages.values():
        publish(store, chain)
    table = results_table(graph, store)
    assert list(table.columns) == list(COLUMNS)
    assert not table.duplicated(["cell", "stage", "metric"]).any()
    metrics = table.groupby(["method", "stage"])["metric"].apply(set)
    measured, trained = {"macro_f1", "accuracy", "kl_reasoning"}, {
        "train_loss", "gradient_norm_spread",
    }  # fmt: skip
    assert metrics["none", 3] == metrics["logit", 0] == measured
    assert metrics["logit", 1] == metrics["logit", 3] == measured | trained
    assert (table.loc[table["metric"] == "train_loss", "value"] == 0.25).all()
    f1 = table[table["metric"] == "macro_f1"]
    assert (f1["value"] == f1["stage"] / 10).all()


def test_a_cell_is_described_in_every_row(graph: StudyGraph, store: Store):
    for chain in graph.stages.values():
        publish(store, chain)
    table = results_table(graph, store)
    for cell in graph.stages:
        rows = table[table["cell"] == cell.cell]
        for column in CELL_COLUMNS:
            assert (rows[column] == getattr(cell, column)).all()


def test_what_could_not_be_measured_stays_missing_on_disk_too(
    graph: StudyGraph, store: Store, tmp_path: Path
):
    for chain in graph.stages.values():
        publish(store, chain)
    write_results(results_table(graph, store), tmp_path / "results.parquet")
    table = read_results(tmp_path / "results.parquet").set_index("metric")
    assert table.loc["kl_reasoning", "value"].isna().all()
    assert table.loc["gradient_norm_spread", "value"].isna().all()
    assert table.loc["macro_f1", "chance"].isna().all()
    assert [len(entry) for entry in table.loc["kl_reasoning", "replicates"]] == [0] * 8
    assert list(table.loc["macro_f1", "replicates"].iloc[0]) == [0.1, 0.2]


def test_a_missing_stage_ends_its_chains_rows(graph: StudyGraph, store: Store):
    distilled, control = graph.stages.values()
    publish(store, control)
    publish(store, [distilled[1], distilled[3]])
    table = results_table(graph, store)
    stages = table.groupby("method")["stage"].unique()
    assert list(stages["logit"]) == [0, 1]
    assert list(stages["none"]) == [0, 1, 2, 3]


def test_a_damaged_evaluation_counts_as_missing(graph: StudyGraph, store: Store):
    for chain in graph.stages.values():
        publish(store, chain)
    distilled, _ = graph.stages.values()
    (store.folder(distilled[2].evaluate) / "size.json").write_text("{}")
    table = results_table(graph, Store(store.root))
    assert table.groupby("method")["stage"].max().to_dict() == {"logit": 1, "none": 3}


def test_nothing_computed_is_an_empty_table(graph: StudyGraph, store: Store):
    table = results_table(graph, store)
    assert len(table) == 0
    assert list(table.columns) == list(COLUMNS)
