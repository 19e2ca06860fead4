"""Schedules that pruning cannot reach are refused before anything is computed."""

from pathlib import Path
from typing import Any, get_args

import pytest
from transformers import GPT2Config, Qwen3Config, Qwen3MoeConfig

from distillscale.errors import InputError
from distillscale.lab.teacher import shipped_teacher
from distillscale.pruning import PruningAxis
from distillscale.pruning.criteria import CHANNEL_CRITERIA, LAYER_CRITERIA
from distillscale.studies import study_file
from distillscale.studies.graph import study_graph
from distillscale.studies.reach import check_reach
from distillscale.studies.study_file import Study, read_study

STUDIES = Path(__file__).parents[2] / "studies"
SIZES = {
    "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16,
}  # fmt: skip


def study(*schedules: dict[str, Any], **pruning: Any) -> Study:
    first = {
        "tasks": ["fin-headlines"], "configurations": ["pruned-only"], "dataset_sizes": [10],
        "schedules": [{"kind": "oneshot", "prune_ratio": 0.5}],
    }  # fmt: skip
    return Study.model_validate(
        {
            "name": "study",
            "dataset": {"source": "lab", "validation": 8, "test": 20},
            "pruning": pruning,
            "distillation": {
                "steps": 3, "batch_size": 8, "learning_rate": {"logit": 0.001, "lora": 0.003},
            },
            "grids": [first, first | {"schedules": list(schedules)}],
        }
    )  # fmt: skip


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    Qwen3Config(**SIZES).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["lab-quick", "lab"])
def test_the_shipped_studies_are_within_reach(name):
    check_reach(read_study(STUDIES / f"{name}.yaml"), shipped_teacher())


def test_the_sentence_names_schedule_and_stage(teacher):
    within = {"kind": "uniform", "stages": 2, "prune_ratio": 0.3}
    beyond = {"kind": "explicit", "prune_ratios": [0.5, 0.25, 0.001]}
    with pytest.raises(InputError) as error:
        check_reach(study(within, beyond), teacher)
    said = str(error.value)
    assert said.startswith("grids[1].schedules[1], stage 3: pruning target: ")
    assert "(0.10% of the teacher) cannot be reached within 1% by cutting depth, mlp" in said
    assert said.count(". ") == 0


def test_the_user_may_have_called_it_otherwise(teacher):
    with pytest.raises(InputError, match=r"^--keep 0.001, stage 1: pruning target"):
        check_reach(study({"kind": "oneshot", "prune_ratio": 0.001}), teacher, "--keep 0.001")


def test_a_stage_starts_from_what_the_one_before_left(teacher):
    """One layer of four after the first stage: what is less can only come from its parts."""
    chain = {"kind": "explicit", "prune_ratios": [0.5, 0.25, 0.2]}
    with pytest.raises(InputError, match=r"stage 3: .* smallest size that can is"):
        check_reach(study(chain, axes=["depth"]), teacher)
    check_reach(study(chain, axes=["depth", "mlp"], multiple=1), teacher)


def test_a_graph_is_checked_and_a_hub_teacher_is_not(teacher):
    chain = {"kind": "oneshot", "prune_ratio": 0.001}
    with pytest.raises(InputError, match=r"grids\[1\]\.schedules\[0\]"):
        study_graph(study(chain))
    hub = study(chain).model_copy(update={"teacher": study_file.Teacher(model="some/model")})
    assert study_graph(hub).targets


def test_experts_of_a_mixture_can_be_cut_and_others_have_none(teacher, tmp_path):
    half = {"kind": "oneshot", "prune_ratio": 0.5}
    with pytest.raises(InputError, match="a qwen3 model has no experts"):
        check_reach(study(half, axes=["experts"]), teacher)
    mixture = Qwen3MoeConfig(**SIZES, moe_intermediate_size=64, num_experts=16)
    mixture.save_pretrained(tmp_path / "mixture")
    check_reach(study(half, axes=["experts", "mlp"]), tmp_path / "mixture")


def test_a_teacher_of_another_family_is_refused(tmp_path):
    GPT2Config().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="'gpt2' cannot be pruned"):
        check_reach(study({"kind": "oneshot", "prune_ratio": 0.5}), tmp_path)


def test_the_study_file_knows_every_axis_and_criterion():
    assert get_args(study_file.PruningAxis) == get_args(PruningAxis)
    assert set(get_args(study_file.LayerCriterion)) == LAYER_CRITERIA.keys()
    assert set(get_args(study_file.ChannelCriterion)) == CHANNEL_CRITERIA.keys()
