"""What is part of a step's identity, and which steps cells share."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distillscale.errors import InputError
from distillscale.studies import study_file
from distillscale.studies.graph import StageSteps, StudyGraph, study_graph
from distillscale.studies.identity import Step, ancestry
from distillscale.studies.study_file import Study
from distillscale.tasks import task_from_labels

TASK = """
name: mine
prompt: "Text: {text}"
classes:
  - {name: a, definition: the first}
  - {name: b, definition: the second}
"""
STAGES = {"kind": "explicit", "prune_ratios": [0.5, 0.3]}
CONFIG = json.dumps(
    {
        "model_type": "qwen3", "hidden_size": 64, "intermediate_size": 8192,
        "num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 16,
    }
)  # fmt: skip
"""Of a teacher whose MLPs alone can be pruned to all ratios of these tests."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A teacher, a task and a labelled file; of the teacher a graph reads the config only."""
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "config.json").write_text(CONFIG)
    (tmp_path / "teacher" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "task.yaml").write_text(TASK)
    (tmp_path / "data.csv").write_text("text,label\nx,a\ny,b\n")
    (tmp_path / "test.csv").write_text("text,label\nz,a\n")
    return tmp_path


@pytest.fixture
def content(folder: Path) -> dict[str, Any]:
    """A study of a user's own, with a value for everything that has no default."""
    return {
        "name": "study",
        "teacher": {"model": str(folder / "teacher")},
        "dataset": {
            "source": str(folder / "data.csv"), "text_column": "text", "label_column": "label",
            "train": 100, "validation": 8, "test": 20,
        },
        "distillation": {
            "steps": 3, "batch_size": 8, "learning_rate": {"logit": 0.001, "lora": 0.003},
        },
        "grids": [
            {
                "tasks": [str(folder / "task.yaml")],
                "configurations": [
                    "logit-label", "lora-label", "logit-cot", "lora-cot", "logit-blended",
                    "pruned-only",
                ],
                "schedules": [STAGES],
                "dataset_sizes": [50],
            }
        ],
    }  # fmt: skip


LAB = {"source": "lab", "train": 100, "validation": 8, "test": 20}


def graph_of(content: dict[str, Any]) -> StudyGraph:
    return study_graph(Study.model_validate(content))


def with_grid(content: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return content | {"grids": [content["grids"][0] | changes]}


def changed(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The study with one field set: `teacher.dtype`."""
    head, _, rest = path.partition(".")
    below = content.get(head, {})
    return content | {head: changed(below, rest, value) if rest else value}


def chains(graph: StudyGraph) -> dict[str, tuple[StageSteps, ...]]:
    """The stages of each configuration, by its name."""
    return {
        f"{cell.method}-{cell.supervision}" + (f" {cell.seed}" if cell.seed else ""): stages
        for cell, stages in graph.stages.items()
    }


def keys(steps: tuple[Step, ...]) -> set[str]:
    return {step.key for step in ancestry(*steps)}


def pruned(stage: StageSteps) -> Step:
    """The model before distillation."""
    return stage.evaluate.inputs["model"] if stage.distill is None else stage.distill.inputs[
        "student"
    ]  # fmt: skip


def test_configurations_share_the_teacher_and_the_first_prune_of_their_traces(content):
    of = chains(graph_of(content))
    silent = [of["logit-label"], of["lora-label"], of["none-none"]]
    thinking = [of["logit-cot"], of["lora-cot"], of["logit-blended"]]
    for group in (silent, thinking):
        assert len({chain[0].evaluate for chain in group}) == 1
        assert len({pruned(chain[1]) for chain in group}) == 1
        assert len({pruned(chain[2]) for chain in group}) == len(group)
    assert pruned(silent[0][1]) != pruned(thinking[0][1])
    assert silent[0][0].evaluate != thinking[0][0].evaluate
    distilled = [chain[1].distill for chain in of.values() if chain[1].distill]
    assert len(set(distilled)) == 5


def test_schedules_share_the_stages_in_which_they_agree(content):
    longer = {"kind": "explicit", "prune_ratios": [0.5, 0.3, 0.2]}
    other = {"kind": "explicit", "prune_ratios": [0.5, 0.2]}
    grid = {"configurations": ["logit-label"], "schedules": [STAGES, longer, other]}
    one, two, three = graph_of(with_grid(content, **grid)).stages.values()
    assert one == two[:3]
    assert one[:2] == three[:2]
    assert one[2].distill != three[2].distill


def test_grids_that_overlap_add_no_steps(content):
    alone = graph_of(content)
    twice = graph_of(content | {"grids": content["grids"] * 2})
    assert twice.targets == alone.targets


def test_tasks_share_nothing_but_the_teacher(content, folder):
    (folder / "other.yaml").write_text(TASK.replace("mine", "other"))
    first, second = (
        graph_of(with_grid(content, tasks=[str(folder / name)]))
        for name in ("task.yaml", "other.yaml")
    )
    shared = keys(first.targets) & keys(second.targets)
    assert {step.key for step in ancestry(*first.targets) if step.kind == "teacher"} == shared


def test_where_external_inputs_lie_is_no_part_of_any_identity(content, folder, monkeypatch):
    before = graph_of(content)
    moved = folder / "elsewhere"
    moved.mkdir()
    for name in ("teacher", "task.yaml", "data.csv"):
        shutil.move(folder / name, moved / f"my {name}")
    new = changed(content, "teacher.model", str(moved / "my teacher"))
    new = changed(new, "dataset.source", str(moved / "my data.csv"))
    new = with_grid(new, tasks=[str(moved / "my task.yaml")])
    after = graph_of(new)
    assert keys(after.targets) == keys(before.targets)
    assert str(moved) not in str([step.identity for step in ancestry(*after.targets)])
    digests = before.sources.paths.keys()
    assert {after.sources.path(digest).name for digest in digests} == {"my teacher", "my data.csv"}
    monkeypatch.chdir(moved)
    relative = changed(new, "teacher.model", "my teacher")
    assert keys(graph_of(relative).targets) == keys(before.targets)


@pytest.mark.parametrize(
    "edit",
    [
        lambda folder: (folder / "teacher" / "model.safetensors").write_bytes(b"Weights"),
        lambda folder: (folder / "teacher" / "config.json").write_text(CONFIG + " "),
        lambda folder: (folder / "data.csv").write_text("text,label\nx,b\ny,b\n"),
        lambda folder: (folder / "task.yaml").write_text(TASK.replace("the first", "the 1st")),
    ],
    ids=["weights", "config", "data", "task"],
)
def test_one_byte_of_an_external_input_changes_every_result(
    content, folder, edit: Callable[[Path], object]
):
    before = graph_of(content)
    edit(folder)
    assert not set(before.targets) & set(graph_of(content).targets)


@pytest.mark.parametrize(
    "grid", [{"seeds": [1]}, {"dataset_sizes": [60]}, {"configurations": ["logit-blended"]}]
)
def test_seed_size_and_supervision_enter_with_distillation(content, grid):
    plain = {"configurations": ["logit-cot"]}
    (before,) = graph_of(with_grid(content, **plain)).stages.values()
    (after,) = graph_of(with_grid(content, **(plain | grid))).stages.values()
    assert before[0] == after[0]
    assert pruned(before[1]) == pruned(after[1])
    first, second = before[1].distill, after[1].distill
    assert first is not None
    assert second is not None
    assert first != second
    assert first.inputs == second.inputs
    assert before[1].evaluate != after[1].evaluate
    assert pruned(before[2]) != pruned(after[2])


def affected(content: dict[str, Any], path: str, value: Any) -> set[str]:
    """The configurations whose last model changes with a field."""
    before, after = chains(graph_of(content)), chains(graph_of(changed(content, path, value)))
    return {name for name in before if pruned(before[name][2]) != pruned(after[name][2])}


LOGIT, LORA = {"logit-label", "logit-cot", "logit-blended"}, {"lora-label", "lora-cot"}


@pytest.mark.parametrize(
    ("path", "value", "readers"),
    [
        ("distillation.lora_rank", 4, LORA),
        ("distillation.lora_alpha", 4.0, LORA),
        ("distillation.learning_rate.lora", 0.5, LORA),
        ("distillation.learning_rate.logit", 0.5, LOGIT),
        ("distillation.temperature", 2.0, LOGIT),
        ("distillation.divergence", "reverse_kl", LOGIT),
        ("distillation.jensen_shannon_beta", 0.3, set()),
        ("distillation.gold_mixing", 0.3, LOGIT),
        ("distillation.lora_objective", "divergence", LORA),
        ("distillation.micro_batch_size", 4, LOGIT | LORA),
        ("distillation.answer_weight", 0.9, {"logit-blended"}),
        ("distillation.reasoning_anchor", 0.9, {"logit-blended"}),
        ("distillation.answer_anchor", 0.9, {"logit-blended"}),
        ("distillation.steps", 4, LOGIT | LORA),
        ("distillation.teacher", "online", LOGIT),
        ("distillation.teacher_top_k", 8, LOGIT),
        ("annotation.filter", "all", LOGIT | LORA),
        ("annotation.filter", "gold", LOGIT | LORA | {"none-none"}),  # prunes on these traces
        (
            "annotation.max_new_tokens",
            {"brief": 40},
            {"logit-cot", "lora-cot", "logit-blended"},
        ),
        ("annotation.max_new_tokens", {"full": 100}, set()),
        ("pruning.multiple", 4, LOGIT | LORA | {"none-none"}),
        ("pruning.layer_criterion", "random", LOGIT | LORA | {"none-none"}),
    ],
)
def test_a_setting_touches_those_that_read_it(content, path, value, readers):
    assert affected(content, path, value) == readers


CHANGES: dict[str, Any] = {
    "teacher.correction_steps": 5,
    "teacher.dtype": "bfloat16",
    "dataset.text_column": "label",
    "dataset.label_column": "text",
    "dataset.train": 101,
    "dataset.validation": 9,
    "dataset.test": 21,
    "dataset.seed": 1,
    "annotation.filter": "all",
    "annotation.served_model": "teacher",
    "annotation.temperature": 0.5,
    "annotation.max_new_tokens": {"brief": 33},
    "annotation.batch_size": 64,
    "pruning.axes": ["mlp"],
    "pruning.layer_criterion": "perplexity",
    "pruning.channel_criterion": "l2",
    "pruning.candidates": 3,
    "pruning.calibration_examples": 64,
    "pruning.multiple": 4,
    "distillation.steps": 4,
    "distillation.batch_size": 4,
    "distillation.learning_rate": {"logit": 0.002, "lora": 0.003},
    "distillation.warmup_ratio": 0.2,
    "distillation.weight_decay": 0.1,
    "distillation.max_gradient_norm": 2.0,
    "distillation.temperature": 2.0,
    "distillation.micro_batch_size": 4,
    "distillation.gradient_checkpointing": True,
    "distillation.compile": True,
    "distillation.divergence": "reverse_kl",
    "distillation.gold_mixing": 0.5,
    "distillation.lora_objective": "divergence",
    "distillation.teacher": "online",
    "distillation.teacher_top_k": 8,
    "distillation.answer_weight": 0.4,
    "distillation.reasoning_anchor": 0.4,
    "distillation.answer_anchor": 0.4,
    "distillation.lora_rank": 4,
    "distillation.lora_alpha": 8.0,
    "distillation.bf16": True,
    "evaluation.benchmarks": ["mmlu"],
    "evaluation.held_out_traces": 64,
    "evaluation.latency_examples": 16,
    "evaluation.batch_size": 64,
}
ELSEWHERE = {
    "teacher.model", "teacher.revision", "dataset.source", "dataset.test_source",
    "dataset.questions", "distillation.jensen_shannon_beta", "distillation.on_policy",
    "distillation.hidden_weight", "evaluation.harness", "evaluation.hourly_price",
}  # fmt: skip


def test_beta_belongs_to_jensen_shannon(content):
    bounded = changed(content, "distillation.divergence", "jensen_shannon")
    assert affected(bounded, "distillation.jensen_shannon_beta", 0.3) == LOGIT


def test_rollouts_and_hidden_states_read_the_online_teacher(content):
    online = changed(content, "distillation.teacher", "online")
    assert affected(online, "distillation.on_policy", 0.5) == LOGIT
    assert affected(online, "distillation.hidden_weight", 1.0) == LOGIT | LORA
    inputs = lambda study: {  # noqa: E731
        name: {"teacher", "teacher_logits"} & stages[1].distill.inputs.keys()
        for name, stages in chains(graph_of(study)).items()
        if stages[1].distill is not None
    }
    assert inputs(content) == {
        name: {"teacher_logits"} if name in LOGIT else set() for name in LOGIT | LORA
    }
    assert inputs(online) == {
        name: {"teacher"} if name in LOGIT else set() for name in LOGIT | LORA
    }
    matching = changed(online, "distillation.hidden_weight", 1.0)
    assert inputs(matching) == {name: {"teacher"} for name in LOGIT | LORA}
    adapters = changed(content, "distillation.lora_objective", "divergence")
    assert inputs(adapters) == {name: {"teacher_logits"} for name in LOGIT | LORA}


def test_no_field_of_the_study_is_forgotten():
    sections = {"teacher": study_file.Teacher, "dataset": study_file.Dataset}
    sections |= {"annotation": study_file.Annotation, "pruning": study_file.Pruning}
    sections |= {"distillation": study_file.Distillation, "evaluation": study_file.Evaluation}
    fields = {f"{name}.{field}" for name, model in sections.items() for field in model.model_fields}
    assert CHANGES.keys() | ELSEWHERE == fields


@pytest.mark.parametrize("path", CHANGES)
def test_every_field_that_is_read_is_identity(content, path):
    before, after = graph_of(content), graph_of(changed(content, path, CHANGES[path]))
    assert set(before.targets) != set(after.targets)


def test_the_labs_data_and_questions_are_identity(content):
    lab = with_grid(content | {"dataset": LAB}, tasks=["fin-headlines"])
    before = graph_of(lab)
    for path, value in (("dataset.questions", 100), ("evaluation.benchmarks", ["lab_joins"])):
        assert not set(before.targets) & set(graph_of(changed(lab, path, value)).targets)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "another"),
        ("teacher.revision", "v2"),
        ("dataset.questions", 100),
        ("evaluation.benchmarks", ["lab_facts"]),
        ("pruning.axes", ["mlp", "depth", "mlp"]),
    ],
)
def test_what_nothing_reads_is_no_identity(content, path, value):
    after = graph_of(changed(content, path, value))
    assert keys(after.targets) == keys(graph_of(content).targets)


@pytest.mark.parametrize(
    ("axes", "idle"), [(["depth"], "channel_criterion"), (["mlp", "heads"], "layer_criterion")]
)
def test_a_criterion_of_what_is_not_cut_is_no_identity(content, axes, idle):
    narrow = {"configurations": ["pruned-only"], "schedules": [{"kind": "oneshot",
              "prune_ratio": 0.5}]}  # fmt: skip
    content = changed(with_grid(content, **narrow), "pruning.axes", axes)
    before = graph_of(content)
    for criterion in ("layer_criterion", "channel_criterion"):
        after = graph_of(changed(content, f"pruning.{criterion}", "magnitude"))
        assert (keys(after.targets) == keys(before.targets)) == (criterion == idle)


@pytest.mark.parametrize("criterion", ["layer_criterion", "channel_criterion"])
def test_the_seed_is_identity_of_a_random_prune_alone(content, criterion):
    def first_prunes(content: dict[str, Any]) -> set[Step]:
        seeds = with_grid(content, configurations=["logit-label"], seeds=[0, 1])
        return {pruned(stages[1]) for stages in graph_of(seeds).stages.values()}

    assert len(first_prunes(content)) == 1
    assert len(first_prunes(changed(content, f"pruning.{criterion}", "random"))) == 2


def test_a_test_file_of_its_own_is_identity(content, folder):
    plain = graph_of(content)
    with_test = changed(content, "dataset.test_source", str(folder / "test.csv"))
    before = graph_of(with_test)
    assert not set(before.targets) & set(plain.targets)
    (folder / "test.csv").write_text("text,label\nz,b\n")
    assert not set(before.targets) & set(graph_of(with_test).targets)


def test_a_hub_teacher_is_named_by_its_revision(content):
    hub = changed(content, "teacher.model", "organisation/model")
    before = graph_of(hub)
    assert not set(before.targets) & set(graph_of(changed(hub, "teacher.revision", "v2")).targets)
    assert [Path(path).name for path in before.sources.paths.values()] == ["data.csv"]


def test_libraries_are_those_that_the_numbers_depend_on(content):
    steps = list(ancestry(*graph_of(content).targets))
    libraries = {
        (step.kind, step.params.get("settings", {}).get("method")): set(step.libraries)
        for step in steps
    }
    models = {"torch", "transformers"}
    assert libraries["teacher", None] == set()
    assert libraries["dataset", None] == {"scikit-learn"}
    assert libraries["distill", "lora"] == models | {"peft"}
    assert all(
        libraries[kind, None] == models
        for kind in ("traces", "teacher_logits", "prune", "evaluate")
    )
    assert libraries["distill", "logit"] == models


def test_students_are_compared_with_the_corrected_teacher(content):
    graph = graph_of(changed(content, "teacher.correction_steps", 5))
    for stages in graph.stages.values():
        teacher = stages[0].evaluate.inputs["model"]
        assert teacher.kind == "correct"
        assert pruned(stages[1]).inputs["teacher"] == teacher
        assert all(stage.evaluate.inputs["teacher_logits"].inputs["teacher"] == teacher
                   for stage in stages)  # fmt: skip


def teacher_outputs(content: dict[str, Any]) -> tuple[Step, Step]:
    """The step that caches what the teacher says of the training traces, and of held-out ones."""
    (stages,) = graph_of(with_grid(content, configurations=["logit-cot"])).stages.values()
    assert stages[1].distill is not None
    return stages[1].distill.inputs["teacher_logits"], stages[1].evaluate.inputs["teacher_logits"]


def test_a_truncated_cache_is_known_by_its_size_and_temperature(content):
    caches = [
        teacher_outputs(
            content
            | {"distillation": content["distillation"] | {"teacher_top_k": k, "temperature": tau}}
        )
        for k in (None, 8, 16)
        for tau in (1.0, 2.0)
    ]
    training = [step.key for step, _ in caches]
    assert training[0] == training[1]
    assert len(set(training)) == 5
    assert len({held_out.key for _, held_out in caches}) == 1  # always exact


def test_truncation_is_measured_in_students_that_saw_it(content):
    whole = chains(graph_of(content))
    cut = chains(graph_of(changed(content, "distillation.teacher_top_k", 8)))
    remeasured = {
        (name, stage.stage)
        for name, stages in whole.items()
        for stage, other in zip(stages, cut[name], strict=True)
        if stage.evaluate.params != other.evaluate.params
    }
    assert remeasured == {(name, stage) for name in LOGIT for stage in (1, 2)}


def test_a_truncation_that_cuts_nothing_is_refused_when_planning(content):
    vocabulary = json.loads(CONFIG).get("vocab_size", 151_936)
    graph_of(changed(content, "distillation.teacher_top_k", vocabulary - 1))
    with pytest.raises(InputError, match=f"teacher_top_k is {vocabulary}"):
        graph_of(changed(content, "distillation.teacher_top_k", vocabulary))


def test_an_online_teacher_is_asked_instead_of_a_cache(content):
    cached = chains(graph_of(content))
    for name, stages in chains(
        graph_of(changed(content, "distillation.teacher", "online"))
    ).items():
        if stages[1].distill is None:
            continue
        inputs = stages[1].distill.inputs
        assert "teacher_logits" not in inputs
        assert inputs.get("teacher") == (stages[0].evaluate.inputs["model"] if name in LOGIT
                                         else None)  # fmt: skip
        # students are still compared with what the teacher says of held-out traces
        held_out = stages[1].evaluate.inputs["teacher_logits"]
        assert held_out == cached[name][1].evaluate.inputs["teacher_logits"]


def test_gold_answers_are_written_into_the_training_traces_only(content):
    plain = graph_of(content)
    corrected = graph_of(changed(content, "annotation.filter", "gold"))
    assert graph_of(changed(content, "annotation.filter", "all")).traces == plain.traces
    assert not set(corrected.traces.values()) & set(plain.traces.values())
    for before, after in zip(plain.stages.values(), corrected.stages.values(), strict=True):
        assert before[0].evaluate == after[0].evaluate


def test_a_given_task_is_not_looked_for(content):
    task = task_from_labels("given", ["a", "b"])
    study = Study.model_validate(with_grid(content, tasks=["given"]))
    (dataset,) = study_graph(study, {"given": task}).datasets.values()
    assert dataset.params["task"]["name"] == "given"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("teacher.model", "gone/for/good", "`gone/for/good` is no folder with a config.json"),
        ("teacher.model", "./gone", "`./gone` is no folder with a config.json"),
        ("dataset.source", "gone.csv", "dataset.source `gone.csv` is no file"),
        ("dataset.test_source", "data/gone.parquet", "dataset.test_source `data/gone.parquet`"),
        ("dataset.source", ".", "dataset.source `.` is no file"),
    ],
)
def test_missing_external_inputs_are_named(content, path, value, said):
    with pytest.raises(InputError) as error:
        graph_of(changed(content, path, value))
    assert said in str(error.value)


def test_a_missing_task_file_is_named(content):
    with pytest.raises(InputError, match=r"gone\.yaml"):
        graph_of(with_grid(content, tasks=["gone.yaml"]))


def test_a_teacher_without_safetensors_is_refused(content, folder):
    (folder / "teacher" / "model.safetensors").rename(folder / "teacher" / "pytorch_model.bin")
    with pytest.raises(InputError, match="safetensors"):
        graph_of(content)


def test_the_lab_writes_built_in_tasks_only(content, folder):
    lab = content | {"dataset": LAB}
    with pytest.raises(InputError, match=r"task mine: .* fin-headlines, support-tickets"):
        graph_of(lab)
    (folder / "task.yaml").write_text(TASK.replace("mine", "fin-headlines"))
    with pytest.raises(InputError, match=r"task fin-headlines: .* with all classes"):
        graph_of(lab)


def test_benchmarks_of_lab_and_hub_do_not_mix(content):
    lab = with_grid(content | {"dataset": LAB}, tasks=["fin-headlines"])
    with pytest.raises(InputError, match="lab_facts, mmlu"):
        graph_of(changed(lab, "evaluation.benchmarks", ["mmlu", "lab_facts"]))
