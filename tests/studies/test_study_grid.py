import dataclasses
from typing import Any

import pytest

from distillscale.errors import InputError
from distillscale.results import CELL_COLUMNS
from distillscale.studies.grid import Cell, cells, prune_ratios
from distillscale.studies.schedule_section import Decayed
from distillscale.studies.study_file import Study

UNIFORM = {"kind": "uniform", "stages": 5, "prune_ratio": 0.16}


def study(*grids: dict[str, Any]) -> Study:
    defaults = {
        "tasks": ["fin-headlines"], "configurations": ["logit-label"], "schedules": [UNIFORM],
        "dataset_sizes": [100],
    }  # fmt: skip
    return Study.model_validate(
        {
            "name": "tiny",
            "dataset": {"validation": 20, "test": 40, "questions": 30},
            "distillation": {
                "steps": 10, "batch_size": 8, "learning_rate": {"logit": 1e-3, "lora": 2e-3},
            },
            "grids": [defaults | grid for grid in grids],
        }
    )  # fmt: skip


def names(*grids: dict[str, Any]) -> list[str]:
    return [cell.cell for cell in cells(study(*grids))]


def test_a_cell_has_the_columns_of_the_results_table():
    fields = [field.name for field in dataclasses.fields(Cell)]
    assert fields == [*CELL_COLUMNS, "prune_ratios"]


def test_one_cell_in_full():
    (cell,) = cells(study({"configurations": ["logit-blended"], "seeds": [3]}))
    assert dataclasses.replace(cell, prune_ratios=()) == Cell(
        study="tiny", cell="fin-headlines_logit-blended_brief_uniform-5-0.16_n100_s3",
        task="fin-headlines", supervision="blended", thinking="brief", method="logit",
        schedule="uniform", stages=5, dataset_size=100, seed=3, prune_ratios=(),
    )  # fmt: skip
    assert cell.prune_ratios == pytest.approx([0.16 ** (k / 5) for k in range(1, 6)])


def test_a_grid_is_a_full_product():
    grid = {
        "tasks": ["fin-headlines", "support-tickets"],
        "configurations": ["logit-label", "lora-label", "logit-cot", "logit-blended", "lora-cot"],
        "schedules": [UNIFORM, {"kind": "oneshot", "prune_ratio": 0.16}],
        "dataset_sizes": [100, 200, 300],
        "seeds": [0, 1],
    }
    found = cells(study(grid))
    assert len(found) == len({cell.cell for cell in found}) == 2 * 5 * 2 * 3 * 2


def test_cells_are_the_union_of_the_grids_in_the_files_order():
    first = {"configurations": ["logit-cot", "logit-label"]}
    second = {"configurations": ["logit-label"], "dataset_sizes": [50, 100]}
    assert names(first, second) == [
        "fin-headlines_logit-cot_brief_uniform-5-0.16_n100_s0",
        "fin-headlines_logit-label_uniform-5-0.16_n100_s0",
        "fin-headlines_logit-label_uniform-5-0.16_n50_s0",
    ]
    assert names(first, first) == names(first)


def test_the_control_ignores_supervision_thinking_and_dataset_size():
    (cell,) = cells(
        study({"configurations": ["pruned-only"], "dataset_sizes": [1, 2], "thinking": ["full"]})
    )
    assert cell.cell == "fin-headlines_pruned-only_uniform-5-0.16_s0"
    assert (cell.method, cell.supervision, cell.thinking) == ("none", "none", "none")
    assert cell.dataset_size == 0


def test_thinking_depth_matters_only_where_the_teacher_reasons():
    grid = {"configurations": ["lora-label", "lora-cot"], "thinking": ["brief", "full"]}
    assert names(grid) == [
        "fin-headlines_lora-label_uniform-5-0.16_n100_s0",
        "fin-headlines_lora-cot_brief_uniform-5-0.16_n100_s0",
        "fin-headlines_lora-cot_full_uniform-5-0.16_n100_s0",
    ]


def test_schedules_that_differ_in_anything_have_different_names():
    schedules = [
        UNIFORM,
        UNIFORM | {"stages": 4},
        UNIFORM | {"prune_ratio": 0.1600001},
        {"kind": "decayed", "stages": 5, "prune_ratio": 0.16, "gamma": 0.6},
        {"kind": "decayed", "stages": 5, "prune_ratio": 0.16, "gamma": 0.7},
        {"kind": "oneshot", "prune_ratio": 0.16},
        {"kind": "explicit", "prune_ratios": [0.5, 0.16]},
    ]
    found = cells(study({"schedules": schedules}))
    assert len({cell.cell for cell in found}) == 7
    assert [cell.stages for cell in found] == [5, 4, 5, 5, 5, 1, 2]
    assert all(cell.prune_ratios[-1] == pytest.approx(0.16, abs=1e-6) for cell in found)
    assert found[-1].prune_ratios == (0.5, 0.16)


def test_decayed_cuts_shrink():
    ratios = prune_ratios(Decayed(kind="decayed", stages=3, prune_ratio=0.2, gamma=0.5))
    cuts = [1 - ratios[0], 1 - ratios[1] / ratios[0], 1 - ratios[2] / ratios[1]]
    assert cuts == sorted(cuts, reverse=True)


def test_two_task_files_of_one_name_are_told_apart_by_an_error():
    with pytest.raises(InputError, match=r"two cells .* `a/mine.yaml` and `b/mine.yaml`"):
        cells(study({"tasks": ["a/mine.yaml", "b/mine.yaml"]}))
