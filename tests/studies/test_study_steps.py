"""Steps on a tiny random model: what each reads, writes and refuses."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from distillscale.errors import InputError
from distillscale.evaluation import Measurement
from distillscale.models.checkpoint import load_tokenizer, save_checkpoint
from distillscale.studies.graph import VERSIONS
from distillscale.studies.sources import Sources, digest, teacher_source
from distillscale.studies.steps import STEPS, read_size, run_step
from distillscale.tasks import Trace, task_from_labels
from distillscale.tasks.prompt import gold_trace
from distillscale.tasks.records import read_records, write_records

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
        "seed": 0,
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
    prune = {"prune_ratio": 0.5, "axes": ["depth", "mlp"], "calibration_examples": 4, "multiple": 4}
    small = step("prune", prune | number, model=teacher, teacher=teacher, traces=traces)
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


def test_correction_fits_the_gold_labels(step, teacher: Path, dataset: Path):
    training = {key: SETTINGS[key] for key in ("batch_size", "learning_rate", "seed")}
    params = {"training": training | {"steps": 12}, "dtype": "float32"}
    folder = step("correct", params, teacher=teacher, dataset=dataset)
    losses = json.loads((folder / "log.json").read_text())["losses"]
    assert losses[-1] < 0.8 * losses[0]
