"""Steps on a tiny random model: what each reads, writes and refuses."""

import json
import sys
import weakref
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from lm_eval.models.huggingface import HFLM
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from distillscale.errors import InputError
from distillscale.evaluation import Measurement
from distillscale.models.checkpoint import (
    load_config,
    load_model,
    load_tokenizer,
    save_checkpoint,
)
from distillscale.pruning import Origin, PruningPlan, params_of, shape_of
from distillscale.pruning.search import mean_divergence
from distillscale.studies.evaluate_step import read_size
from distillscale.studies.graph import VERSIONS
from distillscale.studies.sources import Sources, digest, teacher_source
from distillscale.studies.step_run import StepRun, load
from distillscale.studies.steps import STEPS, run_step
from distillscale.tasks import Example, Trace, task_from_labels
from distillscale.tasks.prompt import gold_trace
from distillscale.tasks.records import read_records, write_records
from question_folders import write_mmlu

NO_SOURCES = Sources({})
LONG = "an extraordinarily long-winded label | with parts"
TASK = task_from_labels("pets", ["cat", "dog", LONG])
TEXTS = [(f"a {label} of number {n}", label) for n in range(12) for label in TASK.labels]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=270,
        special_tokens=["<end>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["Text: a cat\nAnswer: cat"], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<end>", pad_token="<pad>"
    )
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("teacher")
    save_checkpoint(Qwen3ForCausalLM(config), tokenizer, folder)
    return folder


@pytest.fixture
def step(tmp_path: Path):
    """Run a step into a folder of its own; returns the folder."""

    def step(
        kind: str, params: dict[str, Any], sources: Sources = NO_SOURCES, **inputs: Path
    ) -> Path:
        folder = tmp_path / f"{kind}-{sum(1 for _ in tmp_path.iterdir())}"
        folder.mkdir()
        extra = run_step(kind, params, inputs, folder, lambda _: None, sources=sources)
        json.dumps(extra)
        return folder

    return step


@pytest.fixture
def dataset(step, tmp_path: Path) -> Path:
    file = tmp_path / "pets.csv"
    pd.DataFrame(TEXTS, columns=["text", "label"]).to_csv(file, index=False)
    params = {
        "task": asdict(TASK), "source": {"digest": digest(file)}, "test_source": None,
        "text_column": "text", "label_column": "label", "train": 20, "validation": 4, "test": 8,
        "seed": 0, "near_duplicates": {"embedder": "hashed", "threshold": 0.9},
    }  # fmt: skip
    return step("dataset", params, Sources({digest(file): str(file)}))


@pytest.fixture
def traces(teacher: Path, tmp_path: Path) -> Path:
    """Traces of a perfect teacher."""
    folder = tmp_path / "gold"
    folder.mkdir()
    tokenizer = load_tokenizer(teacher)
    made = [
        gold_trace(f"train-{row}", text, label, TASK, tokenizer)
        for row, (text, label) in enumerate(TEXTS[:8])
    ]
    write_records(made, folder / "traces.parquet")
    return folder


TRACES = {
    "split": "train", "examples": 6, "thinking": "none", "max_new_tokens": 4, "temperature": 0.0,
    "seed": 0, "batch_size": 4, "dtype": "float32",
}  # fmt: skip
SETTINGS = {"steps": 2, "batch_size": 4, "learning_rate": 0.01, "method": "logit", "seed": 0}

PRUNE = {
    "prune_ratio": 0.5, "axes": ["depth", "mlp"], "layer_criterion": "block_influence",
    "channel_criterion": "mean_absolute", "calibration_examples": 4, "multiple": 4,
    "candidates": 1,
}  # fmt: skip


def test_every_kind_of_step_has_a_version():
    assert STEPS.keys() == VERSIONS.keys()


def test_the_teacher_is_the_users_checkpoint(step, teacher: Path):
    identity, folder = teacher_source(str(teacher), None)
    made = step("teacher", identity, Sources({identity["digest"]: str(folder)}))
    assert digest(made) == digest(teacher)


def test_the_longest_label_fits_into_an_answer_without_reasoning(
    step, teacher: Path, dataset: Path, monkeypatch
):
    budgets = []

    def annotate(*_: Any, max_new_tokens: int, **__: Any) -> list[Trace]:
        budgets.append(max_new_tokens)
        return []

    monkeypatch.setattr("distillscale.studies.steps.annotate", annotate)
    for thinking, budget in (("none", 4), ("none", 100), ("full", 4)):
        params = TRACES | {"thinking": thinking, "max_new_tokens": budget}
        step("traces", params, teacher=teacher, dataset=dataset)
    longest = len(load_tokenizer(teacher).encode(f" {LONG}")) + 1
    assert longest > 16
    assert budgets == [longest, 100, 4]


def test_traces_are_those_of_the_first_examples_of_a_split(step, teacher: Path, dataset: Path):
    folder = step("traces", TRACES, teacher=teacher, dataset=dataset)
    written = read_records(folder / "traces.parquet", Trace)
    assert [trace.example_id for trace in written] == [f"train-{n:06d}" for n in range(6)]
    report = json.loads((folder / "report.json").read_text())
    assert report["examples"] == report["parsed"] + report["unparsed"] == 6


def test_a_filter_that_keeps_nothing_is_refused(step, teacher: Path, traces: Path):
    wrong = read_records(traces / "traces.parquet", Trace)[:2]
    write_records(
        [Trace(**(vars(trace) | {"gold": "other"})) for trace in wrong], traces / "traces.parquet"
    )
    params = {
        "settings": SETTINGS | {"supervision": "label"}, "dataset_size": 2, "filter": "agree",
        "dtype": "float32",
    }  # fmt: skip
    with pytest.raises(InputError, match="`agree` keeps none of 2 traces"):
        step("distill", params, student=teacher, traces=traces)


def test_a_chain_of_steps_ends_in_measurements(step, teacher: Path, dataset: Path, traces: Path):
    """Pruned to half, distilled for two steps, evaluated, with everything that these read."""
    number = {"dtype": "float32"}
    small = step("prune", PRUNE | number, model=teacher, teacher=teacher, traces=traces)
    logits = step("teacher_logits", number, teacher=teacher, traces=traces)
    params = {"settings": SETTINGS | {"supervision": "label"}, "dataset_size": 6, "filter": "agree"}
    student = step("distill", params | number, student=small, traces=traces, teacher_logits=logits)
    assert json.loads((student / "log.json").read_text())["steps"] == 2
    evaluate = {
        "thinking": "none", "max_new_tokens": 8, "benchmarks": [], "latency_examples": 2,
        "batch_size": 4,
    }  # fmt: skip
    folder = step(
        "evaluate", evaluate | number, model=student, dataset=dataset, traces=traces,
        teacher_logits=logits,
    )  # fmt: skip
    measured = {m.metric: m for m in read_records(folder / "measurements.parquet", Measurement)}
    assert measured["macro_f1"].examples == 8
    assert measured["kl_answer"].value > 0
    assert measured["kl_reasoning"].value is None
    assert not {"general", "reasoned_accuracy"} & measured.keys()
    loaded = AutoModelForCausalLM.from_pretrained(student)
    everything = sum(parameter.numel() for parameter in loaded.parameters())
    assert read_size(folder).params_with_embeddings == everything
    teacher_size = AutoModelForCausalLM.from_pretrained(teacher).model.layers
    whole = sum(parameter.numel() for parameter in teacher_size.parameters())
    assert read_size(folder).params / whole == pytest.approx(0.5, rel=0.1)


def test_a_teacher_against_itself_has_no_divergence(
    step, teacher: Path, dataset: Path, traces: Path
):
    logits = step("teacher_logits", {"dtype": "float32"}, teacher=teacher, traces=traces)
    params = {
        "thinking": "none", "max_new_tokens": 8, "benchmarks": [], "latency_examples": 1,
        "batch_size": 4, "dtype": "float32",
    }  # fmt: skip
    folder = step(
        "evaluate", params, model=teacher, dataset=dataset, traces=traces, teacher_logits=logits
    )
    measured = {
        m.metric: m.value for m in read_records(folder / "measurements.parquet", Measurement)
    }
    assert measured["kl_answer"] == pytest.approx(0, abs=1e-6)


def test_weights_that_train_are_float32_whatever_the_teachers_format(
    step, teacher: Path, traces: Path
):
    """Small updates would vanish in bfloat16 weights."""
    params = {
        "settings": SETTINGS | {"supervision": "label"}, "dataset_size": 6, "filter": "agree",
        "dtype": "bfloat16",
    }  # fmt: skip
    logits = step("teacher_logits", {"dtype": "bfloat16"}, teacher=teacher, traces=traces)
    student = step("distill", params, student=teacher, traces=traces, teacher_logits=logits)
    assert {p.dtype for p in AutoModelForCausalLM.from_pretrained(student).parameters()} == {
        torch.float32
    }


def test_a_truncated_teacher_distills_and_its_error_is_measured(
    step, teacher: Path, dataset: Path, traces: Path
):
    number = {"dtype": "float32"}
    cut = {"truncation": {"top_k": 5, "temperature": 2.0}}
    settings = SETTINGS | {"supervision": "label", "temperature": 2.0}
    params = {"settings": settings, "dataset_size": 6, "filter": "agree"}
    exact = step("teacher_logits", number, teacher=teacher, traces=traces)
    logits = step("teacher_logits", number | cut, teacher=teacher, traces=traces)
    inputs = {"student": teacher, "traces": traces, "teacher_logits": logits}
    student = step("distill", params | number, **inputs)
    evaluate = {
        "thinking": "none", "max_new_tokens": 8, "benchmarks": [], "latency_examples": 2,
        "batch_size": 4,
    }  # fmt: skip
    folder = step(
        "evaluate", evaluate | number | cut, model=student, dataset=dataset, traces=traces,
        teacher_logits=exact,
    )  # fmt: skip
    measured = {m.metric: m for m in read_records(folder / "measurements.parquet", Measurement)}
    assert measured["kl_truncation_error_answer"].value >= 0
    assert measured["kl_truncation_error_reasoning"].value is None
    wrong = params | {"settings": settings | {"temperature": 1.0}}
    with pytest.raises(InputError, match="at temperature 2"):
        step("distill", wrong | number, **inputs)


def test_what_is_left_over_is_told_by_the_cache(teacher: Path, traces: Path, tmp_path: Path):
    params = {"dtype": "float32", "truncation": {"top_k": 5, "temperature": 1.0}}
    inputs = {"teacher": teacher, "traces": traces}
    told = run_step("teacher_logits", params, inputs, tmp_path, lambda _: None, sources=NO_SOURCES)
    written = read_records(traces / "traces.parquet", Trace)
    assert told["positions"] == sum(len(trace.completion_ids) for trace in written)
    assert 0.5 < told["leftover_mass"] < 1  # the teacher is random


def test_an_online_teacher_trains_the_student_that_a_cached_one_trains(
    step, teacher: Path, traces: Path
):
    number = {"dtype": "float32"}
    params = {"settings": SETTINGS | {"supervision": "label"}, "dataset_size": 6, "filter": "all"}
    small = step(
        "prune", number | PRUNE | {"axes": ["mlp"]}, model=teacher, teacher=teacher, traces=traces,
    )  # fmt: skip
    logits = step("teacher_logits", number, teacher=teacher, traces=traces)
    inputs = {"student": small, "traces": traces}
    folders = [
        step("distill", params | number, **inputs, **given)
        for given in ({"teacher_logits": logits}, {"teacher": teacher})
    ]
    losses = [json.loads((folder / "log.json").read_text())["losses"] for folder in folders]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][0] > 0


def test_gold_answers_replace_wrong_ones_after_they_were_counted(
    step, teacher: Path, dataset: Path, monkeypatch
):
    tokenizer = load_tokenizer(teacher)
    examples = read_records(dataset / "train.parquet", Example)[:2]
    said = [examples[0].label, next(name for name in TASK.labels if name != examples[1].label)]

    def annotate(*_: Any, **__: Any) -> list[Trace]:
        return [
            replace(gold_trace(e.id, e.text, label, TASK, tokenizer), gold=e.label)
            for e, label in zip(examples, said, strict=True)
        ]

    monkeypatch.setattr("distillscale.studies.steps.annotate", annotate)
    plain, corrected = (
        step("traces", TRACES | extra, teacher=teacher, dataset=dataset)
        for extra in ({}, {"gold_answers": True})
    )
    wrong, right = (read_records(folder / "traces.parquet", Trace) for folder in (plain, corrected))
    assert [trace.agrees for trace in wrong] == [True, False]
    assert right == [gold_trace(e.id, e.text, e.label, TASK, tokenizer) for e in examples]
    assert json.loads((corrected / "report.json").read_text())["agreed"] == 1


def test_the_origin_of_layers_is_handed_on_through_a_chain(step, teacher: Path, traces: Path):
    """Pruned, distilled and pruned again, along all axes of a dense model."""
    number = {"dtype": "float32"}
    axes = ["depth", "groups", "heads", "hidden", "mlp"]
    first = step(
        "prune", PRUNE | number | {"prune_ratio": 0.6, "axes": axes},
        model=teacher, teacher=teacher, traces=traces,
    )  # fmt: skip
    settings = SETTINGS | {"supervision": "label", "method": "lora"}
    params = {"settings": settings, "dataset_size": 6, "filter": "agree"}
    student = step("distill", params | number, student=first, traces=traces)
    assert (student / "origin.json").read_text() == (first / "origin.json").read_text()
    second = step(
        "prune", PRUNE | number | {"prune_ratio": 0.3, "axes": axes},
        model=student, teacher=teacher, traces=traces,
    )  # fmt: skip
    pruned = (first, second)
    plans = [PruningPlan.from_json((folder / "plan.json").read_text()) for folder in pruned]
    origins = [Origin.from_json((folder / "origin.json").read_text()) for folder in pruned]
    assert plans[0].after == plans[1].before
    assert origins == [Origin.of(plans[0]), Origin.of(plans[0]).after(plans[1])]
    config = load_config(second)
    assert len(origins[1].layers) == config.num_hidden_layers
    assert len(origins[1].hidden) == config.hidden_size < 32
    whole = load_config(teacher)
    target = 0.3 * params_of(whole, shape_of(whole))
    assert plans[1].params_after == pytest.approx(target, rel=0.01)


def test_rollouts_and_hidden_states_of_a_student_in_its_second_stage(
    step, teacher: Path, traces: Path
):
    """Its layers and channels are found in the teacher through the origin that stages hand on."""
    number = {"dtype": "float32"}
    params = {"dataset_size": 6, "filter": "agree", **number}
    settings = SETTINGS | {"supervision": "label", "steps": 4}
    prune = PRUNE | number | {"axes": ["depth", "hidden", "mlp"]}
    first = step(
        "prune", prune | {"prune_ratio": 0.7}, model=teacher, teacher=teacher, traces=traces
    )
    inputs = {"traces": traces, "teacher": teacher}
    trained = step("distill", params | {"settings": settings}, student=first, **inputs)
    second = step(
        "prune", prune | {"prune_ratio": 0.4}, model=trained, teacher=teacher, traces=traces
    )
    losses = []
    for more in ({}, {"hidden_weight": 2.0}, {"on_policy": 1.0}):
        made = step("distill", params | {"settings": settings | more}, student=second, **inputs)
        losses.append(json.loads((made / "log.json").read_text())["losses"])
    plain, matched, rolled = losses
    assert matched[0] > plain[0]
    assert rolled[0] != plain[0]


def test_a_teacher_that_was_pruned_is_where_the_chain_begins(step, teacher: Path, traces: Path):
    number = {"dtype": "float32"}
    small = step("prune", PRUNE | number, model=teacher, teacher=teacher, traces=traces)
    again = step("prune", PRUNE | number | {"multiple": 1}, model=small, teacher=small,
                 traces=traces)  # fmt: skip
    plan = PruningPlan.from_json((again / "plan.json").read_text())
    assert Origin.from_json((again / "origin.json").read_text()) == Origin.of(plan)


def test_the_candidate_nearest_to_the_teacher_is_taken(teacher: Path, traces: Path, tmp_path: Path):
    params = PRUNE | {"dtype": "float32", "candidates": 3, "axes": ["depth", "hidden", "mlp"]}
    inputs = {"model": teacher, "teacher": teacher, "traces": traces}
    told = run_step("prune", params, inputs, tmp_path, lambda _: None, sources=NO_SOURCES)
    assert len(told["divergences"]) == 3
    assert told["prune_ratio"] == pytest.approx(0.5, rel=0.01)
    sequences = [
        (*trace.prompt_ids, *trace.completion_ids)
        for trace in read_records(traces / "traces.parquet", Trace)[:4]
    ]
    taken = mean_divergence(load_model(teacher), load_model(tmp_path), sequences, 1, 32)
    assert taken == pytest.approx(min(told["divergences"]), rel=1e-4)


def test_a_random_prune_has_its_seed(step, teacher: Path, traces: Path):
    params = PRUNE | {"dtype": "float32", "channel_criterion": "random", "axes": ["mlp"]}
    plans = [
        json.loads(
            (step("prune", params | {"seed": seed}, model=teacher, teacher=teacher, traces=traces)
            / "plan.json").read_text()
        )
        for seed in (0, 0, 1)
    ]  # fmt: skip
    assert plans[0] == plans[1] != plans[2]


def test_correction_fits_the_gold_labels(step, teacher: Path, dataset: Path):
    training = {key: SETTINGS[key] for key in ("batch_size", "learning_rate", "seed")}
    params = {"training": training | {"steps": 12}, "dtype": "float32"}
    folder = step("correct", params, teacher=teacher, dataset=dataset)
    losses = json.loads((folder / "log.json").read_text())["losses"]
    assert losses[-1] < 0.8 * losses[0]


def test_the_model_is_gone_when_vllm_loads_its_own(
    step, teacher: Path, dataset: Path, traces: Path, tmp_path: Path, monkeypatch
):
    """The harness's wrapper for transformers stands in for the one for vLLM, which needs a GPU."""
    loaded: list[weakref.ref[torch.nn.Module]] = []

    class StandIn(HFLM):
        def __init__(self, pretrained: str, dtype: str, batch_size: str, **options: Any) -> None:
            assert (pretrained, dtype, batch_size) == (str(teacher), "float32", "auto")
            assert options == {"trust_remote_code": False, "load_format": "safetensors"}
            assert [own() for own in loaded] == [None]
            model = load_model(pretrained)
            super().__init__(model, tokenizer=load_tokenizer(pretrained), batch_size=8)

    def watched(run: StepRun, role: str) -> Any:
        model, tokenizer = load(run, role)
        loaded.append(weakref.ref(model))
        return model, tokenizer

    module = SimpleNamespace(VLLM=StandIn)
    monkeypatch.setitem(sys.modules, "lm_eval.models.vllm_causallms", module)
    monkeypatch.setattr("distillscale.studies.evaluate_step.load", watched)
    questions = write_mmlu(tmp_path / "mmlu")
    recipe = {
        "questions": {"mmlu": digest(questions)}, "shots": {"mmlu": 0}, "max_new_tokens": None,
        "limit": 1, "batch_size": 4,
    }  # fmt: skip
    logits = step("teacher_logits", {"dtype": "float32"}, teacher=teacher, traces=traces)
    params = {
        "thinking": "none", "max_new_tokens": 8, "benchmarks": ["mmlu"], "latency_examples": 1,
        "batch_size": 4, "dtype": "float32",
    }  # fmt: skip
    measured = []
    for backend in ("vllm", "hf"):
        folder = step(
            "evaluate", params | {"harness": recipe | {"backend": backend}},
            Sources({digest(questions): str(questions)}), model=teacher, dataset=dataset,
            traces=traces, teacher_logits=logits,
        )  # fmt: skip
        measured.append(read_records(folder / "measurements.parquet", Measurement))
        assert (folder / "knowledge.json").is_file()
    rows = [[(m.metric, m.examples) for m in own] for own in measured]
    assert rows[0] == rows[1]
    by_vllm, by_hf = ({m.metric: m.value for m in own} for own in measured)
    assert {m: by_vllm[m] for m in ("macro_f1", "mmlu", "general", "kl_answer")} == {
        m: pytest.approx(by_hf[m]) for m in ("macro_f1", "mmlu", "general", "kl_answer")
    }
